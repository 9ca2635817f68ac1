"""ATS (ECCV 2022, arXiv 2111.15667): blocks keep the tokens whose values get the most attention.

In the form with a fixed number that Eventful Transformers use for video. A block that keeps a
fraction f of the n tokens that enter, class token apart, computes the attention A of all of them;

    score_j = sum over heads of A[j, class] |v_j| / sum over i of A[i, class] |v_i|

The int(f n) best keep their rows of A, the others are gone: from the attention output, from the
residual, and from all blocks that follow. The class token always stays. The method's own paper
takes the row A[class, j] in place of the column. The published code adds up over the clips of a
batch where heads are meant, which goes unnoticed only where they are as many.

On backbones without a class token the row is the mean over the rows of all tokens, and at least one
token stays. For detection, features of tokens that are gone are zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.attention_scores import class_attention, take, weights_in_place
from maskvd_cli.methods.base import FrameTrace, Params
from maskvd_cli.methods.block_list import Blocks, check_blocks
from maskvd_cli.methods.dropping import (
    WHY_NO_WINDOWS,
    BlockTokens,
    See,
    Survivors,
    Travelling,
    is_whole,
    mean_tokens,
)
from maskvd_cli.methods.eventful import Sampler
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.reducing import (
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
from maskvd_cli.methods.slots import continued
from maskvd_cli.methods.trace import SortedWhenAsked, lasting

_INDEX_BYTES = 8


class ATSParams(Params):
    """Which blocks keep how many tokens, and by which score."""

    fraction: Annotated[float, Varied.steps(0.5, 0.95, 0.05)] = Field(
        default=0.9, gt=0, le=1, description="share of a block's tokens that it keeps, rounded down"
    )
    blocks: Blocks | None = Field(
        default=None, strict=False, description="blocks that do, from 0; null: all"
    )
    score: Literal["column", "row"] | None = Field(
        default=None,
        description="column: the attention that a token pays to the class token (published code); "
        "row: that it gets from it, or without class token from all; null: column where there is "
        "a class token, else row",
    )

    def kept_of(self, tokens: int, block: int, lead: int) -> int:
        """Return how many of `tokens` a block keeps, class token apart."""
        if self.blocks is not None and block not in self.blocks:
            return tokens
        return max(int(self.fraction * tokens), min(tokens, 1 - lead))


class ATS(ReducingMethod[ATSParams]):
    """All tokens enter the first block; kept ones stay in their slots from frame to frame.

    MACs: `_frame_macs`; state: the lists of slots, which decide no output.
    """

    name = "ats"
    description = "keeps the tokens whose values get the most attention, block by block"
    paper = "ATS (ECCV 2022, arXiv 2111.15667), as in Eventful Transformers (arXiv 2308.13494)"
    params_type = ATSParams
    naming = ("fraction",)
    knows = SEQUENCES | STEPS
    refuses = WHY_NO_WINDOWS
    refuses_chosen = WHY_NO_WINDOWS
    watchable = True
    columns: ClassVar = {"fraction": "fraction", "score": "score"}
    figure: ClassVar = {"name": "reduction", "across": "gmacs", "beside": ["evit"]}
    colour, mark = "#44aa99", "p"
    # What the published code does, and no recipe can ask for: of as many clips as heads, the scores
    # of head i, added up over the clips, choose for clip i. For its golden case.
    clips_for_heads = False

    def __init__(self, params: ATSParams, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.slots: dict[int, Tensor] = {}

    def forget(self) -> None:
        super().forget()
        self.slots = {}

    def state(self) -> Iterable[Tensor]:
        yield from super().state()
        yield from self.slots.values()

    def reduced(
        self,
        tokens: Tensor,
        grid: Size,
        chosen: Tensor | None = None,
        *,
        reduce: bool = True,
        watch: Watch | None = None,
    ) -> Survivors:
        backbone, depth = self.backbone, self.backbone.arch.depth
        moving = Travelling.begin(backbone, tokens, grid, chosen)
        start = moving.index.shape[1]
        stages = stages_of(self.params, backbone.arch, start, reduce=reduce)
        kept: dict[str, Tensor] = {}
        for number, (block, stage) in enumerate(zip(backbone.blocks, stages, strict=True)):
            see = None if watch is None else partial(watch, number)
            if not stage.drops:
                moving = moving.through(block, grid, stage.kept, watch=see)
                continue
            before = None if chosen is not None else self.slots.get(number)
            moving, slots = self.sampled(moving, block, grid, stage.kept, before, watch=see)
            kept[f"blocks.{number}.kept"] = moving.index
            if chosen is None:
                self.slots[number] = slots
        kept["survivors"] = moving.index
        whole = is_whole(stages, grid)
        trace = FrameTrace(
            mean_tokens(stages),
            whole,
            {"start": start},
            SortedWhenAsked(kept),
            lasting([stage.drops for stage in stages]),
            f"kept through many of {depth} blocks",
            layers=tuple(stage.leaving for stage in stages),
        )
        return Survivors(backbone.finish(moving.tokens), moving.index, whole, trace)

    def sampled(  # noqa: PLR0913 - a sequence, its block, and what stays
        self,
        moving: Travelling,
        block: Block,
        grid: Size,
        kept: int,
        before: Tensor | None,
        *,
        watch: See | None = None,
    ) -> tuple[Travelling, Tensor]:
        """Run one block that keeps `kept` tokens; also return which they were, slot by slot.

        Both lists, this and that of the frame before, (B, kept), count in the sequence that
        entered, class token apart.
        """
        lead = moving.tokens.shape[1] - moving.index.shape[1]
        normed = block.norm1(moving.tokens)
        if lead and self.params.score == "row" and watch is None:
            paid, value, attend = class_attention(block, normed)
            slots = best(self.scores(paid, value[:, :, lead:]), kept, before)
            attended = attend(slots)
        else:
            qkv = block.qkv(normed)
            value = block.split(qkv)[2]
            weights = weights_in_place(block, qkv, moving.index, grid)
            if watch is not None:
                watch(weights, moving.index[0])
            share = self._share(weights, lead)
            slots = best(self.scores(share, value[:, :, lead:]), kept, before)
            rows = take(weights.transpose(1, 2), slots, lead).transpose(1, 2)
            attended = block.merge(rows.to(value.dtype) @ value)
        tokens = take(moving.tokens, slots, lead) + block.projection(attended)
        tokens = tokens + block.mlp(block.norm2(tokens))
        return Travelling(tokens, take(moving.index, slots)), slots

    def _share(self, weights: Tensor, lead: int) -> Tensor:
        """Return the attention (B, H, n) that scores read, of all weights."""
        if not lead:
            return weights.mean(2)
        return weights[..., lead:, 0] if self.params.score == "column" else weights[:, :, 0, lead:]

    def scores(self, attention: Tensor, value: Tensor) -> Tensor:
        """Return the scores (B, n) of tokens with `attention` (B, H, n) and values (B, H, n, c)."""
        wide = torch.promote_types(attention.dtype, torch.float32)
        weighted = attention.to(wide) * torch.linalg.vector_norm(value, dim=-1, dtype=wide)
        shares = weighted / weighted.sum(-1, keepdim=True)
        return shares.sum(0) if self.clips_for_heads else shares.sum(1)

    def sampler(self) -> Sampler:
        """Return what chooses for the gates of `eventful`: as alone, class token always first."""

        def choose(number: int, to_class: Tensor, value: Tensor) -> Tensor | None:
            lead = self.backbone.arch.lead
            entering = to_class.shape[-1] - lead
            kept = self.params.kept_of(entering, number, lead)
            if kept == entering:
                return None
            scores = self.scores(to_class[..., lead:], value[:, :, lead:])
            self.slots[number] = best(scores, kept, self.slots.get(number))
            return F.pad(self.slots[number] + lead, (lead, 0))

        return choose

    @classmethod
    def resolve(cls, params: ATSParams, arch: ViTArch) -> ATSParams:
        if params.blocks is not None:
            check_blocks("blocks", params.blocks, arch)
        if params.score == "column" and not arch.class_token:
            raise UsageError(
                f"score column is the attention to a class token, and {arch.name} has none",
                remedy="choose score row, or leave it out",
            )
        known = params.score or ("column" if arch.class_token else "row")
        return params.model_copy(update={"score": known})

    @classmethod
    def eased(cls, params: ATSParams, share: float) -> ATSParams:
        fraction = params.fraction + (1 - params.fraction) * share
        return params.model_copy(update={"fraction": fraction})

    @classmethod
    def foretold(
        cls, params: ATSParams, arch: ViTArch, grid: Size, start: int, how: How = REDUCING
    ) -> Foretold:
        stages = stages_of(params, arch, start, reduce=how.reduce)
        by_class = params.score == "row" and arch.class_token and not how.watched
        macs = _frame_macs(arch, grid, stages, by_class=by_class)
        return Foretold(mean_tokens(stages), is_whole(stages, grid), macs)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: ATSParams) -> int:
        stages = stages_of(params, arch, grid.area)
        return sum(stage.kept for stage in stages if stage.drops) * _INDEX_BYTES


def stages_of(
    params: ATSParams, arch: ViTArch, start: int, *, reduce: bool = True
) -> list[BlockTokens]:
    """Return what happens to `start` tokens in each block."""
    stages: list[BlockTokens] = []
    entering = start
    for block in range(arch.depth):
        kept = params.kept_of(entering, block, arch.lead) if reduce else entering
        stages.append(BlockTokens(entering, kept, kept))
        entering = kept
    return stages


def best(scores: Tensor, kept: int, before: Tensor | None = None) -> Tensor:
    """Return the `kept` places (B, kept) with the best scores (B, n), slot by slot.

    Equal scores: lower place first. `before`: the list of the frame before, else places ascend.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    return continued(before, order[:, :kept].sort(dim=1).values, scores.shape[1])


def _frame_macs(
    arch: ViTArch, grid: Size, stages: Sequence[BlockTokens], *, by_class: bool
) -> Macs:
    """Return the MACs of one frame.

    A block that a tokens enter and b leave, class token included, where it drops: QKV 3aD^2,
    attention a^2 D for all weights and abD for the rows that stay, projection and MLP on b. Where
    the class token's row decides, queries for b tokens alone: (b + 2a)D^2 and 2abD. Else as dense.
    The published counter adds `block_extras` and `frame_extras`, for the authors' code, which
    computes all weights.
    """
    square, matrix, published = arch.dim**2, 0, 0
    for stage in stages:
        a, b = stage.entering + arch.lead, stage.leaving + arch.lead
        relative = costs.global_attention(arch, grid, a, 0).matrix
        after = (1 + 2 * arch.mlp_ratio) * b * square
        weights_and_rows = 3 * a * square + (a + b) * a * arch.dim + int(relative) + after
        asked = (b + 2 * a) * square + 2 * a * b * arch.dim + after
        matrix += asked if stage.drops and by_class else weights_and_rows
        published += weights_and_rows + block_extras(arch, a, b, a**2)
    published += frame_extras(arch, grid, stages[-1].leaving + arch.lead)
    return Macs(matrix if stages[0].entering else 0, published)
