"""How weights that a method brings are learnt beside a detector: the choice as gradients pass it.

In training a block computes every token. Those that were not chosen are masked as keys, and keep
what they were; the choice itself is 0 or 1 on the way forward, and a probability on the way back
(straight-through). With the same choice a method that skips tokens gives the same features.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.params import Params
from maskvd_cli.methods.selectors import Noise

if TYPE_CHECKING:
    from maskvd_cli.methods.base import Method

S = TypeVar("S", bound=Params)
# What losses on shares of kept tokens are called.
KEPT_SHARES = "kept_shares"


@dataclass(frozen=True)
class Learnt:
    """What a few frames of some clips gave.

    `features` (B, N, D) of each frame; `losses` by name, beside the detector's; `kept`: by the
    number of a block the share of tokens that it chose, a mean over clips and frames.
    """

    features: Sequence[Tensor]
    losses: Mapping[str, Tensor]
    kept: Mapping[int, Tensor]


class Learner(ABC, Generic[S]):
    """Learns the weights that a method brings.

    `settings_type`: what a training recipe may say of it; `frames`: so many frames of a clip are
    learnt one after another, the earlier ones at most `reach` frames before the last. A learner
    keeps no state; `method` is the method whose weights it learns, a `learned.LearnedSelection`.
    """

    settings_type: ClassVar[type[Params]]
    frames: ClassVar[int] = 1

    def __init__(self, method: type[Any], settings: S, arch: Any) -> None:
        self.method, self.settings, self.arch = method, settings, arch
        self.params: Any = method.resolve(self.parameters(), arch)

    @property
    def reach(self) -> int:
        """How many frames before the last one the earlier ones lie at most."""
        return self.frames - 1

    @abstractmethod
    def parameters(self) -> Params:
        """Return the method's parameters for the weights as they are learnt, drawn at random."""

    def new_module(self) -> nn.Module:
        """Return the weights anew, drawn from torch's global generator."""
        return self.method.new_module(self.params, self.arch)

    @abstractmethod
    def run(
        self,
        module: Any,
        backbone: VisionTransformer,
        frames: Sequence[Tensor],
        grid: Size,
        noise: Noise,
    ) -> Learnt:
        """Run embedded patches (B, N, D) of consecutive frames, the earliest first."""

    def running(self, module: nn.Module, backbone: VisionTransformer) -> Method[Any]:
        """Return the method with these weights, as it is evaluated: without noise."""
        return self.method(self.params, backbone, module)


class SoftWalk:
    """Frames of some clips on their way through blocks, as `skipping.Walk`, with gradients.

    `sequence` (B, [1 +] N [+ T], D), class token first, detection tokens last.
    """

    def __init__(self, backbone: VisionTransformer, tokens: Tensor, grid: Size) -> None:
        self.backbone, self.grid = backbone, grid
        self.sequence = backbone.with_class_token(tokens + backbone.positions_on(grid))
        self.lead, self.trail = backbone.arch.lead, backbone.arch.trail
        self._done = 0

    @property
    def tokens(self) -> Tensor:
        """The tokens of the grid as they are now, (B, N, D)."""
        return self.sequence[:, self.lead : self.lead + self.grid.area]

    def through(self, chosen: Tensor | None) -> None:
        """Run the next block; `chosen` (B, N) holds 1 for its tokens, else 0; None: all ones."""
        block = self.backbone.blocks[self._done]
        if chosen is None:
            left = block(self.sequence, self.grid)
        else:
            share = F.pad(chosen, (self.lead, self.trail), value=1.0)
            computed = _among(block, self.sequence, self.grid, share.detach() > 0)
            share = share[..., None]
            left = share * computed + (1 - share) * self.sequence
        self.sequence = self.backbone.between(self._done, left, self.grid)
        self._done += 1

    def features(self) -> Tensor:
        """Return the features (B, N, D) after the last block."""
        return self.backbone.finish(self.sequence)


def check_targets(targets: Sequence[float], blocks: Sequence[int]) -> None:
    """Raise ValueError unless there is a target for each of the blocks."""
    if len(targets) != len(blocks):
        raise ValueError(f"{len(targets)} targets for {len(blocks)} blocks; give each one")


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """Return `hard` (bool or 0 and 1), whose gradient is that of `soft`."""
    # The difference is exactly 0, so that what is 0 or 1 stays so.
    return hard.to(soft.dtype) + (soft - soft.detach())


def chosen_by(log_probabilities: Tensor, noise: Tensor) -> Tensor:
    """Return 1 for tokens that are kept, else 0, from (..., 2) with Gumbel noise: (...)."""
    noisy = log_probabilities + noise
    return straight_through(noisy[..., 0] >= noisy[..., 1], noisy.softmax(-1)[..., 0])


def _among(block: Block, sequence: Tensor, grid: Size, keys: Tensor) -> Tensor:
    """Return the sequence after a block whose tokens attend to `keys` (B, n) bool alone."""
    query, key, value = block.split(block.qkv(block.norm1(sequence)))
    seen = keys[:, None, None]
    if sequence.shape[1] == grid.area:
        # Where a clip keeps no token and has no class token, softmax needs one: the token itself.
        itself = torch.eye(grid.area, dtype=torch.bool, device=keys.device)
        seen = seen | (itself & ~keys.any(1)[:, None, None, None])
    if block.relative is not None:
        bias = block.relative(query, grid).bias(slice(None), None)
        seen = bias.masked_fill(~seen, -torch.inf)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    return block.complete(sequence, block.merge(attended))
