from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.masks.heatmap import accumulate, accumulate_union

CANVAS = Size(24, 37)
corner = st.floats(-15, 60, allow_nan=False, width=32)
box_lists = st.lists(st.tuples(corner, corner, corner, corner), max_size=12)


def slice_per_box(boxes: list[tuple[float, ...]], canvas: Size) -> Tensor:
    """The definition itself: add one to the slice of every box, negative corners cut at zero."""
    counts = torch.zeros(tuple(canvas), dtype=torch.float64)
    for x1, y1, x2, y2 in boxes:
        counts[max(0, int(y1)) : max(0, int(y2)), max(0, int(x1)) : max(0, int(x2))] += 1
    return counts


def as_tensor(boxes: list[tuple[float, ...]]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)


@given(box_lists)
def test_sum_equals_one_slice_per_box(boxes: list[tuple[float, ...]]) -> None:
    made = accumulate(as_tensor(boxes), CANVAS)
    assert made.dtype == torch.float64
    assert torch.equal(made, slice_per_box(boxes, CANVAS))


@given(box_lists, st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_union_counts_each_pixel_once_a_frame(
    boxes: list[tuple[float, ...]], frames: list[int]
) -> None:
    frame_of = torch.tensor(frames[: len(boxes)], dtype=torch.int64)
    expected = torch.zeros(tuple(CANVAS), dtype=torch.float64)
    for frame in range(4):
        own = [box for box, of in zip(boxes, frames, strict=False) if of == frame]
        expected += slice_per_box(own, CANVAS) > 0
    assert torch.equal(accumulate_union(as_tensor(boxes), frame_of, CANVAS), expected)


def test_corners_truncate_and_the_end_is_exclusive() -> None:
    counts = accumulate(torch.tensor([[1.9, 0.2, 3.99, 2.0]], dtype=torch.float64), Size(3, 5))
    assert counts.tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]


def test_boxes_beyond_the_canvas_are_cut() -> None:
    boxes = as_tensor([(-5, -5, 2, 1), (4, 2, 99, 99), (9, 9, 12, 12)])
    counts = accumulate(boxes, Size(3, 5))
    assert counts.tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


def test_no_boxes_leave_an_empty_canvas() -> None:
    assert accumulate(torch.zeros(0, 4), CANVAS).sum() == 0
    nothing = accumulate_union(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), CANVAS)
    assert nothing.shape == tuple(CANVAS)
    assert nothing.sum() == 0
