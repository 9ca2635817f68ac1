"""Foreground selectivity: how well a score of tokens, block by block, tells objects from the rest.

Of a frame and a block it is the area under the ROC curve of the score, for tokens that an annotated
box touches: the chance that such a token has a higher score than another one, equal scores counted
half. 0.5: the score knows nothing. Tokens that are wholly padding are left out.

The score of a block is the one by which it was chosen what the block computes, where a method left
it in its trace. Of the baseline, whose blocks choose nothing, the features themselves tell it: how
unlike the tokens of its frame a token is after the block, 1 - the mean over all tokens j of
cos(x_i, x_j). So both kinds answer one question: what could be told from a block's depth, and what
a method makes of it. The paper behind the figure (arXiv 2604.00827, Figure 2) was not at hand, and
its own definition is not known: this one is ours.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.methods.base import ClipView, FrameTrace
from maskvd_cli.store.layers import selectivity_column


class FeatureScores:
    """Listens to a backbone that computes all tokens, and scores them after each of its blocks.

    `real` (N,) bool: which tokens are not wholly padding; None: all.
    """

    def __init__(self, backbone: Any, real: Tensor | None) -> None:
        self._backbone, self._real = backbone, real
        self._found: dict[int, Tensor] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        for number, block in enumerate(self._backbone.blocks):

            def note(module: Any, given: Any, sequence: Tensor, number: int = number) -> None:
                arch = self._backbone.arch
                tokens = sequence[0, arch.lead : sequence.shape[1] - arch.trail]
                self._found[number] = unlikeness(tokens, self._real)

            self._hooks.callback(block.register_forward_hook(note).remove)
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.close()

    def taken(self) -> dict[int, Tensor]:
        """Return the scores (N,) after each block of the last frame, and forget them."""
        found, self._found = self._found, {}
        return found


def unlikeness(tokens: Tensor, real: Tensor | None = None) -> Tensor:
    """Return of each of the tokens (N, D) 1 - its mean cosine similarity with the `real` ones."""
    unit = F.normalize(tokens.float(), dim=1)
    among = unit if real is None else unit[real.to(unit.device)]
    # The mean of cosines is the product with the mean direction.
    return 1 - (unit * among.mean(0)).sum(1)


class Foreground:
    """The tokens of a clip's frames that lie under objects; wholly padded ones are left out."""

    def __init__(self, view: ClipView) -> None:
        self._view = view

    def of(
        self, position: int, trace: FrameTrace, features: Mapping[int, Tensor] | None = None
    ) -> dict[int, float]:
        """Return the selectivity of every block, NaN where it cannot be told.

        `features`: scores by the features of each block, told where the trace has none. Empty for
        methods that tell neither, and without annotations.
        """
        view = self._view
        scored_by = trace.scores if trace.layers else (features or {})
        depth = len(trace.layers) or len(scored_by)
        if not depth or view.boxes is None:
            return {}
        under = view.touched(0, "foreground selectivity")[position].numpy()
        real = np.ones(view.tokens, dtype=np.bool_) if view.real is None else view.real.numpy()
        found: dict[int, float] = {}
        for number in range(depth):
            scores = scored_by.get(number)
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
