"""The architectures of ViViT's factorised encoder."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import traits
from maskvd_cli.families.blocks.arch import ViTArch

_PAPER = "ViViT (ICCV 2021, arXiv 2103.15691), model 2, as in Eventful Transformers (ICCV 2023)"
_EVERY_FRAME = Looks(1)


@dataclass(frozen=True)
class ViViTArch(ViTArch):
    """A spatial ViT on steps of `looks.tubelet` frames, and a temporal one on its class tokens.

    All fields of ViTArch are the spatial transformer's: class token, final norm, global attention.
    The temporal one has `temporal_depth` blocks of the same width and heads, a class token of its
    own and a position for each of the `looks.steps`.
    """

    looks: Looks = _EVERY_FRAME
    temporal_depth: int = 1

    @property
    def has(self) -> frozenset[str]:
        """What the spatial transformer has, in the words of `traits`."""
        return super().has | {traits.TIME, traits.CLASS_FEATURES}

    @property
    def temporal(self) -> ViTArch:
        """The temporal transformer; its grid is one row, a place for each step."""
        places = Size(1, self.looks.steps)
        return ViTArch(
            name=f"{self.name}-temporal",
            description="",
            dim=self.dim,
            heads=self.heads,
            depth=self.temporal_depth,
            patch=1,
            global_blocks=tuple(range(self.temporal_depth)),
            window=places,
            position_table=places,
            relative_table=None,
            mlp_ratio=self.mlp_ratio,
            published_counter=self.published_counter,
            class_token=True,
            final_norm=True,
        )


def vivit(  # noqa: PLR0913 - the numbers of an architecture
    name: str,
    description: str,
    *,
    dim: int,
    heads: int,
    depth: int,
    temporal_depth: int,
    patch: int,
    table: Size,
    looks: Looks,
    paper: str = _PAPER,
    mlp_ratio: int = 4,
) -> ViViTArch:
    """Return an architecture whose spatial transformer is plain, with a class token."""
    return ViViTArch(
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
        mlp_ratio=mlp_ratio,
        paper=paper,
        published_counter="eventful",
        class_token=True,
        final_norm=True,
        looks=looks,
        temporal_depth=temporal_depth,
    )


_ARCHS = (
    vivit(
        "vivit-b-epic",
        "ViViT-B, factorised encoder: 4 x 3 looks at 32 frames in steps of 2, for 320 x 320",
        dim=768,
        heads=12,
        depth=12,
        temporal_depth=4,
        patch=16,
        table=Size(20, 20),
        looks=Looks(frames=32, tubelet=2, stride=1, along=4, across=3),
    ),
    vivit(
        "vivit-b-kinetics",
        "ViViT-B, factorised encoder: 4 x 3 looks at 32 of 64 frames in steps of 2, for 224 x 224",
        dim=768,
        heads=12,
        depth=12,
        temporal_depth=4,
        patch=16,
        table=Size(14, 14),
        looks=Looks(frames=32, tubelet=2, stride=2, along=4, across=3),
    ),
    vivit(
        "vivit-ti",
        "small ViViT: width 96, 2 looks at 16 of 32 frames in steps of 2, for 96 x 96",
        dim=96,
        heads=3,
        depth=6,
        temporal_depth=2,
        patch=8,
        table=Size(12, 12),
        looks=Looks(frames=16, tubelet=2, stride=2, along=2, across=1),
        paper="ours, after ViViT",
    ),
)
ARCHS = {arch.name: arch for arch in _ARCHS}
