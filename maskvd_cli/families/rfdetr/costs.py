"""Multiply-accumulates of what surrounds the backbone, in closed form: matrix products only.

Convolutions, linear layers and attention; no biases, norms, activations, sampling, sorting.
N tokens, C channels, Q queries, K classes.
"""

from __future__ import annotations

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, Stage
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.shape import QueryShape

_KERNEL = 9


def embedding_macs(arch: QueryArch, grid: Size) -> int:
    """Patch embedding of all N tokens: N 3p^2 D."""
    return grid.area * 3 * arch.patch**2 * arch.dim


def projector_macs(arch: QueryArch, grid: Size) -> int:
    """Projector of T depths, with b bottlenecks of h = C/2: N (TD 2h + b 18h^2 + (2 + b)h C).

    1 x 1 to both halves; each bottleneck two 3 x 3 convolutions on the half before it; 1 x 1 of
    all halves.
    """
    half, depths = arch.channels // 2, len(arch.taps)
    inward = depths * arch.dim * 2 * half
    bottlenecks = arch.bottlenecks * 2 * _KERNEL * half**2
    outward = (2 + arch.bottlenecks) * half * arch.channels
    return grid.area * (inward + bottlenecks + outward)


def box_macs(arch: QueryArch, rows: int) -> int:
    """Three layers from features to four numbers: n (2C^2 + 4C)."""
    return rows * (2 * arch.channels**2 + 4 * arch.channels)


def proposal_macs(arch: QueryArch, shape: QueryShape, grid: Size) -> int:
    """First stage, a box and its classes at every token: N (C^2 + CK) and boxes of N.

    The Q best are classified once more by the library, QCK, for the loss of training.
    """
    channels = arch.channels
    every = grid.area * (channels**2 + channels * shape.classes)
    again = shape.queries * channels * shape.classes
    return every + box_macs(arch, grid.area) + again


def decoder_macs(arch: QueryArch, shape: QueryShape, grid: Size) -> int:
    """Decoder: positions of queries 3QC^2, then per layer all that follows.

    Self-attention 4QC^2 + 2Q^2 C; values of N C^2; of h heads with p points offsets and weights
    3QC hp; output QC^2; MLP 2QCF of F hidden units.
    """
    channels, queries = arch.channels, shape.queries
    positions = 3 * queries * channels**2
    own = 4 * queries * channels**2 + 2 * queries**2 * channels
    values = grid.area * channels**2
    sampling = 3 * queries * channels * arch.cross_heads * arch.points
    output = queries * channels**2
    mlp = 2 * queries * channels * arch.hidden
    return positions + arch.decoder_layers * (own + values + sampling + output + mlp)


def head_macs(arch: QueryArch, shape: QueryShape) -> int:
    """Classes and boxes of the queries: QCK and boxes of Q."""
    return shape.queries * arch.channels * shape.classes + box_macs(arch, shape.queries)


def stages_of(arch: QueryArch, shape: QueryShape, grid: Size) -> tuple[Stage, ...]:
    """Return what surrounds the backbone; no cost depends on the output."""
    parts = (
        ("embedding", EMBED, embedding_macs(arch, grid)),
        ("projector", HEAD, projector_macs(arch, grid)),
        ("proposals", HEAD, proposal_macs(arch, shape, grid)),
        ("decoder", HEAD, decoder_macs(arch, shape, grid)),
        ("heads", HEAD, head_macs(arch, shape)),
    )
    return tuple(Stage(name, part, lambda _, macs=macs: macs) for name, part, macs in parts)
