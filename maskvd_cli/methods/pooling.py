"""Pooled keys and values of global blocks: the parameter, and where it has a meaning."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch

Pool = Annotated[
    int,
    Field(
        ge=1,
        description="global blocks attend to means over pool x pool cells of keys and values",
    ),
]


def check_poolable(arch: ViTArch, pool: int) -> None:
    """Raise UsageError where the backbone's keys cannot be pooled, or nobody counts them so."""
    if pool > 1 and arch.window_lead:
        raise UsageError(
            f"pool {pool} is for keys on the grid alone; {arch.name} has class tokens among them",
            remedy="leave pool out",
        )
    if pool > 1 and (arch.class_token or arch.torchprofiled):
        raise UsageError(
            f"pool {pool} is for windowed backbones; {arch.name} is none",
            remedy="leave pool out",
        )


def check_pool(grid: Size, pool: int) -> None:
    """Raise UsageError unless `pool` divides both sides of the token grid."""
    if grid.rows % pool or grid.cols % pool:
        raise UsageError(
            f"pool {pool} does not divide the token grid {grid} (rows x columns)",
            remedy="choose another pool or another input",
        )
