"""Methods whose frames run by themselves, with ever fewer tokens as they go deeper.

In a combination `A+B` (`composing`) they run the tokens that A chose: those alone enter the first
block, and what comes out of the last is written onto the features of the frame before.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import (
    CLASS_FEATURES,
    CLASS_TOKEN,
    MID_POSITIONS,
    PADDED_WINDOWS,
    RELATIVE_POSITIONS,
    TIME,
    TOKENS,
    TRAIL_TOKENS,
    WINDOWS,
)
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Params,
    Selection,
    TokenMethod,
    TokenTrace,
    token_bytes,
)
from maskvd_cli.methods.frame import premature
from maskvd_cli.methods.selecting import Watch
from maskvd_cli.methods.trace import MASK, Joined

# A sequence of any tokens has no whole windows.
SEQUENCES = frozenset((TOKENS, RELATIVE_POSITIONS, CLASS_TOKEN))
# Steps of a clip that each run by themselves, for what their class tokens say.
STEPS = frozenset((TIME, CLASS_FEATURES))
# Features are those of tokens without a place alone, and nothing is laid on a grid.
NOT_ON_GRID = frozenset((CLASS_FEATURES, TRAIL_TOKENS))
_ALONE = "runs chosen tokens alone, and the detection tokens of {model} would see no others"
# Why chosen tokens do not run where all of them do.
NO_EQUAL_WINDOWS: dict[str, str] = {
    WINDOWS: "needs equally many tokens in every window, and those of {model} would hold different "
    "numbers of chosen ones",
    TRAIL_TOKENS: _ALONE,
    MID_POSITIONS: _ALONE,
}


class Reduced(Protocol):
    """What comes out of the last block, and how it becomes features of a grid again."""

    @property
    def trace(self) -> FrameTrace:
        """`counts["start"]`: tokens that entered the first block; `tokens`: mean over blocks."""
        ...

    @property
    def features(self) -> Tensor:
        """What came out of the last block, (B, n, D), in an order of its own."""
        ...

    def onto(self, base: Tensor) -> Tensor:
        """Return a copy of `base` (B, N, T D), the features of T depths where nothing came out."""
        ...


@dataclass(frozen=True)
class Foretold:
    """What a number of tokens becomes: the mean over blocks of those that leave, and the cost.

    `full`: all tokens of the grid entered, and none was lost.
    """

    tokens: float
    full: bool
    macs: Macs


class How(NamedTuple):
    """Whether any token is lost on a frame, and whether somebody watches the attention."""

    reduce: bool = True
    watched: bool = False


REDUCING = How()
P = TypeVar("P", bound=Params)


def block_extras(arch: ViTArch, a: int, b: int, logits: int, *, padded: bool = False) -> int:
    """Return what the published counter adds to the products of a block.

    a tokens enter, class token included, b pass the MLP; `logits` of one head. Under torchprofile's
    rules LayerNorms (a + b)D and scaling H logits; else biases 4aD + (1 + r)bD, residuals (a + b)D,
    relative terms 2H logits, and the padding value 3D.
    """
    if arch.torchprofiled:
        return (a + b) * arch.dim + arch.heads * logits
    relative = 2 * arch.heads * logits if arch.relative_table else 0
    return (5 * a + (2 + arch.mlp_ratio) * b + 3 * padded) * arch.dim + relative


def frame_extras(arch: ViTArch, grid: Size, last: int) -> int:
    """Return what it adds beside the blocks, the `last` of which is left by so many tokens.

    Under torchprofile's rules the patch embedding of all N, N 3p^2 D, and the final norm; else the
    positions.
    """
    if not arch.torchprofiled:
        return int(costs.position_add(arch, grid).published)
    return grid.area * 3 * arch.patch**2 * arch.dim + int(arch.final_norm) * last * arch.dim


class ReducingMethod(TokenMethod[P]):
    """All tokens enter the first block; features where nothing came out are zero.

    Where features are those of class or detection tokens alone, nothing is laid on a grid.
    What happens in the blocks depends on the number of tokens that enter alone, so a clip can be
    planned. Full frames reduce nothing. In combinations: `knows_chosen` is what backbones may have,
    `refuses_chosen` why not; `watchable`, whether it can show the attention of its blocks.
    """

    batched = True
    knows_chosen: ClassVar[frozenset[str]] = SEQUENCES
    refuses_chosen: ClassVar[Mapping[str, str]] = {
        **NO_EQUAL_WINDOWS,
        PADDED_WINDOWS: "runs chosen tokens alone, and the windows of {model} need all of them",
    }
    watchable: ClassVar[bool] = False
    # What masks keep from the frame before differs from what a frame computes anew.
    chosen_constant: ClassVar[bool] = False

    def __init__(self, params: P, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.reference: Tensor | None = None

    @abstractmethod
    def reduced(
        self,
        tokens: Tensor,
        grid: Size,
        chosen: Tensor | None = None,
        *,
        reduce: bool = True,
        watch: Watch | None = None,
    ) -> Reduced:
        """Run embedded patches (B, N, D), all or those at `chosen` (n,), as if no others were.

        `reduce`: whether any token is lost; `watch`: who sees the attention of each block.
        """

    @classmethod
    @abstractmethod
    def foretold(
        cls, params: P, arch: ViTArch, grid: Size, start: int, how: How = REDUCING
    ) -> Foretold:
        """Return what `start` tokens that enter the first block become, and what they cost."""

    @classmethod
    @abstractmethod
    def eased(cls, params: P, share: float) -> P:
        """Return parameters with which fewer tokens are lost; `share` 1: none, 0: as they are.

        A training begins with them, so that a detector gets used to it.
        """

    def forget(self) -> None:
        self.reference = None

    def state(self) -> Iterable[Tensor]:
        if self.reference is not None:
            yield self.reference

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        return self.dense(tokens, frame.grid)

    def dense(self, tokens: Tensor, grid: Size) -> tuple[Tensor, FrameTrace]:
        """Return features (B, N, T D) of all embedded patches, zero where nothing came out."""
        outcome, arch = self.reduced(tokens, grid), self.backbone.arch
        if NOT_ON_GRID & arch.has:
            return outcome.features, outcome.trace
        shape = (*tokens.shape[:2], len(arch.taps) * arch.dim)
        return outcome.onto(outcome.features.new_zeros(shape)), outcome.trace

    def compute_chosen(
        self, tokens: Tensor, frame: FrameContext, kept: Tensor, watch: Watch | None = None
    ) -> tuple[Tensor, FrameTrace]:
        """Return features (1, N, D) of embedded patches, recomputing `kept` (N,) bool on the CPU.

        All tokens make a full frame, which reduces nothing; no token changes nothing. The trace is
        that of `reduced`, with the mask as well. Raises UsageError where a mask comes before any
        full frame.
        """
        full = bool(kept.all())
        mask = kept.nonzero().squeeze(1).to(tokens.device)
        if not full and self.reference is None:
            raise premature()
        base = tokens if full or self.reference is None else self.reference
        if len(mask):
            chosen = None if full else mask
            outcome = self.reduced(tokens, frame.grid, chosen, reduce=not full, watch=watch)
            features, trace = outcome.onto(base), outcome.trace
        else:
            features = base
            trace = FrameTrace(0, full=False, counts={"start": 0}, selected={"survivors": mask})
        self.reference = features.clone()
        # Between the mask and the first loss, blocks see the tokens of the mask.
        shares = {MASK: 1.0 - sum(trace.shares.values()), **trace.shares}
        selected = Joined({MASK: mask}, trace.selected)
        return features, replace(trace, selected=selected, shares=shares)

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
    def plan_chosen(
        cls, params: P, arch: ViTArch, view: ClipView, entering: NDArray[np.int64]
    ) -> TokenTrace:
        """Return the trace of frames that so many tokens (frames,) enter."""
        whole = view.tokens
        known = {
            start: cls.foretold(params, arch, view.grid, start, How(reduce=start != whole))
            for start in set(entering.tolist())
        }
        frames = [known[start] for start in entering.tolist()]
        return TokenTrace(
            np.array([frame.tokens for frame in frames], dtype=np.float64),
            np.array([frame.full for frame in frames], dtype=np.bool_),
            {"start": entering},
        )

    @classmethod
    def macs(
        cls, arch: ViTArch, grid: Size, params: P, trace: TokenTrace, *, watched: bool = False
    ) -> Macs:
        frames = list(zip(trace.counts["start"].tolist(), trace.full.tolist(), strict=True))
        cost_of = {
            (start, full): cls.foretold(params, arch, grid, start, How(not full, watched)).macs
            for start, full in set(frames)
        }
        return Macs(
            np.array([cost_of[frame].matrix for frame in frames], dtype=np.int64),
            np.array([cost_of[frame].published for frame in frames], dtype=np.int64),
        )

    @classmethod
    def chosen_state_bytes(cls, params: P, arch: ViTArch, grid: Size) -> int:
        """Return the bytes that `compute_chosen` keeps between frames: T, the last output."""
        del params
        return token_bytes(arch, grid)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: P) -> int:
        return 0
