"""How much of the backbone recomputes each token of a frame, from the trace that a method leaves.

The trace itself says how its index sets are to be read: see `FrameTrace.shares`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.size import Size
from maskvd_cli.methods.base import FrameTrace


@dataclass(frozen=True)
class Kept:
    """`share` (rows, cols) float64 of the token grid in 0..1, and in words what bright tokens are.

    `known` is False where the method leaves no trace of its tokens.
    """

    share: NDArray[np.float64]
    legend: str
    known: bool = True


def kept_tokens(trace: FrameTrace, grid: Size) -> Kept:
    """Return the share of each token of the grid."""
    share = trace.share(grid.area)
    if share is None:
        return Kept(np.ones(grid), "the method tells no tokens", known=False)
    united = not trace.shares and len(trace.selected) > 1
    choices = f" by any of {len(trace.selected)} choices" if united else ""
    return Kept(share.reshape(grid), f"bright: {trace.meaning}{choices}")
