"""The architectures of YOLOS, with the numbers of the published configurations."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import traits
from maskvd_cli.families.blocks.arch import ViTArch

_PAPER = "YOLOS (NeurIPS 2021, arXiv 2106.00666)"


@dataclass(frozen=True)
class YolosArch(ViTArch):
    """A plain ViT on one class token, the patches and `detections` tokens, in this order.

    `mid_positions`: positions of all tokens are added again after every block but the last. The
    table of these, too, is made for `position_table`. `norm_eps`: of all LayerNorms.
    """

    detections: int = 100
    mid_positions: bool = False
    norm_eps: float = 1e-12

    @property
    def has(self) -> frozenset[str]:
        """What the backbone has, in the words of `traits`."""
        mid = {traits.MID_POSITIONS} if self.mid_positions else set[str]()
        return super().has | {traits.TRAIL_TOKENS} | mid

    @property
    def trail(self) -> int:
        """How many tokens stand behind those of the grid."""
        return self.detections


def yolos(  # noqa: PLR0913 - the numbers of an architecture
    name: str,
    description: str,
    *,
    dim: int,
    heads: int,
    table: Size,
    mid_positions: bool,
    depth: int = 12,
    patch: int = 16,
    detections: int = 100,
    paper: str = _PAPER,
) -> YolosArch:
    """Return an architecture with global attention in every block."""
    return YolosArch(
        name=name,
        description=description,
        dim=dim,
        heads=heads,
        depth=depth,
        patch=patch,
        global_blocks=tuple(range(depth)),
        window=table,
        position_table=table,
        relative_table=None,
        paper=paper,
        class_token=True,
        final_norm=True,
        detections=detections,
        mid_positions=mid_positions,
    )


_ARCHS = (
    yolos(
        "yolos-tiny",
        "YOLOS-Ti: width 192, 100 detection tokens, 6 million parameters",
        dim=192,
        heads=3,
        table=Size(50, 83),
        mid_positions=False,
    ),
    yolos(
        "yolos-small",
        "YOLOS-S: width 384, 100 detection tokens, positions added between blocks",
        dim=384,
        heads=6,
        table=Size(32, 54),
        mid_positions=True,
    ),
    yolos(
        "yolos-base",
        "YOLOS-B: width 768, 100 detection tokens, positions added between blocks",
        dim=768,
        heads=12,
        table=Size(50, 84),
        mid_positions=True,
    ),
)
ARCHS = {arch.name: arch for arch in _ARCHS}
