"""What pruning for a class token costs and keeps, in closed form; `class_pruning` tells what it is.

N tokens of the grid, n with the class token, k and m those that stay, D width, c that of a head, r
the MLP's ratio, L blocks, d the tracking radius.
"""

from __future__ import annotations

import numpy as np

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.methods.base import FLOAT32_BYTES, ClipView, TokenTrace, token_bytes
from maskvd_cli.methods.class_pruning import ROLLED, TRACKED
from maskvd_cli.methods.pruned_costs import PRUNED
from maskvd_cli.methods.reducing import block_extras, frame_extras
from maskvd_cli.methods.rgtp_params import RGTPParams


def look_trace(params: RGTPParams, view: ClipView) -> TokenTrace:
    """Return the trace of a look's steps. Raises UsageError for a k above N."""
    numbers = np.arange(view.frames)
    kept = np.array([params.on_step(index, view.grid) for index in range(view.frames)], np.int64)
    counts = {
        PRUNED: numbers > 0,
        TRACKED: numbers % params.period != 0,
        ROLLED: (numbers + 1) % params.period != 0,
    }
    return TokenTrace(
        kept.astype(np.float64),
        kept == view.tokens,
        {name: flags.astype(np.int64) for name, flags in counts.items()},
    )


def step_macs(arch: ViTArch, grid: Size, params: RGTPParams, trace: TokenTrace) -> Macs:
    """Return the MACs of every step.

    Matrix products: block 0, in which m ask n, (m + 2n)D^2 + 2mnD + (1 + 2r)mD^2; the others
    (4 + 2r)mD^2 + 2m^2 D each; tracking (2d + 1)^2 ND, none at d = 0; where the next step follows,
    rollout L m^2 and likeness (N - k)kc. The published counter is that of the authors' code: block
    0 for all n up to its MLP, a rollout of matrices after every step, n^3 + (L - 1)m^3, likeness
    on every step, and what `reducing.block_extras` and `frame_extras` add.
    """
    every, kept = grid.area + arch.lead, trace.whole_tokens
    among = kept + arch.lead
    square, mlp = arch.dim**2, 2 * arch.mlp_ratio
    later = (arch.depth - 1) * ((4 + mlp) * among * square + 2 * among**2 * arch.dim)
    first = (among + 2 * every) * square + 2 * among * every * arch.dim + (1 + mlp) * among * square
    whole_first = 4 * every * square + 2 * every**2 * arch.dim + mlp * among * square
    tracking = (2 * params.radius + 1) ** 2 * grid.area * arch.dim if params.radius else 0
    following = tracking * trace.counts[TRACKED]
    likeness = (grid.area - kept) * kept * arch.head_dim
    rollout = arch.depth * among**2
    matrices = every**3 + (arch.depth - 1) * among**3
    published = whole_first + later + following + likeness + matrices
    return Macs(
        first + later + following + (rollout + likeness) * trace.counts[ROLLED],
        published + _extras(arch, grid, every, among),
    )


def _extras(arch: ViTArch, grid: Size, every: int, among: np.ndarray) -> np.ndarray:
    """Return what the published counter adds to the products of each step."""
    return np.array(
        [
            block_extras(arch, every, m, every**2)
            + (arch.depth - 1) * block_extras(arch, m, m, m**2)
            + frame_extras(arch, grid, m)
            for m in among.tolist()
        ],
        dtype=np.int64,
    )


def kept_bytes(arch: ViTArch, grid: Size, params: RGTPParams) -> int:
    """Return the bytes of embedded patches ND and importance N; none where no step follows."""
    if params.period == 1:
        return 0
    return token_bytes(arch, grid) + grid.area * FLOAT32_BYTES
