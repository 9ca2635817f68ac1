"""Multiply-accumulates of what surrounds the backbone, in closed form: matrix products only."""

from __future__ import annotations

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, Stage
from maskvd_cli.families.owlv2.archs import Owlv2Arch
from maskvd_cli.families.owlv2.shape import QueriesShape


def embedding_macs(arch: Owlv2Arch, grid: Size) -> int:
    """Patch embedding of all N tokens: N 3p^2 D."""
    return grid.area * 3 * arch.patch**2 * arch.dim


def heads_macs(arch: Owlv2Arch, shape: QueriesShape, grid: Size) -> int:
    """Box and class heads on all N tokens, with Q the width of texts: N (2D^2 + 6D + QD + QC)."""
    boxes = 2 * arch.dim**2 + 4 * arch.dim
    classes = arch.query_dim * arch.dim + 2 * arch.dim + arch.query_dim * shape.classes
    return grid.area * (boxes + classes)


def stages_of(arch: Owlv2Arch, shape: QueriesShape, grid: Size) -> tuple[Stage, ...]:
    """Return patch embedding and heads, whose costs depend on no output."""
    embedding, heads = embedding_macs(arch, grid), heads_macs(arch, shape, grid)
    return (
        Stage("embedding", EMBED, lambda output: embedding),
        Stage("heads", HEAD, lambda output: heads),
    )
