"""Progressive dropping: in some blocks a sequence loses the tokens that get the least attention.

EViT's token reorganisation (ICLR 2022, arXiv 2202.07800, section 3) on a detector's backbone. In a
block that drops, after the attention residual and before the MLP, the sequence becomes its class
token, the kept tokens in descending order of score, and with fusion one token more: the sum of
score times token over those that were dropped. Scores: see `attention_scores`.

The authors compute attention and projection of all tokens, then throw most away; here, without
fusion, those that will be dropped ask no queries and are not projected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.traits import WINDOWS
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.attention_scores import See, attend_in_place, clips, scored_attention, take
from maskvd_cli.methods.base import FrameTrace
from maskvd_cli.methods.selecting import Watch
from maskvd_cli.methods.trace import lasting

WHY_NO_WINDOWS = {WINDOWS: "drops tokens, and the windows of {model} need all of them"}


class BlockTokens(NamedTuple):
    """Tokens of one block, class token apart: that enter, are kept, and leave with a fused one."""

    entering: int
    kept: int
    leaving: int

    @property
    def drops(self) -> bool:
        """Whether the block drops any."""
        return self.kept < self.entering


def stages_of(
    start: int, keep_rates: Sequence[float], *, drop: bool = True, fuse: bool = False
) -> list[BlockTokens]:
    """Return what happens to `start` tokens in blocks with these keep rates, all 1 if not `drop`.

    Of n tokens ceil(keep_rate n) are kept, the product in double precision as in the published
    code: 0.55 x 100 is 55.00000000000001 there and keeps 56.
    """
    stages: list[BlockTokens] = []
    entering = start
    for keep_rate in keep_rates:
        kept = math.ceil(keep_rate * entering) if drop else entering
        stages.append(BlockTokens(entering, kept, kept + int(fuse and kept < entering)))
        entering = stages[-1].leaving
    return stages


def mean_tokens(stages: Sequence[BlockTokens]) -> float:
    """Return the mean over blocks of the tokens that leave."""
    return sum(stage.leaving for stage in stages) / len(stages)


def is_whole(stages: Sequence[BlockTokens], grid: Size) -> bool:
    """Return whether all tokens enter the first block and none is dropped."""
    return stages[0].entering == grid.area and not any(stage.drops for stage in stages)


@dataclass(frozen=True)
class Travelling:
    """A sequence on its way through the blocks.

    `tokens` (B, 1 + n, D), class token first, or (B, n, D) on backbones without one; `index`
    (B, n): the flat grid index of each, N for fused tokens, which have no place.
    """

    tokens: Tensor
    index: Tensor

    @classmethod
    def begin(
        cls, backbone: VisionTransformer, tokens: Tensor, grid: Size, chosen: Tensor | None = None
    ) -> Travelling:
        """Start with embedded patches (B, N, D), all or those at `chosen` (n,)."""
        sequence = tokens + backbone.positions_on(grid)
        if chosen is None:
            chosen = torch.arange(grid.area, device=tokens.device)
        else:
            sequence = sequence[:, chosen]
        return cls(backbone.with_class_token(sequence), chosen.expand(len(tokens), -1))

    def through(
        self,
        block: Block,
        grid: Size,
        kept: int,
        *,
        fuse: bool = False,
        watch: See | None = None,
    ) -> Travelling:
        """Run one block, after whose attention only the best `kept` tokens go on.

        Of equal scores the token with the lower grid index goes first, a fused one last. `watch`
        sees the attention of a sequence of one clip.
        """
        if kept < self.index.shape[1]:
            tokens, index = self._reorganised(block, grid, kept, fuse, watch)
        else:
            normed = block.norm1(self.tokens)
            if watch is None:
                attended = attend_in_place(block, block.qkv(normed), self.index, grid)
            else:
                attended = scored_attention(block, normed, self.index, grid, watch)[1](None)
            tokens, index = self.tokens + block.projection(attended), self.index
        return Travelling(tokens + block.mlp(block.norm2(tokens)), index)

    def _reorganised(
        self, block: Block, grid: Size, kept: int, fuse: bool, watch: See | None
    ) -> tuple[Tensor, Tensor]:
        """Return tokens and index after the attention residual, without those dropped."""
        lead = self.tokens.shape[1] - self.index.shape[1]
        normed = block.norm1(self.tokens)
        scores, attend = scored_attention(block, normed, self.index, grid, watch)
        order = _best_first(scores, self.index)
        best, rest = order[:, :kept], order[:, kept:]
        index = take(self.index, best)
        if not fuse:
            return take(self.tokens, best, lead) + block.projection(attend(best)), index
        tokens = self.tokens + block.projection(attend(None))
        weights = take(scores, rest).to(tokens.dtype)[..., None]
        fused = (weights * take(tokens[:, lead:], rest)).sum(1, keepdim=True)
        no_place = index.new_full((len(index), 1), grid.area)
        return (
            torch.cat([take(tokens, best, lead), fused], dim=1),
            torch.cat([index, no_place], dim=1),
        )


@dataclass(frozen=True)
class Survivors:
    """What comes out of the last block: `features` (B, n, D) after the final norm, at `index`.

    `whole`: nothing was left out or dropped, so that they lie in raster order.
    """

    features: Tensor
    index: Tensor
    whole: bool
    trace: FrameTrace

    def onto(self, base: Tensor) -> Tensor:
        """Return a copy of `base` (B, N, D) with the survivors in their places, fused ones not."""
        if self.whole:
            return self.features
        # Fused tokens go to a row behind the others, which is cut off.
        rows = F.pad(base, (0, 0, 0, 1))
        rows[clips(self.index), self.index] = self.features
        return rows[:, :-1].contiguous()


@dataclass(frozen=True)
class ProgressiveDropping:
    """A backbone whose blocks, all of them global, drop tokens.

    `keep_rates` in (0, 1], one per block: of the tokens that enter it. `fuse`: dropped tokens leave
    a fused one.
    """

    backbone: VisionTransformer
    keep_rates: Sequence[float]
    fuse: bool = False

    def run(
        self,
        tokens: Tensor,
        grid: Size,
        chosen: Tensor | None = None,
        *,
        drop: bool = True,
        watch: Watch | None = None,
    ) -> Survivors:
        """Run embedded patches (B, N, D), all or those at `chosen` (n,); drop none if not `drop`.

        In the trace `tokens` is the mean over blocks of those that leave, `start` counts those that
        enter the first; selected are `blocks.<i>.kept` and `survivors`, (n,), or (B, n) for a
        batch, in which N stands for a fused token.
        """
        backbone = self.backbone
        travelling = Travelling.begin(backbone, tokens, grid, chosen)
        start = travelling.index.shape[1]
        stages = stages_of(start, self.keep_rates, drop=drop, fuse=self.fuse)
        selected: dict[str, Tensor] = {}
        for number, (block, stage) in enumerate(zip(backbone.blocks, stages, strict=True)):
            see = None if watch is None else partial(watch, number)
            travelling = travelling.through(block, grid, stage.kept, fuse=self.fuse, watch=see)
            if stage.drops:
                selected[f"blocks.{number}.kept"] = travelling.index[:, : stage.kept]
        selected["survivors"] = travelling.index
        selected = {name: _sorted(index, grid, self.fuse) for name, index in selected.items()}
        whole = is_whole(stages, grid)
        trace = FrameTrace(
            mean_tokens(stages),
            whole,
            {"start": start},
            selected,
            lasting([stage.drops for stage in stages]),
            f"kept through many of {len(stages)} blocks",
        )
        return Survivors(backbone.finish(travelling.tokens), travelling.index, whole, trace)


def _best_first(scores: Tensor, index: Tensor) -> Tensor:
    """Return the positions (B, n) in a sequence by descending score, then by grid index."""
    by_index = index.argsort(dim=1, stable=True)
    by_score = take(scores, by_index).argsort(dim=1, descending=True, stable=True)
    return take(by_index, by_score)


def _sorted(index: Tensor, grid: Size, fuse: bool) -> Tensor:
    """Return indices (B, n) in order; of one clip (n,), without fused tokens."""
    ordered = index.sort(dim=1).values
    if len(ordered) > 1:
        return ordered
    return ordered[0][ordered[0] < grid.area] if fuse else ordered[0]
