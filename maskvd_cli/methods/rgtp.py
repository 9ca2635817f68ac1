"""RGTP, rollout-guided token pruning (ICIP 2025, doi 10.1109/ICIP55913.2025.11084634).

A pruned frame recomputes the K tokens whose matching tokens in the frame before did most for that
frame's detections. How K tokens run through the blocks, is told in `pruned_execution`; on a model
that is read at its class token alone, all of it in `class_pruning`. To choose them, before frame t
runs:

1. Anchors: the tokens under the boxes of frame t - 1 above `score_threshold`, all where there is no
   such box. Boxes begin at the token of their first pixel and end before that of their last one,
   which is cut at the last row and column, so that these are never covered.
2. Importance of frame t - 1: the uniform distribution over its anchors, carried back through the
   attention of its global blocks (`attention_maps`). Windowed blocks are passed over.
3. Unpooled, tokens that frame t - 1 did not recompute keep their importance of the frame before it;
   pooled, all tokens take the new one. The sum becomes 1.
4. Tracking: tokens of frame t take the importance of the tokens that they look like (`tracking`).
5. The K most important ones; of equal importance the lower index goes first.

Where the published code leaves the text, the code is followed: heads are fused by root mean square,
and pooled maps are used at 672 pixels. Where it cannot be followed, this is what is done here:

- Anchors without a token (boxes in the last row and column alone; pooled, boxes that cover no
  half of a cell) divide zero by zero in the published code. Here all tokens become anchors, as for
  a frame without boxes.
- With K = N the published code mixes rows up and is no longer dense. Here it equals dense.
- The order of equal importance is left open by the published code; here the sort is stable.
- The published code rolls back pooled maps as matrices and does so after each frame. Here vectors
  go back through them, with the same outcome, and only before a frame that needs it: `gmacs` counts
  what is executed here, `gmacs_published` what is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs, sequence_length
from maskvd_cli.families.blocks.traits import (
    CLASS_FEATURES,
    DETECTION_TOKENS,
    EQUAL_WINDOWS,
    PLAIN_VIT,
)
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.attention_maps import (
    POOL,
    AttentionMaps,
    covered_cells,
    spread_cells,
)
from maskvd_cli.methods.base import (
    FLOAT32_BYTES,
    ClipView,
    FrameContext,
    FrameTrace,
    Selection,
    TokenTrace,
    token_bytes,
)
from maskvd_cli.methods.class_pruning import ClassPruning
from maskvd_cli.methods.class_pruning_costs import kept_bytes, look_trace, step_macs
from maskvd_cli.methods.frame import premature
from maskvd_cli.methods.pruned import ChosenTokens, PrunedMethod
from maskvd_cli.methods.pruned_costs import PRUNED, state_bytes
from maskvd_cli.methods.reducing import STEPS
from maskvd_cli.methods.rgtp_params import STEP_PARAMS, RGTPParams, check_poolable_grid
from maskvd_cli.methods.tracking import best, tracked


class RGTP(PrunedMethod[RGTPParams]):
    """The tokens that matter to what was detected, followed from frame to frame.

    MACs: `pruned_costs.executed` and on pruned frames tracking (2r + 1)^2 ND (none at r = 0) and
    rollout, with n tokens in the sequence: matvec Gn^2, matrix (G - 1)n^3 + n^2, pooled G(N/4)^2.
    The published counter has a rollout on every frame, Gn^2, Gn^3 or G(N/4)^3. Fusion, pooling and
    the sort count nothing under either.
    """

    name = "rgtp"
    description = "the K tokens that mattered most to the last detections, tracked; period P"
    paper = "RGTP (ICIP 2025, doi 10.1109/ICIP55913.2025.11084634)"
    params_type = RGTPParams
    columns: ClassVar = {
        **PrunedMethod.columns, "radius": "r", "score_threshold": "threshold", "fusion": "fusion",
        "rollout": "rollout",
    }  # fmt: skip
    knows = PLAIN_VIT | STEPS | EQUAL_WINDOWS | DETECTION_TOKENS
    colour, mark = "#7b3294", "D"
    watches = True
    own_execution: ClassVar = frozenset(STEP_PARAMS)

    def __init__(self, params: RGTPParams, backbone: VisionTransformer) -> None:
        self._maps = AttentionMaps(params.fusion, params.rollout)
        super().__init__(params, backbone)
        self._dropping: ClassPruning | None = None
        if _drops(backbone.arch):
            self._dropping = ClassPruning(self.params, backbone)
        self.before: Tensor | None = None
        # Unpooled: the importance that tokens had, (N,), and which the last frame recomputed.
        self._earlier: Tensor | None = None
        self._recomputed: Tensor | None = None
        # The grid of the frame whose attention is watched in a combination.
        self._watched: Size | None = None

    def maps(self) -> AttentionMaps:
        return self._maps

    def forget(self) -> None:
        super().forget()
        self.before = self._earlier = self._recomputed = None
        if self._dropping is not None:
            self._dropping.forget()

    def state(self) -> Iterable[Tensor]:
        yield from super().state()
        if self._dropping is not None:
            yield from self._dropping.state()
        kept = (self.before, self._earlier, self._recomputed)
        yield from (tensor for tensor in kept if tensor is not None)

    def choose(self, tokens: Tensor, frame: FrameContext, count: int) -> Tensor:
        importance = self.importance(frame)
        if self._earlier is not None:
            self._earlier = importance
        return best(self.tracked(tokens, importance, frame.grid), count)

    def importance(self, frame: FrameContext) -> Tensor:
        """Return the importance (N,) of the tokens of the last frame that ran; its sum is 1.

        The boxes of `frame` are those that were detected in that frame. Raises UsageError where
        none ran.
        """
        grid, arch = frame.grid, self.backbone.arch
        anchors = anchor_tokens(frame, self.params.score_threshold)
        if not self._maps.maps:
            raise premature("pruned frame")
        if self._maps.pooled:
            cells = self._maps.flow_back(_uniform(covered_cells(anchors, grid)).to(self._device))
            found = spread_cells(cells, grid)
        else:
            start = F.pad(_uniform(anchors), (arch.lead, arch.trail)).to(self._device)
            found = self._maps.flow_back(start)[arch.lead : arch.lead + grid.area]
            assert self._earlier is not None
            assert self._recomputed is not None
            found = torch.where(self._recomputed, found, self._earlier)
        return found / found.sum()

    def tracked(self, tokens: Tensor, importance: Tensor, grid: Size) -> Tensor:
        """Return the importance (N,) of this frame's `tokens` (N, D), from that of the last one."""
        assert self.before is not None
        return tracked(importance, tokens, self.before, grid, self.params.radius)

    def select_from(self, tokens: Tensor, frame: FrameContext) -> Selection:
        if self._dropping is None:
            return super().select_from(tokens, frame)
        self._check(tokens, frame)
        return Selection(more=ChosenTokens(self._dropping.choose(tokens[0], frame)))

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        if self._dropping is not None:
            kept = selection.more
            assert isinstance(kept, ChosenTokens)
            return self._dropping.run(tokens, frame, kept.index)
        if self._maps.pooled:
            check_poolable_grid(frame.grid)
        features, trace = super().compute(tokens, frame, selection)
        self.passed(tokens, frame, trace)
        return features, trace

    def chosen(self, tokens: Tensor, frame: FrameContext) -> Tensor:
        if self._maps.pooled:
            check_poolable_grid(frame.grid)
        self._watched = frame.grid
        return super().chosen(tokens, frame)

    def watch(self, number: int, weights: Tensor, index: Tensor) -> None:
        """Take attention among the tokens that are there: to others it is none."""
        assert self._watched is not None
        self._maps.see(number, weights, index, self._watched, self.backbone.arch.lead)

    def passed(self, tokens: Tensor, frame: FrameContext, trace: FrameTrace) -> None:
        self.before = tokens[0].clone()
        if not self._maps.pooled:
            if self._earlier is None:
                wide = next(iter(self._maps.maps.values())).dtype
                self._earlier = torch.zeros(frame.grid.area, dtype=wide, device=tokens.device)
            self._recomputed = torch.zeros(
                frame.grid.area, dtype=torch.bool, device=tokens.device
            ).index_fill_(0, trace.selected["mask"], True)

    def remembered(self) -> Iterable[Tensor]:
        yield from self._maps.state()
        kept = (self.before, self._earlier, self._recomputed)
        yield from (tensor for tensor in kept if tensor is not None)

    @property
    def _device(self) -> torch.device:
        return next(iter(self._maps.maps.values())).device

    @classmethod
    def resolve(cls, params: RGTPParams, arch: ViTArch) -> RGTPParams:
        return params.at(arch)

    @classmethod
    def constant_on_repeats(cls, params: RGTPParams) -> bool:
        # Where tokens are gone, so is what they had to say.
        return params.reset is None

    @classmethod
    def plan(cls, params: RGTPParams, arch: ViTArch, view: ClipView) -> TokenTrace:
        if _drops(arch):
            return look_trace(params, view)
        if params.rollout == "pooled":
            check_poolable_grid(view.grid)
        return super().plan(params, arch, view)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: RGTPParams, trace: TokenTrace) -> Macs:
        if _drops(arch):
            return step_macs(arch, grid, params, trace)
        macs = super().macs(arch, grid, params, trace)
        return macs + cls._choosing_macs(arch, grid, params, trace.counts[PRUNED])

    @classmethod
    def choosing_macs(
        cls, arch: ViTArch, grid: Size, params: RGTPParams, trace: TokenTrace
    ) -> Macs:
        pruned = (np.arange(len(trace.tokens)) % params.period != 0).astype(np.int64)
        return cls._choosing_macs(arch, grid, params, pruned)

    @classmethod
    def _choosing_macs(
        cls, arch: ViTArch, grid: Size, params: RGTPParams, pruned: NDArray[np.int64]
    ) -> Macs:
        tracking = tracking_macs(arch, grid, params)
        executed, published = rollout_macs(arch, grid, params)
        return Macs((tracking + executed) * pruned, tracking * pruned + published)

    @classmethod
    def remembered_bytes(cls, params: RGTPParams, arch: ViTArch, grid: Size) -> int:
        return cls.planned_state_bytes(arch, grid, params) - state_bytes(arch, grid)

    @classmethod
    def published_at(cls, arch: ViTArch, grid: Size, params: RGTPParams, tokens: int) -> int | None:
        """Return the published counter of a pruned frame with K = `tokens`.

        None where tokens are dropped: the authors' rollout is of third degree in those that stay.
        """
        if _drops(arch):
            return None
        through = super().published_at(arch, grid, params, tokens)
        assert through is not None
        return through + tracking_macs(arch, grid, params) + rollout_macs(arch, grid, params)[1]

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: RGTPParams) -> int:
        """Return the bytes of caches, embeddings ND, maps Gn^2, importance N and a bool per token.

        Pooled: maps G(N/4)^2, and neither importance nor bools. Where tokens are dropped:
        `class_pruning_costs.kept_bytes`.
        """
        if _drops(arch):
            return kept_bytes(arch, grid, params)
        kept = super().planned_state_bytes(arch, grid, params) + token_bytes(arch, grid)
        blocks = len(arch.global_blocks)
        if params.rollout == "pooled":
            return kept + blocks * (grid.area // POOL**2) ** 2 * FLOAT32_BYTES
        maps = blocks * sequence_length(arch, grid) ** 2 * FLOAT32_BYTES
        return kept + maps + grid.area * (FLOAT32_BYTES + 1)


def anchor_tokens(frame: FrameContext, score_threshold: float) -> Tensor:
    """Return the tokens under a frame's boxes above a score, (N,) bool on the CPU.

    Boxes in input pixels are divided by the patch, first corners rounded down and second ones up,
    all cut to the last row and column; rows y1 <= y < y2 and columns x1 <= x < x2 are covered.
    Boxes without scores are certain. Without such a box all tokens are. Raises UsageError for NaN.
    """
    grid, boxes = frame.grid, frame.boxes
    if boxes is not None and frame.scores is not None:
        boxes = boxes[frame.scores > score_threshold]
    if boxes is None or not len(boxes):
        return torch.ones(grid.area, dtype=torch.bool)
    if bool(boxes.isnan().any()):
        raise UsageError("a box has a corner that is no number", remedy="correct the detections")
    cells = boxes.to(torch.float64) / frame.patch
    last = torch.tensor([grid.cols - 1, grid.rows - 1] * 2)
    corners = torch.cat([cells[:, :2].floor(), cells[:, 2:].ceil()], dim=1)
    covered = torch.zeros(*grid, dtype=torch.bool)
    for x1, y1, x2, y2 in corners.clamp(min=0).minimum(last).to(torch.int64).tolist():
        covered[y1:y2, x1:x2] = True
    return covered.flatten()


def _drops(arch: ViTArch) -> bool:
    """Whether tokens that are left out are gone, since none but the class token is read."""
    return CLASS_FEATURES in arch.has


def tracking_macs(arch: ViTArch, grid: Size, params: RGTPParams) -> int:
    """Return the MACs of tracking a frame: (2r + 1)^2 ND, none at r = 0."""
    return (2 * params.radius + 1) ** 2 * grid.area * arch.dim if params.radius else 0


def rollout_macs(arch: ViTArch, grid: Size, params: RGTPParams) -> tuple[int, int]:
    """Return the MACs of one rollout as it is executed here, and as the published code does it."""
    blocks, length = len(arch.global_blocks), sequence_length(arch, grid)
    if params.rollout == "matrix":
        return (blocks - 1) * length**3 + length**2, blocks * length**3
    if params.rollout == "pooled":
        cells = grid.area // POOL**2
        return blocks * cells**2, blocks * cells**3
    return blocks * length**2, blocks * length**2


def _uniform(marked: Tensor) -> Tensor:
    """Return the uniform distribution over the marked places, over all where there is none.

    In double precision on the CPU; `flow_back` takes it to that of the maps.
    """
    if not bool(marked.any()):
        marked = torch.ones_like(marked)
    return marked.double() / marked.sum()
