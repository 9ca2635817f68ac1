"""Progressive dropping: in some blocks a sequence loses the tokens that get the least attention.

EViT's token reorganisation (ICLR 2022, arXiv 2202.07800, section 3) on a detector's backbone. In a
block that drops, after the attention residual and before the MLP, the sequence becomes its class
token, the kept tokens in descending order of score, and with fusion one token more: the sum of
score times token over those that were dropped. Scores: see `attention_scores`. With equal windows
each of them drops equally many of its own (`groups`), and has its own fused token.

The authors compute attention and projection of all tokens, then throw most away; here, without
fusion, those that will be dropped ask no queries and are not projected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.traits import PADDED_WINDOWS
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.attention_scores import See, attend_in_place, clips, scored_attention, take
from maskvd_cli.methods.base import FrameTrace
from maskvd_cli.methods.groups import Groups, between, in_sequence, laid_out
from maskvd_cli.methods.selecting import Watch
from maskvd_cli.methods.trace import lasting

WHY_NO_WINDOWS: dict[str, str] = {
    PADDED_WINDOWS: "drops tokens, and the windows of {model} need all of them"
}


class BlockTokens(NamedTuple):
    """Tokens of one block: that enter, are kept, and leave with a fused one.

    Of each group, those that always stay apart.
    """

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


def is_whole(stages: Sequence[BlockTokens], area: int) -> bool:
    """Return whether all tokens of a grid, or group, enter the first block and none is dropped."""
    return stages[0].entering == area and not any(stage.drops for stage in stages)


@dataclass(frozen=True)
class Travelling:
    """A sequence on its way through the blocks, in `windows` groups of an image, or as one.

    `tokens` (G, always + n, D), class and detection tokens first, or (G, n, D) on backbones without
    any; `index` (G, n): the flat grid index of each, N for fused tokens, which have no place.
    """

    tokens: Tensor
    index: Tensor
    windows: int = 1

    @classmethod
    def begin(
        cls, backbone: VisionTransformer, tokens: Tensor, grid: Size, chosen: Tensor | None = None
    ) -> Travelling:
        """Start with embedded patches (B, N, D), all or without windows those at `chosen`."""
        groups = Groups.on(backbone.arch, grid)
        return cls(*laid_out(backbone, tokens, grid, chosen), groups.count)

    @property
    def always(self) -> int:
        """How many tokens stand in front of each group and never go."""
        return self.tokens.shape[1] - self.index.shape[1]

    @property
    def placed(self) -> Tensor:
        """The flat grid index of the tokens of each image, (B, m)."""
        return _of_images(self.index, self.windows)

    def together(self, block: Block) -> int:
        """Return how many groups attend to each other in a block."""
        return self.windows if block.window is None else 1

    def through(
        self,
        block: Block,
        grid: Size,
        kept: int,
        *,
        fuse: bool = False,
        watch: See | None = None,
    ) -> Travelling:
        """Run one block, after whose attention only the best `kept` tokens of a group go on.

        Of equal scores the token with the lower grid index goes first, a fused one last. `watch`
        sees the attention of a sequence of one clip.
        """
        together = self.together(block)
        if kept < self.index.shape[1]:
            tokens, index = self._reorganised(block, grid, kept, fuse, watch)
        else:
            normed = block.norm1(self.tokens)
            if watch is None:
                attended = attend_in_place(block, block.qkv(normed), self.index, grid, together)
            else:
                attended = scored_attention(block, normed, self.index, grid, watch)[1](None)
            tokens, index = self.tokens + block.projection(attended), self.index
        return replace(self, tokens=tokens + block.mlp(block.norm2(tokens)), index=index)

    def between(self, backbone: VisionTransformer, number: int, grid: Size) -> Travelling:
        """Return the sequence as it enters the block after block `number`."""
        moved = between(backbone, number, self.tokens, self.index, grid)
        return self if moved is self.tokens else replace(self, tokens=moved)

    def read(self, backbone: VisionTransformer) -> TapReading:
        """Return what is read of it: features after the final norm, and where they lie."""
        groups = Groups(self.windows, self.always)
        sequence = in_sequence(self.tokens, backbone.arch, groups)
        return TapReading(backbone.finish(sequence), self.placed)

    def _reorganised(
        self, block: Block, grid: Size, kept: int, fuse: bool, watch: See | None
    ) -> tuple[Tensor, Tensor]:
        """Return tokens and index after the attention residual, without those dropped."""
        lead, together = self.always, self.together(block)
        normed = block.norm1(self.tokens)
        scores, attend = scored_attention(block, normed, self.index, grid, watch, together)
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
class TapReading:
    """Features of one depth: `features` (B, n, D) after the final norm, at `index` (B, n)."""

    features: Tensor
    index: Tensor

    def onto(self, base: Tensor) -> Tensor:
        """Return a copy of `base` (B, N, D) with the features in their places, fused ones not."""
        # Fused tokens go to a row behind the others, which is cut off.
        rows = F.pad(base, (0, 0, 0, 1))
        rows[clips(self.index), self.index] = self.features
        return rows[:, :-1].contiguous()


@dataclass(frozen=True)
class Survivors:
    """What comes out: a reading of each depth where features are read, the deepest last.

    `whole`: nothing was left out or dropped, and all lie in raster order.
    """

    readings: Sequence[TapReading]
    whole: bool
    trace: FrameTrace

    @property
    def features(self) -> Tensor:
        """What comes out of the last block, (B, n, D)."""
        return self.readings[-1].features

    @property
    def index(self) -> Tensor:
        """Where that lies, (B, n)."""
        return self.readings[-1].index

    def onto(self, base: Tensor) -> Tensor:
        """Return a copy of `base` (B, N, T D) with the survivors of T depths in their places."""
        if self.whole:
            return VisionTransformer.side_by_side([read.features for read in self.readings])
        parts = base.chunk(len(self.readings), dim=-1)
        return VisionTransformer.side_by_side(
            [read.onto(part) for read, part in zip(self.readings, parts, strict=True)]
        )


@dataclass(frozen=True)
class ProgressiveDropping:
    """A backbone whose blocks drop tokens, in each of equal windows as many.

    `keep_rates` in (0, 1], one per block: of the tokens of a window that enter it. `fuse`: dropped
    tokens leave a fused one.
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
        start, windows = travelling.index.shape[1], travelling.windows
        stages = stages_of(start, self.keep_rates, drop=drop, fuse=self.fuse)
        selected: dict[str, Tensor] = {}
        readings = list[TapReading]()
        for number, (block, stage) in enumerate(zip(backbone.blocks, stages, strict=True)):
            see = None if watch is None else partial(watch, number)
            travelling = travelling.through(block, grid, stage.kept, fuse=self.fuse, watch=see)
            travelling = travelling.between(backbone, number, grid)
            if number + 1 in backbone.arch.taps:
                readings.append(travelling.read(backbone))
            if stage.drops:
                kept = travelling.index[:, : stage.kept]
                selected[f"blocks.{number}.kept"] = _of_images(kept, windows)
        selected["survivors"] = travelling.placed
        selected = {name: _sorted(index, grid, self.fuse) for name, index in selected.items()}
        whole = is_whole(stages, grid.area // windows)
        trace = FrameTrace(
            mean_tokens(stages) * windows,
            whole,
            {"start": start * windows},
            selected,
            lasting([stage.drops for stage in stages]),
            f"kept through many of {len(stages)} blocks",
        )
        return Survivors(readings, whole and windows == 1, trace)


def _of_images(index: Tensor, windows: int) -> Tensor:
    """Return the index (G, n) of groups as that of their images, (B, m)."""
    groups, length = index.shape
    return index.reshape(groups // windows, windows * length)


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
