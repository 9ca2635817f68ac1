"""Multiply-accumulates of what surrounds the spatial transformer, in closed form."""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, Stage
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.vivit.archs import ViViTArch
from maskvd_cli.families.vivit.shape import ClassifierShape


def embedding_macs(arch: ViViTArch, grid: Size) -> int:
    """Embedding of the N tokens of a step of t frames: N 3t p^2 D."""
    return grid.area * 3 * arch.looks.tubelet * arch.patch**2 * arch.dim


def conclusion(arch: ViViTArch, shape: ClassifierShape) -> Macs:
    """Temporal transformer on T + 1 tokens, and classifier: D C, published with C biases."""
    temporal = arch.temporal
    classifier = arch.dim * shape.classes
    return costs.dense(temporal, temporal.position_table) + Macs(
        classifier, classifier + shape.classes
    )


def stages_of(arch: ViViTArch, shape: ClassifierShape, grid: Size) -> tuple[Stage, ...]:
    """Return what surrounds the spatial transformer.

    What concludes a look costs its last step alone; at None, where steps are planned, each step has
    an equal share.
    """
    embedding, concluding = embedding_macs(arch, grid), int(conclusion(arch, shape).matrix)

    def at_the_end(output: Any) -> float:
        if output is None:
            return concluding / arch.looks.steps
        return 0 if output.logits is None else concluding

    return (
        Stage("embedding", EMBED, lambda output: embedding),
        Stage("conclusion", HEAD, at_the_end),
    )
