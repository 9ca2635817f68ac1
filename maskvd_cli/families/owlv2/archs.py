"""The architectures of OWLv2, with the numbers of the published configurations."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch

_PAPER = "OWLv2 (NeurIPS 2023, arXiv 2306.09683)"


@dataclass(frozen=True)
class Owlv2Arch(ViTArch):
    """CLIP's vision transformer: a class token, a LayerNorm before the first block, quick GELU.

    `query_dim`: width of the embeddings of texts. `norm_eps`: of all LayerNorms.
    """

    query_dim: int = 512
    norm_eps: float = 1e-5


def owlv2(  # noqa: PLR0913 - the numbers of an architecture
    name: str,
    description: str,
    *,
    dim: int,
    heads: int,
    depth: int,
    patch: int,
    table: Size,
    query_dim: int,
) -> Owlv2Arch:
    """Return an architecture with global attention in every block."""
    return Owlv2Arch(
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
        paper=_PAPER,
        class_token=True,
        final_norm=True,
        query_dim=query_dim,
    )


_ARCHS = (
    owlv2(
        "owlv2-base",
        "OWLv2 B/16: every patch is a detection, classes are texts, made for 960 x 960",
        dim=768,
        heads=12,
        depth=12,
        patch=16,
        table=Size(60, 60),
        query_dim=512,
    ),
)
ARCHS = {arch.name: arch for arch in _ARCHS}
