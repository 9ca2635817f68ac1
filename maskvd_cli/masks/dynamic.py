"""Dynamic mask: the tokens that the boxes of the previous frame touch. MaskVD, section 3.2."""

from __future__ import annotations

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size

_FARTHEST = 2.0**40


def dynamic_masks(  # noqa: PLR0913 - one argument per quantity of the definition
    boxes: Tensor,
    frame_of: Tensor,
    frames: int,
    input_size: Size,
    patch: int,
    *,
    scores: Tensor | None = None,
    score_threshold: float = 0.5,
    margin: int = 0,
) -> Tensor:
    """Return for each frame the tokens touched by its own boxes: (frames, N) bool.

    `boxes` (n, 4) xyxy in input pixels, `frame_of` (n,) int64, `scores` (n,) or None for certain
    boxes; those with a score above `score_threshold` count. Corners are truncated to integers and
    grown by `margin` pixels, clamped to the input (the published code lets a margin wrap around).
    A token is kept if at least one of its pixels is covered. A frame without any counting box is
    kept whole.
    """
    grid = input_size.tiles(patch)
    if scores is not None:
        counting = scores > score_threshold
        boxes, frame_of = boxes[counting], frame_of[counting]
    first, last = _covered_cells(boxes, input_size, patch, margin)
    touched = (last >= first).all(1)
    cover = _cover_per_frame(first[touched], last[touched] + 1, frame_of[touched], frames, grid)
    without_box = torch.bincount(frame_of, minlength=frames) == 0
    return cover.flatten(1) | without_box[:, None]


def dynamic_mask(  # noqa: PLR0913
    boxes: Tensor,
    input_size: Size,
    patch: int,
    *,
    scores: Tensor | None = None,
    score_threshold: float = 0.5,
    margin: int = 0,
) -> Tensor:
    """Return the tokens that the boxes of one frame touch, (N,) bool; see `dynamic_masks`."""
    frame_of = torch.zeros(len(boxes), dtype=torch.int64)
    return dynamic_masks(
        boxes, frame_of, 1, input_size, patch,
        scores=scores, score_threshold=score_threshold, margin=margin,
    )[0]  # fmt: skip


def _covered_cells(
    boxes: Tensor, input_size: Size, patch: int, margin: int
) -> tuple[Tensor, Tensor]:
    """Return the first and last (x, y) cell of each box, (n, 2) int64; last < first if empty.

    Raises UsageError for NaN.
    """
    if bool(boxes.isnan().any()):
        raise UsageError("a box has a corner that is no number", remedy="correct the detections")
    # A box that reaches to infinity covers all that lies on its way.
    whole = boxes.to(torch.float64).clamp(-_FARTHEST, _FARTHEST).trunc().to(torch.int64)
    limits = torch.tensor([input_size.cols, input_size.rows])
    start = (whole[:, :2] - margin).clamp(min=0)
    end = torch.minimum(whole[:, 2:] + margin, limits)
    empty = (end <= start).any(1, keepdim=True)
    last = torch.div(end - 1, patch, rounding_mode="floor")
    return start // patch, torch.where(empty, torch.full_like(last, -1), last)


def _cover_per_frame(
    first: Tensor, end: Tensor, frame_of: Tensor, frames: int, grid: Size
) -> Tensor:
    """Fill end-exclusive cell ranges per frame by corner differences: (frames, rows, cols) bool."""
    rows, cols = grid.rows + 1, grid.cols + 1
    base = frame_of * (rows * cols)
    (x1, y1), (x2, y2) = first.unbind(1), end.unbind(1)
    steps = torch.zeros(frames * rows * cols, dtype=torch.int32)
    one = torch.ones(len(base), dtype=torch.int32)
    for y, x, sign in ((y1, x1, 1), (y2, x2, 1), (y1, x2, -1), (y2, x1, -1)):
        steps.index_add_(0, base + y * cols + x, one, alpha=sign)
    cover = steps.view(frames, rows, cols).cumsum(1, dtype=torch.int32).cumsum(2, dtype=torch.int32)
    return cover[:, :-1, :-1] > 0
