"""Random tokens, a control: what masked execution is worth when the choice knows nothing."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from maskvd_cli.masks.combined import scheduled
from maskvd_cli.masks.static import kept_tokens
from maskvd_cli.methods.base import ClipView, FrameContext
from maskvd_cli.methods.masked import MaskedMethod, MaskedParams
from maskvd_cli.methods.params import Varied


class RandomParams(MaskedParams):
    """How many tokens are drawn, and with which seed."""

    keep_rate: Annotated[float, Varied.steps(0.05, 0.9, 0.05)] = Field(
        default=0.3, ge=0, le=1, description="share of all tokens that a masked frame recomputes"
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of the draws")


class RandomTokens(MaskedMethod[RandomParams]):
    """int(keep_rate N) tokens, at least one, drawn anew on every masked frame of a clip."""

    name = "random"
    description = "control: tokens drawn at random, masked execution"
    paper = "control"
    params_type = RandomParams
    naming = ("version", "period", "keep_rate")
    role = "control"
    columns: ClassVar = {"version": "ver.", "period": "P"}
    colour, mark = "#b2a300", "x"

    def choose(self, frame: FrameContext) -> Tensor:
        return _draw(self.params, frame.index, frame.grid.area)

    @classmethod
    def planned(cls, params: RandomParams, view: ClipView) -> Tensor:
        drawn = [_draw(params, index, view.tokens) for index in range(view.frames)]
        return scheduled(params.period, view.frames, view.tokens, own=torch.stack(drawn))


def _draw(params: RandomParams, index: int, tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(params.seed * 1_000_003 + index)
    chosen = torch.randperm(tokens, generator=generator)
    kept = torch.zeros(tokens, dtype=torch.bool)
    kept[chosen[: max(1, kept_tokens(params.keep_rate, tokens))]] = True
    return kept
