"""EViT (ICLR 2022, arXiv 2202.07800): every frame by itself, its tokens ever fewer with depth.

How tokens are dropped, is told in `dropping`. For detection, after MaskVD's figure 7, features of
tokens that did not survive are zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import CLASS_TOKEN, RELATIVE_POSITIONS, TOKENS, WINDOWS
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Params,
    Selection,
    TokenMethod,
    TokenTrace,
)
from maskvd_cli.methods.dropping import (
    BlockTokens,
    ProgressiveDropping,
    is_whole,
    mean_tokens,
    stages_of,
)
from maskvd_cli.methods.params import Varied


class DroppingParams(Params):
    """Where tokens are dropped, and how many go on."""

    keep_rate: Annotated[float, Varied.steps(0.3, 0.95, 0.05)] = Field(
        default=0.7, gt=0, le=1, description="share of a block's tokens that go on where it drops"
    )
    # A recipe has lists where a tuple keeps the parameters unchangeable.
    drop_blocks: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(3, 6, 9), strict=False, min_length=1, description="blocks that drop, from 0"
    )

    @field_validator("drop_blocks")
    @classmethod
    def _once_and_in_order(cls, blocks: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(blocks)) < len(blocks):
            raise ValueError("a block stands there twice")
        return tuple(sorted(blocks))

    def keep_rates(self, arch: ViTArch) -> tuple[float, ...]:
        """Return the keep rate of every block."""
        return tuple(
            self.keep_rate if block in self.drop_blocks else 1.0 for block in range(arch.depth)
        )


D = TypeVar("D", bound=DroppingParams)


# Dropping leaves no whole windows.
DROPS_IN = frozenset((TOKENS, RELATIVE_POSITIONS, CLASS_TOKEN))
WHY_NO_WINDOWS = {WINDOWS: "drops tokens, and the windows of {model} need all of them"}


def fitting(params: D, arch: ViTArch) -> D:
    """Return the parameters. Raises UsageError for blocks that the backbone has not."""
    if params.drop_blocks[-1] >= arch.depth:
        raise UsageError(
            f"drop_blocks {list(params.drop_blocks)}: {arch.name} has blocks 0..{arch.depth - 1}",
            remedy="leave the others out",
        )
    return params


class EViTParams(DroppingParams):
    """The paper's keep rate and blocks, and what becomes of dropped tokens."""

    fuse: bool = Field(
        default=False, description="fuse dropped tokens into one, weighted by their scores"
    )


class EViT(TokenMethod[EViTParams]):
    """All tokens enter the first block; survivors are written onto zeros.

    MACs: `dropping_macs`.
    """

    name = "evit"
    description = "drops the tokens that the class token attends to least, block by block"
    paper = "EViT (ICLR 2022, arXiv 2202.07800)"
    params_type = EViTParams
    naming = ("keep_rate",)
    batched = True
    knows = DROPS_IN
    refuses = WHY_NO_WINDOWS
    # MaskVD's Figure 7 shows dropping beside its mask.
    figure: ClassVar = {
        "name": "evit", "across": "keep_rate", "below": ["latency_mean_ms"], "beside": ["maskvd"],
    }  # fmt: skip
    colour, mark = "#009e73", "^"

    def forget(self) -> None:
        """Do nothing: no state is kept."""

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        rates = self.params.keep_rates(self.backbone.arch)
        dropping = ProgressiveDropping(self.backbone, rates, self.params.fuse)
        survivors = dropping.run(tokens, frame.grid)
        zeros = survivors.features.new_zeros(tokens.shape)
        return survivors.onto(zeros), survivors.trace

    def state(self) -> Iterable[Tensor]:
        return ()

    @classmethod
    def resolve(cls, params: EViTParams, arch: ViTArch) -> EViTParams:
        return fitting(params, arch)

    @classmethod
    def constant_on_repeats(cls, params: EViTParams) -> bool:
        return True

    @classmethod
    def plan(cls, params: EViTParams, arch: ViTArch, view: ClipView) -> TokenTrace:
        start = np.full(view.frames, view.tokens, dtype=np.int64)
        untouched = np.zeros(view.frames, dtype=np.bool_)
        return dropping_trace(start, untouched, params.keep_rates(arch), view.grid, params.fuse)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: EViTParams, trace: TokenTrace) -> Macs:
        return dropping_macs(arch, grid, trace, params.keep_rates(arch), params.fuse)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: EViTParams) -> int:
        return 0


def dropping_trace(
    start: NDArray[np.int64],
    untouched: NDArray[np.bool_],
    keep_rates: Sequence[float],
    grid: Size,
    fuse: bool = False,
) -> TokenTrace:
    """Return the trace of frames whose first block is entered by `start` (frames,) tokens.

    `untouched` (frames,): frames in which no block drops.
    """
    stages = [
        stages_of(int(tokens), keep_rates, drop=not spared, fuse=fuse)
        for tokens, spared in zip(start, untouched, strict=True)
    ]
    return TokenTrace(
        np.array([mean_tokens(frame) for frame in stages], dtype=np.float64),
        np.array([is_whole(frame, grid) for frame in stages], dtype=np.bool_),
        {"start": start},
    )


def dropping_macs(
    arch: ViTArch, grid: Size, trace: TokenTrace, keep_rates: Sequence[float], fuse: bool = False
) -> Macs:
    """Return the MACs of dropping, one per frame; no block drops in full frames.

    A block that a tokens enter and b leave, class token included. Matrix products of the authors'
    code: 4aD^2 + 2a^2 D + 8bD^2. Executed in a block that drops without fusion: queries and their
    attention for b tokens only (without class token: for all, as they vote), projection for b. The
    published counter (torchprofile's) adds patch embedding, LayerNorms and attention scaling as
    `costs.plain_vit` does; it leaves out the choice itself. A frame without tokens executes
    nothing.
    """
    frames = list(zip(trace.counts["start"].tolist(), trace.full.tolist(), strict=True))
    cost_of = {
        (start, full): _frame_macs(
            arch, grid, stages_of(start, keep_rates, drop=not full, fuse=fuse), fuse
        )
        for start, full in set(frames)
    }
    return Macs(
        np.array([cost_of[frame].matrix for frame in frames], dtype=np.int64),
        np.array([cost_of[frame].published for frame in frames], dtype=np.int64),
    )


def _frame_macs(arch: ViTArch, grid: Size, stages: Sequence[BlockTokens], fuse: bool) -> Macs:
    lead, square = int(arch.class_token), arch.dim**2
    matrix = published = 0
    for stage in stages:
        entering, leaving = stage.entering + lead, stage.leaving + lead
        fewer = stage.drops and not fuse
        asking = leaving if fewer and lead else entering
        projected = leaving if fewer else entering
        attention = costs.global_attention(arch, grid, asking, entering)
        mlp = 2 * arch.mlp_ratio * leaving * square
        matrix += (asking + 2 * entering + projected) * square + int(attention.matrix) + mlp
        attention = costs.global_attention(arch, grid, entering, entering)
        scaling, norms = arch.heads * entering**2, (entering + leaving) * arch.dim
        published += 4 * entering * square + int(attention.matrix) + mlp + scaling + norms
    published += int(arch.final_norm) * (stages[-1].leaving + lead) * arch.dim
    published += grid.area * 3 * arch.patch**2 * arch.dim
    return Macs(matrix if stages[0].entering else 0, published)
