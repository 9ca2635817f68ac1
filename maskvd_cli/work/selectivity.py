"""Foreground selectivity: how well what blocks choose tokens by tells objects from the rest.

Of a frame and a block it is the area under the ROC curve of the scores that the method left in its
trace, for tokens that an annotated box touches: the chance that such a token has a higher score
than another one, equal scores counted half. 0.5: the scores know nothing.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.methods.base import ClipView, FrameTrace
from maskvd_cli.store.layers import selectivity_column


class Foreground:
    """The tokens of a clip's frames that lie under objects; wholly padded ones are left out."""

    def __init__(self, view: ClipView) -> None:
        self._view = view

    def of(self, position: int, trace: FrameTrace) -> dict[int, float]:
        """Return the selectivity of every block, NaN where it cannot be told.

        Empty for methods that do not tell what their blocks compute, and without annotations.
        """
        view = self._view
        if not trace.layers or view.boxes is None:
            return {}
        under = view.touched(0, "foreground selectivity")[position].numpy()
        real = np.ones(view.tokens, dtype=np.bool_) if view.real is None else view.real.numpy()
        found: dict[int, float] = {}
        for number in range(len(trace.layers)):
            scores = trace.scores.get(number)
            found[number] = np.nan
            if scores is not None:
                values = scores.detach().float().cpu().numpy()
                scored = real & ~np.isnan(values)
                found[number] = area_under_curve(values[scored & under], values[scored & ~under])
        return found


def area_under_curve(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Return the share of pairs in which the positive score is higher, equal ones counted half.

    NaN where there are no pairs.
    """
    if not len(positive) or not len(negative):
        return np.nan
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left").astype(np.float64)
    not_above = np.searchsorted(ordered, positive, "right")
    return float((below + not_above).sum() / (2 * len(positive) * len(negative)))


def selectivity_arrays(frames: Sequence[dict[int, float]]) -> dict[str, NDArray[np.float64]]:
    """Return the arrays of a clip's piece, (frames,) for each block."""
    numbers = sorted({number for frame in frames for number in frame})
    return {
        selectivity_column(number): np.array([frame[number] for frame in frames])
        for number in numbers
    }
