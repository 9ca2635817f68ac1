"""Multiply-accumulates of what surrounds the backbone, in closed form: matrix products only."""

from __future__ import annotations

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, Stage
from maskvd_cli.families.yolos.archs import YolosArch
from maskvd_cli.families.yolos.shape import HeadsShape


def embedding_macs(arch: YolosArch, grid: Size) -> int:
    """Patch embedding of all N tokens: N 3p^2 D."""
    return grid.area * 3 * arch.patch**2 * arch.dim


def heads_macs(arch: YolosArch, shape: HeadsShape) -> int:
    """Two heads of three layers on the T detection tokens: T (4D^2 + D (C + 1) + 4D)."""
    per_token = 4 * arch.dim**2 + arch.dim * (shape.classes + 1) + 4 * arch.dim
    return arch.detections * per_token


def stages_of(arch: YolosArch, shape: HeadsShape, grid: Size) -> tuple[Stage, ...]:
    """Return patch embedding and heads, whose costs depend on no output."""
    embedding, heads = embedding_macs(arch, grid), heads_macs(arch, shape)
    return (
        Stage("embedding", EMBED, lambda output: embedding),
        Stage("heads", HEAD, lambda output: heads),
    )
