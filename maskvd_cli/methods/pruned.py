"""Methods that prune a frame to exactly K tokens after its first attention."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import DETECTION_TOKENS, EQUAL_WINDOWS, PLAIN_VIT
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods import pruned_costs
from maskvd_cli.methods.attention_maps import AttentionMaps
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Params,
    Selection,
    TokenTrace,
)
from maskvd_cli.methods.params import TOKEN_COUNTS, Varied
from maskvd_cli.methods.pruned_costs import PRUNED
from maskvd_cli.methods.pruned_execution import PrunedExecution
from maskvd_cli.methods.selecting import SelectingMethod
from maskvd_cli.methods.trace import MASK


class PrunedParams(Params):
    """How many tokens a pruned frame recomputes, and how often a frame is full."""

    k: Annotated[int | None, TOKEN_COUNTS] = Field(
        default=None, ge=1, description="K: tokens of a pruned frame"
    )
    keep_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="in place of k: K is this share of all tokens, rounded half to even as in the "
        "published code, and at least 1",
    )
    period: Annotated[int, Varied((2, 4, 8, 16, 32))] = Field(
        default=8, ge=1, le=1_000_000, description="P: every P-th frame of a clip is full"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.k is None) == (self.keep_rate is None):
            raise ValueError("give k, or keep_rate in its place")
        return self

    def count(self, tokens: int) -> int:
        """Return K of N `tokens`. Raises UsageError for a k that is larger."""
        if self.keep_rate is not None:
            return max(1, round(self.keep_rate * tokens))
        assert self.k is not None
        if self.k > tokens:
            raise UsageError(
                f"k {self.k} is more than the frame's {tokens} tokens",
                remedy=f"give a k of at most {tokens}, with which all tokens go on",
            )
        return self.k


P = TypeVar("P", bound=PrunedParams)


@dataclass(frozen=True)
class ChosenTokens:
    """The tokens that go on, (K,) sorted, on the backbone's device; None: the frame is full."""

    index: Tensor | None


class PrunedMethod(SelectingMethod[P]):
    """Frame t is full where t % period == 0; others recompute the K tokens of `choose`.

    MACs: `pruned_costs.executed`; state: `pruned_costs.state_bytes`. Keeping all N tokens equals
    dense on every frame.
    """

    columns: ClassVar = {"k": "K", "keep_rate": "keep rate", "period": "P"}
    knows: ClassVar[frozenset[str] | None] = PLAIN_VIT | EQUAL_WINDOWS | DETECTION_TOKENS

    def __init__(self, params: P, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.execution = PrunedExecution(backbone, self.maps())

    def maps(self) -> AttentionMaps | None:
        """Return what the attention of global blocks is read into; None: it is not read."""
        return None

    @abstractmethod
    def choose(self, tokens: Tensor, frame: FrameContext, count: int) -> Tensor:
        """Return the `count` tokens that a pruned frame recomputes, int64, in any order.

        `tokens` (N, D) are its embedded patches.
        """

    def chosen(self, tokens: Tensor, frame: FrameContext) -> Tensor:
        count = self.params.count(frame.grid.area)
        if frame.index % self.params.period == 0:
            return torch.ones(frame.grid.area, dtype=torch.bool)
        kept = torch.zeros(frame.grid.area, dtype=torch.bool)
        kept[self.choose(tokens[0], frame, count).cpu()] = True
        return kept

    @classmethod
    def entering(cls, params: P, view: ClipView) -> NDArray[np.int64]:
        pruned = np.arange(view.frames) % params.period != 0
        return np.where(pruned, params.count(view.tokens), view.tokens)

    def forget(self) -> None:
        self.execution.reset()

    def select_from(self, tokens: Tensor, frame: FrameContext) -> Selection:
        self._check(tokens, frame)
        count = self.params.count(frame.grid.area)
        if frame.index % self.params.period == 0:
            return Selection(more=ChosenTokens(None))
        chosen = self.choose(tokens[0], frame, count)
        return Selection(more=ChosenTokens(chosen.sort().values.to(tokens.device)))

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        kept = selection.more
        assert isinstance(kept, ChosenTokens)
        features = self.execution.run(tokens, frame.grid, kept.index)
        return features, self._trace(kept.index, frame.grid, tokens.device)

    def _trace(self, index: Tensor | None, grid: Size, device: torch.device) -> FrameTrace:
        pruned = {PRUNED: int(index is not None)}
        if index is None:
            index = torch.arange(grid.area, device=device)
        # The attention of the first block, half of it, is that of all tokens.
        share = 1 - 0.5 / self.backbone.arch.depth
        return FrameTrace(len(index), len(index) == grid.area, pruned, {MASK: index}, {MASK: share})

    def state(self) -> Iterable[Tensor]:
        return self.execution.state()

    @classmethod
    def constant_on_repeats(cls, params: P) -> bool:
        return True

    @classmethod
    def plan(cls, params: P, arch: ViTArch, view: ClipView) -> TokenTrace:
        return pruned_costs.pruned_trace(view, params.period, params.count(view.tokens))

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: P, trace: TokenTrace) -> Macs:
        return pruned_costs.executed(arch, grid, trace.whole_tokens)

    @classmethod
    def published_at(cls, arch: ViTArch, grid: Size, params: P, tokens: int) -> int | None:
        return int(pruned_costs.executed(arch, grid, tokens).published)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: P) -> int:
        return pruned_costs.state_bytes(arch, grid)
