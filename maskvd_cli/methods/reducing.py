"""Methods whose frames run by themselves, with ever fewer tokens as they go deeper."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Params,
    Selection,
    TokenMethod,
    TokenTrace,
)


class Reduced(Protocol):
    """What comes out of the last block, and how it becomes features of a grid again."""

    @property
    def trace(self) -> FrameTrace:
        """`counts["start"]`: tokens that entered the first block; `tokens`: mean over blocks."""
        ...

    def onto(self, base: Tensor) -> Tensor:
        """Return a copy of `base` (B, N, D), the features where nothing came out."""
        ...


@dataclass(frozen=True)
class Foretold:
    """What a number of tokens becomes: the mean over blocks of those that leave, and the cost.

    `full`: all tokens of the grid entered, and none was lost.
    """

    tokens: float
    full: bool
    macs: Macs


P = TypeVar("P", bound=Params)


class ReducingMethod(TokenMethod[P]):
    """All tokens enter the first block; features where nothing came out are zero.

    What happens in the blocks depends on the number of tokens that enter alone, so a clip can be
    planned. Full frames reduce nothing.
    """

    batched = True

    @abstractmethod
    def reduced(
        self, tokens: Tensor, grid: Size, chosen: Tensor | None = None, *, reduce: bool = True
    ) -> Reduced:
        """Run embedded patches (B, N, D), all or those at `chosen` (n,), as if no others were.

        None is lost where `reduce` says so.
        """

    @classmethod
    @abstractmethod
    def foretold(
        cls, params: P, arch: ViTArch, grid: Size, start: int, *, reduce: bool = True
    ) -> Foretold:
        """Return what `start` tokens that enter the first block become, and what they cost."""

    def forget(self) -> None:
        """Do nothing, unless state is kept."""

    def state(self) -> Iterable[Tensor]:
        return ()

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        outcome = self.reduced(tokens, frame.grid)
        return outcome.onto(tokens.new_zeros(tokens.shape)), outcome.trace

    @classmethod
    def constant_on_repeats(cls, params: P) -> bool:
        return True

    @classmethod
    def plan(cls, params: P, arch: ViTArch, view: ClipView) -> TokenTrace:
        every = cls.foretold(params, arch, view.grid, view.tokens)
        return TokenTrace(
            np.full(view.frames, every.tokens),
            np.full(view.frames, every.full),
            {"start": np.full(view.frames, view.tokens, dtype=np.int64)},
        )

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: P, trace: TokenTrace) -> Macs:
        frames = list(zip(trace.counts["start"].tolist(), trace.full.tolist(), strict=True))
        cost_of = {
            (start, full): cls.foretold(params, arch, grid, start, reduce=not full).macs
            for start, full in set(frames)
        }
        return Macs(
            np.array([cost_of[frame].matrix for frame in frames], dtype=np.int64),
            np.array([cost_of[frame].published for frame in frames], dtype=np.int64),
        )

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: P) -> int:
        return 0
