"""Boxes-k, a control: exactly K tokens in and around the last boxes, without a look at attention.

Beside a method that prunes to K tokens it says what that method's choice is worth beyond the boxes:
execution and number of tokens are the same.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.masks.dynamic import dynamic_mask
from maskvd_cli.methods.base import ClipView, FrameContext, TokenTrace
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.pruned import PrunedMethod, PrunedParams
from maskvd_cli.methods.pruned_costs import pruned_trace


class BoxesKParams(PrunedParams):
    """Which boxes count."""

    score_threshold: Annotated[float, Varied.steps(0, 0.9, 0.1, with_scores=True)] = Field(
        default=0.5, ge=0, le=1, description="boxes above this score count"
    )


class BoxesK(PrunedMethod[BoxesKParams]):
    """Tokens that boxes of the frame before touch; too many or too few are evened out to K.

    Of too many an evenly spaced part is taken; where they are too few, evenly spaced ones of the
    others come in addition; without a box K evenly spaced ones of all. After the control in RGTP's
    code.
    """

    name = "boxes-k"
    description = "control: K tokens in and around the last boxes, evenly spaced where they vary"
    paper = "control"
    params_type = BoxesKParams
    role = "control"
    columns: ClassVar = {**PrunedMethod.columns, "score_threshold": "threshold"}
    colour, mark = "#8c6d31", "P"

    def choose(self, tokens: Tensor, frame: FrameContext, count: int) -> Tensor:
        boxes = torch.empty(0, 4) if frame.boxes is None else frame.boxes
        touched = dynamic_mask(
            boxes, frame.input, frame.patch, scores=frame.scores,
            score_threshold=self.params.score_threshold,
        )  # fmt: skip
        return evened(touched, count)

    @classmethod
    def plan(cls, params: BoxesKParams, arch: ViTArch, view: ClipView) -> TokenTrace:
        """Return the trace; where boxes are known, also which tokens each frame recomputes."""
        count = params.count(view.tokens)
        trace = pruned_trace(view, params.period, count)
        if view.boxes is None or view.frame_of is None:
            return trace
        kept = torch.ones(view.frames, view.tokens, dtype=torch.bool)
        touched = view.touched(0, cls.name)
        for frame in range(view.frames):
            if frame % params.period:
                kept[frame] = False
                kept[frame, evened(touched[frame - 1], count)] = True
        return TokenTrace(trace.tokens, trace.full, trace.counts, kept)


def evened(touched: Tensor, count: int) -> Tensor:
    """Return exactly `count` tokens, (count,) int64: of `touched` (N,) bool, then of the others."""
    inside, outside = touched.nonzero()[:, 0], (~touched).nonzero()[:, 0]
    if len(inside) >= count:
        return _spaced(inside, count)
    return torch.cat([inside, _spaced(outside, count - len(inside))])


def _spaced(tokens: Tensor, count: int) -> Tensor:
    """Return `count` of the tokens (m,), evenly spaced: those at 0, m / count, 2m / count, ..."""
    return tokens[torch.arange(count) * len(tokens) // max(count, 1)]
