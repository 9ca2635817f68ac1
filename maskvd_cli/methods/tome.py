"""ToMe (ICLR 2023, arXiv 2210.09461): in every block, the r most alike pairs of tokens become one.

How tokens merge, is told in `merging`. For detection every token gets back the features of the one
that it went to, at each depth where features are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import (
    DETECTION_TOKENS,
    EQUAL_WINDOWS,
    PADDED_WINDOWS,
    PLAIN_VIT,
    WINDOWS,
)
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import FrameTrace, Params, scatter
from maskvd_cli.methods.groups import Groups
from maskvd_cli.methods.matching import rows_at, sides
from maskvd_cli.methods.merging import Merging, Share, shares_of
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.reducing import (
    NO_EQUAL_WINDOWS,
    REDUCING,
    STEPS,
    Foretold,
    How,
    ReducingMethod,
    block_extras,
    frame_extras,
)
from maskvd_cli.methods.selecting import Watch
from maskvd_cli.methods.trace import SortedWhenAsked, lasting

# What the tokens of one block do: how they are shared out as they enter, and as they leave.
Stage = tuple[Sequence[Share], Sequence[Share]]


class ToMeParams(Params):
    """How many tokens merge in which block, and how merged tokens are attended to."""

    r: Annotated[int, Varied((1, 2, 4, 8, 16, 32))] = Field(
        default=8,
        ge=0,
        le=1_000_000,
        description="tokens that merge in a block, at most half of those there; on windowed "
        "backbones in each window of every block",
    )
    inflection: Annotated[float, Varied((-1.0, 0.0, 1.0))] = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="0: r in every block; -1: from 2r in the first block to none in the last; 1: "
        "from none to 2r; between in proportion",
    )
    proportional: bool = Field(
        default=True, description="attend to a merged token as to all that it stands for"
    )

    def schedule(self, depth: int) -> list[int]:
        """Return r of every block i: int(a + (b - a) i / (L - 1)), a = int(r (1 - inflection)).

        b = 2r - a; as in the published code.
        """
        first = int(self.r * (1 - self.inflection))
        step = (2 * self.r - 2 * first) / max(depth - 1, 1)
        return [int(first + step * block) for block in range(depth)]


@dataclass(frozen=True)
class Merged:
    """What comes out: a reading of each depth where features are read, the deepest last.

    Of each, features (B, n, D) after the final norm; those at the owner (B, m) beside them are of
    the tokens that entered at flat grid index `entered` (m,).
    """

    readings: Sequence[tuple[Tensor, Tensor]]
    entered: Tensor
    trace: FrameTrace

    @property
    def features(self) -> Tensor:
        """What comes out of the last block, (B, n, D)."""
        return self.readings[-1][0]

    def onto(self, base: Tensor) -> Tensor:
        """Return a copy of `base` (B, N, T D) where each token has what it went to."""
        parts = [rows_at(features, owner) for features, owner in self.readings]
        return scatter(base, self.entered, VisionTransformer.side_by_side(parts))


class ToMe(ReducingMethod[ToMeParams]):
    """All tokens enter, and all get features; MACs: `_frame_macs`."""

    name = "tome"
    description = "merges the tokens that are most alike, some in every block"
    paper = "ToMe (ICLR 2023, arXiv 2210.09461)"
    params_type = ToMeParams
    naming = ("r",)
    knows = PLAIN_VIT | STEPS | EQUAL_WINDOWS | DETECTION_TOKENS
    columns: ClassVar = {"r": "r", "inflection": "inflection"}
    figure: ClassVar = {"name": "reduction", "across": "gmacs", "beside": ["evit"]}
    colour, mark = "#882255", "P"
    refuses_chosen: ClassVar = NO_EQUAL_WINDOWS | {
        word: "merges equally many tokens in every window, and those of {model} would hold "
        "different numbers of chosen ones"
        for word in (WINDOWS, PADDED_WINDOWS)
    }

    def reduced(
        self,
        tokens: Tensor,
        grid: Size,
        chosen: Tensor | None = None,
        *,
        reduce: bool = True,
        watch: Watch | None = None,
    ) -> Merged:
        assert watch is None, "attention of merged tokens is that of none of them"
        backbone, depth = self.backbone, self.backbone.arch.depth
        counts = self.params.schedule(depth) if reduce else [0] * depth
        moving = Merging.begin(backbone, tokens, grid, chosen)
        start, lost, left = len(moving.entered), list[bool](), list[int]()
        kept, readings = dict[str, Tensor](), list[tuple[Tensor, Tensor]]()
        for number, (block, count) in enumerate(zip(backbone.blocks, counts, strict=True)):
            before = moving.tokens.shape[1]
            moving = moving.through(block, grid, count, proportional=self.params.proportional)
            moving = moving.between(backbone, number, grid)
            if number + 1 in backbone.arch.taps:
                readings.append(moving.read(backbone))
            left.append(moving.left.shape[1])
            lost.append(moving.tokens.shape[1] < before)
            if lost[-1]:
                kept[f"blocks.{number}.kept"] = moving.left
        kept["survivors"] = moving.left
        trace = FrameTrace(
            sum(left) / depth,
            start == grid.area and not any(lost),
            {"start": start},
            SortedWhenAsked(kept),
            lasting(lost),
            f"not merged into another through many of {depth} blocks",
            layers=tuple(left),
        )
        return Merged(readings, moving.entered, trace)

    @classmethod
    def eased(cls, params: ToMeParams, share: float) -> ToMeParams:
        return params.model_copy(update={"r": round(params.r * (1 - share))})

    @classmethod
    def foretold(
        cls, params: ToMeParams, arch: ViTArch, grid: Size, start: int, how: How = REDUCING
    ) -> Foretold:
        stages = _stages(params, arch, grid, start, reduce=how.reduce)
        groups = Groups.on(arch, grid)
        left = [sum(share.total for share in leaving) - groups.of(0) for _, leaving in stages]
        full = start == grid.area and all(entering == leaving for entering, leaving in stages)
        return Foretold(sum(left) / arch.depth, full, _frame_macs(arch, grid, stages, start))


def _stages(
    params: ToMeParams, arch: ViTArch, grid: Size, start: int, *, reduce: bool
) -> list[Stage]:
    stages: list[Stage] = []
    shares, always = shares_of(arch, grid, start), Groups.on(arch, grid).always
    for count in params.schedule(arch.depth):
        left = tuple(share.after(count if reduce else 0, always) for share in shares)
        stages.append((shares, left))
        shares = left
    return stages


def _frame_macs(arch: ViTArch, grid: Size, stages: Sequence[Stage], start: int) -> Macs:
    """Return the MACs of one frame.

    A block that a tokens enter and b leave, those without a place included: 4aD^2 + 2rbD^2;
    attention of a queries to a keys, in windows to those of their own and the padding; where tokens
    merge, the product of the even with the odd ones, over the D / H channels of the metric. The
    published counter adds `block_extras` and `frame_extras`. Nothing is executed for no token.
    """
    matrix = published = 0
    for number, (entering, leaving) in enumerate(stages):
        a, b = (sum(share.total for share in shares) for shares in (entering, leaving))
        windowed = number not in arch.global_blocks
        logits, attended = _attention(arch, grid, entering, windowed=windowed)
        layers = (4 * a + 2 * arch.mlp_ratio * b) * arch.dim**2
        products = layers + attended + _matching(arch, grid, entering, leaving)
        padded = windowed and any(share.padding for share in entering)
        matrix += products
        published += products + block_extras(arch, a, b, logits, padded=padded)
    published += frame_extras(arch, grid, sum(share.total for share in stages[-1][1]))
    return Macs(matrix if start else 0, published)


def _matching(
    arch: ViTArch, grid: Size, entering: Sequence[Share], leaving: Sequence[Share]
) -> int:
    """Return the products of even and odd tokens' metrics in windows that merge some."""
    pairs, always = 0, Groups.on(arch, grid).always
    for share, left in zip(entering, leaving, strict=True):
        if share != left:
            even, odd = sides(share.tokens, always)
            pairs += share.windows * len(even) * len(odd)
    return pairs * arch.head_dim


def _attention(
    arch: ViTArch, grid: Size, entering: Sequence[Share], *, windowed: bool
) -> tuple[int, int]:
    """Return how many logits a head of a block has, and the products of its attention."""
    if not windowed:
        tokens = sum(share.total for share in entering)
        return tokens**2, int(costs.global_attention(arch, grid, tokens, tokens).matrix)
    logits = products = 0
    for share in entering:
        keys = share.tokens + share.padding
        window = arch.window_on(grid)
        in_one = costs.global_attention(arch, window, share.tokens, keys).matrix
        logits += share.windows * share.tokens * keys
        products += share.windows * int(in_one)
    return logits, products
