"""EViT (ICLR 2022, arXiv 2202.07800): every frame by itself, its tokens ever fewer with depth.

How tokens are dropped, is told in `dropping`. For detection, after MaskVD's figure 7, features of
tokens that did not survive are zero; where features are read at several depths, at each of them
those of tokens that were gone by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import DETECTION_TOKENS, EQUAL_WINDOWS
from maskvd_cli.methods.base import Params
from maskvd_cli.methods.block_list import Blocks, check_blocks
from maskvd_cli.methods.dropping import (
    WHY_NO_WINDOWS,
    BlockTokens,
    ProgressiveDropping,
    Survivors,
    is_whole,
    mean_tokens,
    stages_of,
)
from maskvd_cli.methods.groups import Groups, check_groups, has_class_token
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.reducing import (
    NO_EQUAL_WINDOWS,
    REDUCING,
    SEQUENCES,
    STEPS,
    Foretold,
    How,
    ReducingMethod,
    block_extras,
    frame_extras,
)
from maskvd_cli.methods.selecting import Watch


class DroppingParams(Params):
    """Where tokens are dropped, and how many go on."""

    keep_rate: Annotated[float, Varied.steps(0.3, 0.95, 0.05)] = Field(
        default=0.7, gt=0, le=1, description="share of a block's tokens that go on where it drops"
    )
    drop_blocks: Blocks = Field(
        default=(3, 6, 9), strict=False, min_length=1, description="blocks that drop, from 0"
    )

    def keep_rates(self, arch: ViTArch) -> tuple[float, ...]:
        """Return the keep rate of every block."""
        return tuple(
            self.keep_rate if block in self.drop_blocks else 1.0 for block in range(arch.depth)
        )


class EViTParams(DroppingParams):
    """The paper's keep rate and blocks, and what becomes of dropped tokens."""

    fuse: bool = Field(
        default=False, description="fuse dropped tokens into one, weighted by their scores"
    )


class EViT(ReducingMethod[EViTParams]):
    """All tokens enter the first block; survivors are written onto zeros. MACs: `_frame_macs`."""

    name = "evit"
    description = "drops the tokens that the class token attends to least, block by block"
    paper = "EViT (ICLR 2022, arXiv 2202.07800)"
    params_type = EViTParams
    naming = ("keep_rate",)
    knows = SEQUENCES | STEPS | EQUAL_WINDOWS | DETECTION_TOKENS
    refuses = WHY_NO_WINDOWS
    refuses_chosen: ClassVar = NO_EQUAL_WINDOWS | WHY_NO_WINDOWS
    watchable = True
    # MaskVD's Figure 7 shows dropping beside its mask.
    figure: ClassVar = {
        "name": "evit", "across": "keep_rate", "below": ["latency_mean_ms"], "beside": ["maskvd"],
    }  # fmt: skip
    colour, mark = "#009e73", "^"

    def reduced(
        self,
        tokens: Tensor,
        grid: Size,
        chosen: Tensor | None = None,
        *,
        reduce: bool = True,
        watch: Watch | None = None,
    ) -> Survivors:
        rates = self.params.keep_rates(self.backbone.arch)
        dropping = ProgressiveDropping(self.backbone, rates, self.params.fuse)
        return dropping.run(tokens, grid, chosen, drop=reduce, watch=watch)

    @classmethod
    def resolve(cls, params: EViTParams, arch: ViTArch) -> EViTParams:
        check_blocks("drop_blocks", params.drop_blocks, arch)
        check_groups(arch)
        return params

    @classmethod
    def eased(cls, params: EViTParams, share: float) -> EViTParams:
        rate = params.keep_rate + (1 - params.keep_rate) * share
        return params.model_copy(update={"keep_rate": rate})

    @classmethod
    def foretold(
        cls, params: EViTParams, arch: ViTArch, grid: Size, start: int, how: How = REDUCING
    ) -> Foretold:
        count, rates = Groups.on(arch, grid).count, params.keep_rates(arch)
        stages = stages_of(start // count, rates, drop=how.reduce, fuse=params.fuse)
        macs = _frame_macs(arch, grid, stages, params.fuse, how.watched)
        whole = is_whole(stages, grid.area // count)
        return Foretold(mean_tokens(stages) * count, whole, macs)


def _frame_macs(
    arch: ViTArch, grid: Size, stages: Sequence[BlockTokens], fuse: bool, watched: bool
) -> Macs:
    """Return the MACs of one frame; `stages` are those of a group.

    A block that a tokens enter and b leave, those without a place included. Matrix products of the
    authors' code: 4aD^2 + 2a^2 D + 8bD^2. Executed in a block that drops without fusion: queries
    and their attention for b tokens only (without class token: for all, as they vote), projection
    for b. Where somebody watches, all queries and weights, a^2 D, and abD for the outputs that are
    needed. In windows, attention is that of each. The published counter adds `block_extras` and
    `frame_extras`; it leaves out the choice itself. A frame without tokens executes nothing.
    """
    groups, square = Groups.on(arch, grid), arch.dim**2
    matrix = published = 0
    for number, stage in enumerate(stages):
        entering, leaving = groups.of(stage.entering), groups.of(stage.leaving)
        fewer = stage.drops and not fuse
        asking = leaving if fewer and has_class_token(arch) and not watched else entering
        projected = leaving if fewer else entering
        each = entering // groups.count
        attention = groups.attention(arch, grid, number, asking // groups.count, each)[1]
        if watched:
            attention -= (entering - projected) * entering * arch.dim
        mlp = 2 * arch.mlp_ratio * leaving * square
        matrix += (asking + 2 * entering + projected) * square + attention + mlp
        logits, everything = groups.attention(arch, grid, number, each, each)
        published += 4 * entering * square + everything + mlp
        published += block_extras(arch, entering, leaving, logits)
    published += frame_extras(arch, grid, groups.of(stages[-1].leaving))
    return Macs(matrix if stages[0].entering else 0, published)
