"""ATS (ECCV 2022, arXiv 2111.15667): blocks keep the tokens whose values get the most attention.

In the form with a fixed number that Eventful Transformers use for video. A block that keeps a
fraction f of the n tokens that enter, class token apart, computes the attention A of all of them;

    score_j = sum over heads of A[j, class] |v_j| / sum over i of A[i, class] |v_i|

The int(f n) best keep their rows of A, the others are gone: from the attention output, from the
residual, and from all blocks that follow. The class token always stays. The method's own paper
takes the row A[class, j] in place of the column. The published code adds up over the clips of a
batch where heads are meant, which goes unnoticed only where they are as many.

On backbones without a class token the row is the mean over the rows of all tokens, and at least one
token stays. For detection, features of tokens that are gone are zero. With equal windows each of
them keeps equally many of its own (`groups`), for its class token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import DETECTION_TOKENS, EQUAL_WINDOWS
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.attention_scores import class_attention, take, weights_in_place
from maskvd_cli.methods.base import FrameTrace, Params
from maskvd_cli.methods.block_list import Blocks, check_blocks
from maskvd_cli.methods.dropping import (
    WHY_NO_WINDOWS,
    BlockTokens,
    See,
    Survivors,
    TapReading,
    Travelling,
    is_whole,
    mean_tokens,
)
from maskvd_cli.methods.eventful import Sampler
from maskvd_cli.methods.groups import (
    Groups,
    check_groups,
    has_class_token,
    in_joined,
    joined,
    of_own_group,
    parted,
    parted_heads,
)
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
    knows = SEQUENCES | STEPS | EQUAL_WINDOWS | DETECTION_TOKENS
    refuses = WHY_NO_WINDOWS
    refuses_chosen: ClassVar = NO_EQUAL_WINDOWS | WHY_NO_WINDOWS
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
        start, windows = moving.index.shape[1], moving.windows
        stages = stages_of(self.params, backbone.arch, start, reduce=reduce)
        kept: dict[str, Tensor] = {}
        readings = list[TapReading]()
        for number, (block, stage) in enumerate(zip(backbone.blocks, stages, strict=True)):
            see = None if watch is None else partial(watch, number)
            if stage.drops:
                before = None if chosen is not None else self.slots.get(number)
                moving, slots = self.sampled(moving, block, grid, stage.kept, before, watch=see)
                kept[f"blocks.{number}.kept"] = moving.placed
                if chosen is None:
                    self.slots[number] = slots
            else:
                moving = moving.through(block, grid, stage.kept, watch=see)
            moving = moving.between(backbone, number, grid)
            if number + 1 in backbone.arch.taps:
                readings.append(moving.read(backbone))
        kept["survivors"] = moving.placed
        whole = is_whole(stages, grid.area // windows)
        trace = FrameTrace(
            mean_tokens(stages) * windows,
            whole,
            {"start": start * windows},
            SortedWhenAsked(kept),
            lasting([stage.drops for stage in stages]),
            f"kept through many of {depth} blocks",
            layers=tuple(stage.leaving * windows for stage in stages),
        )
        return Survivors(readings, whole and windows == 1, trace)

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
        """Run one block that keeps `kept` tokens a group; also return which, slot by slot.

        Both lists, this and that of the frame before, (G, kept), count in the group that entered,
        tokens in front of it apart.
        """
        always, together = moving.always, moving.together(block)
        normed = block.norm1(moving.tokens)
        if always and self.params.score == "row" and watch is None:
            paid, value, attend = class_attention(block, normed, always, together)
            slots = best(self.scores(paid[..., always:], value[:, :, always:]), kept, before)
            attended = attend(slots)
        else:
            qkv = joined(block.qkv(normed), together)
            value = block.split(qkv)[2]
            weights = weights_in_place(block, qkv, moving.index, grid)
            if watch is not None:
                watch(weights, moving.index[0])
            share = self._share(weights, together)[..., always:]
            of_groups = parted_heads(value, together)[:, :, always:]
            slots = best(self.scores(share, of_groups), kept, before)
            rows = in_joined(slots, always, normed.shape[1], together)
            asking = take(weights.transpose(1, 2), rows).transpose(1, 2)
            attended = parted(block.merge(asking.to(value.dtype) @ value), together)
        tokens = take(moving.tokens, slots, always) + block.projection(attended)
        tokens = tokens + block.mlp(block.norm2(tokens))
        return replace(moving, tokens=tokens, index=take(moving.index, slots)), slots

    def _share(self, weights: Tensor, together: int) -> Tensor:
        """Return the attention (G, H, n) that scores read, of all weights of joined groups."""
        if not has_class_token(self.backbone.arch):
            return parted_heads(weights.mean(2), together)
        size = weights.shape[-1] // together
        if self.params.score == "column":
            return of_own_group(weights[..., ::size].mT, together)
        return of_own_group(weights[:, :, ::size], together)

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
        check_groups(arch)
        if params.score == "column" and not has_class_token(arch):
            raise UsageError(
                f"score column is the attention to a class token, and {arch.name} has none",
                remedy="choose score row, or leave it out",
            )
        known = params.score or ("column" if has_class_token(arch) else "row")
        return params.model_copy(update={"score": known})

    @classmethod
    def eased(cls, params: ATSParams, share: float) -> ATSParams:
        fraction = params.fraction + (1 - params.fraction) * share
        return params.model_copy(update={"fraction": fraction})

    @classmethod
    def foretold(
        cls, params: ATSParams, arch: ViTArch, grid: Size, start: int, how: How = REDUCING
    ) -> Foretold:
        count = Groups.on(arch, grid).count
        stages = stages_of(params, arch, start // count, reduce=how.reduce)
        by_class = params.score == "row" and has_class_token(arch) and not how.watched
        macs = _frame_macs(arch, grid, stages, by_class=by_class)
        whole = is_whole(stages, grid.area // count)
        return Foretold(mean_tokens(stages) * count, whole, macs)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: ATSParams) -> int:
        count = Groups.on(arch, grid).count
        stages = stages_of(params, arch, grid.area // count)
        return count * sum(stage.kept for stage in stages if stage.drops) * _INDEX_BYTES


def stages_of(
    params: ATSParams, arch: ViTArch, start: int, *, reduce: bool = True
) -> list[BlockTokens]:
    """Return what happens to `start` tokens, of a group, in each block."""
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
    """Return the MACs of one frame; `stages` are those of a group.

    A block that a tokens enter and b leave, those without a place included, where it drops: QKV
    3aD^2, attention a^2 D for all weights and abD for the rows that stay, projection and MLP on b.
    Where the class token's row decides, queries for b tokens alone: (b + 2a)D^2 and 2abD. Else as
    dense. In windows, attention is that of each. The published counter adds `block_extras` and
    `frame_extras`, for the authors' code, which computes all weights.
    """
    groups, square = Groups.on(arch, grid), arch.dim**2
    matrix = published = 0
    for number, stage in enumerate(stages):
        a, b = groups.of(stage.entering), groups.of(stage.leaving)
        each, leaving = a // groups.count, b // groups.count
        logits, every = groups.attention(arch, grid, number, each, each)
        kept, rows = groups.attention(arch, grid, number, leaving, each)
        spared = (logits - kept) * arch.dim
        after = (1 + 2 * arch.mlp_ratio) * b * square
        weights_and_rows = 3 * a * square + every - spared + after
        asked = (b + 2 * a) * square + rows + after
        matrix += asked if stage.drops and by_class else weights_and_rows
        published += weights_and_rows + block_extras(arch, a, b, logits)
    published += frame_extras(arch, grid, groups.of(stages[-1].leaving))
    return Macs(matrix if stages[0].entering else 0, published)
