from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.masks.dynamic import dynamic_mask, dynamic_masks

INPUT = Size(96, 128)
GRID = INPUT.tiles(16)
corner = st.floats(-40, 170, allow_nan=False, width=32)
box_lists = st.lists(st.tuples(corner, corner, corner, corner), min_size=1, max_size=8)


def by_pixels(boxes: list[tuple[float, ...]], margin: int) -> Tensor:
    """The definition itself: fill pixels, keep every cell with at least one filled."""
    image = torch.zeros(tuple(INPUT), dtype=torch.bool)
    for x1, y1, x2, y2 in boxes:
        rows = slice(max(0, int(y1) - margin), max(0, int(y2) + margin))
        cols = slice(max(0, int(x1) - margin), max(0, int(x2) + margin))
        image[rows, cols] = True
    return image.view(GRID.rows, 16, GRID.cols, 16).any(3).any(1).flatten()


def as_tensor(boxes: list[tuple[float, ...]]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)


@given(box_lists, st.integers(0, 20))
def test_equals_filling_pixels(boxes: list[tuple[float, ...]], margin: int) -> None:
    mask = dynamic_mask(as_tensor(boxes), INPUT, 16, margin=margin)
    assert torch.equal(mask, by_pixels(boxes, margin))


@given(st.lists(st.tuples(st.integers(0, 4), corner, corner, corner, corner), max_size=12))
def test_frames_do_not_touch_each_other(rows: list[tuple[float, ...]]) -> None:
    frame_of = torch.tensor([int(row[0]) for row in rows], dtype=torch.int64)
    masks = dynamic_masks(as_tensor([row[1:] for row in rows]), frame_of, 5, INPUT, 16)
    for frame in range(5):
        own = [row[1:] for row in rows if row[0] == frame]
        expected = by_pixels(own, 0) if own else torch.ones(GRID.area, dtype=torch.bool)
        assert torch.equal(masks[frame], expected)


def test_a_frame_without_boxes_is_kept_whole() -> None:
    assert dynamic_mask(torch.zeros(0, 4), INPUT, 16).all()


def test_only_scores_above_the_threshold_count() -> None:
    boxes = as_tensor([(0, 0, 16, 16), (112, 80, 128, 96)])
    kept = dynamic_mask(boxes, INPUT, 16, scores=torch.tensor([0.5, 0.51]), score_threshold=0.5)
    assert kept.nonzero().flatten().tolist() == [GRID.area - 1]
    none = dynamic_mask(boxes, INPUT, 16, scores=torch.tensor([0.5, 0.5]), score_threshold=0.5)
    assert none.all()


def test_a_margin_at_the_border_is_clamped_and_does_not_wrap() -> None:
    mask = dynamic_mask(as_tensor([(5, 3, 80, 60)]), INPUT, 16, margin=10)
    expected = by_pixels([(0, 0, 90, 70)], 0)
    assert torch.equal(mask, expected)


def test_boxes_beyond_the_input_keep_its_last_tokens_only() -> None:
    mask = dynamic_mask(as_tensor([(120, 90, 500, 500)]), INPUT, 16)
    assert mask.nonzero().flatten().tolist() == [GRID.area - 1]
    assert not dynamic_mask(as_tensor([(128, 96, 500, 500)]), INPUT, 16).any()


def test_a_box_thinner_than_a_pixel_keeps_nothing() -> None:
    assert not dynamic_mask(as_tensor([(17.2, 17.2, 17.9, 40)]), INPUT, 16).any()


def test_a_box_that_reaches_to_infinity_covers_its_way() -> None:
    inf = float("inf")
    boxes = torch.tensor([[-inf, 20.0, inf, 30.0], [100.0, 5.0, 1e30, 6.0]])
    expected = dynamic_mask(torch.tensor([[0.0, 20, 128, 30], [100, 5, 128, 6]]), INPUT, 16)
    assert torch.equal(dynamic_mask(boxes, INPUT, 16), expected)


def test_a_corner_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="a box has a corner that is no number"):
        dynamic_mask(torch.tensor([[0.0, 0.0, float("nan"), 5.0]]), INPUT, 16)
