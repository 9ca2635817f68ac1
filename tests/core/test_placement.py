from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskvd_cli.core.placement import Placement, fit, placement, stretch
from maskvd_cli.core.size import Size

INPUT = Size(672, 672)
SIZES = st.builds(Size, st.integers(1, 4000), st.integers(1, 4000))
INPUTS = st.builds(Size, st.integers(16, 2048), st.integers(16, 2048))
SHARES = st.floats(0, 1)


def corners(native: Size) -> NDArray[np.float64]:
    """The whole frame, and its lower right quarter."""
    rows, cols = float(native.rows), float(native.cols)
    return np.array([[0, 0, cols, rows], [cols / 2, rows / 2, cols, rows]])


def place_box(placed: Placement, native: Size, shares: list[float]) -> list[float]:
    x1, x2 = sorted(share * native.cols for share in shares[:2])
    y1, y2 = sorted(share * native.rows for share in shares[2:])
    (box,) = placed.place(np.array([[x1, y1, x2, y2]])).tolist()
    return box


def assert_inside(box: list[float], content: Size, slack: float) -> None:
    x1, y1, x2, y2 = box
    assert 0 <= x1 <= x2 <= content.cols + slack
    assert 0 <= y1 <= y2 <= content.rows + slack


def test_stretch_scales_each_axis_by_itself() -> None:
    placed = stretch(Size(375, 1242), Size(370, 672), INPUT)
    assert (placed.input, placed.content) == (INPUT, Size(370, 672))
    assert placed.row_scale == pytest.approx(370 / 375)
    assert placed.col_scale == pytest.approx(672 / 1242)
    assert placed.place(np.array([[621.0, 75.0, 1242.0, 375.0]])).tolist() == [
        pytest.approx([336.0, 74.0, 672.0, 370.0])
    ]


@pytest.mark.parametrize(
    ("native", "content", "scale"),
    [
        (Size(720, 1280), Size(378, 672), 672 / 1280),
        (Size(1280, 720), Size(672, 378), 672 / 1280),
        (Size(500, 500), Size(420, 420), 420 / 500),
        (Size(480, 640), Size(420, 560), 420 / 480),
        (Size(640, 480), Size(560, 420), 420 / 480),
        (Size(640, 1024), Size(420, 672), 672 / 1024),
        (Size(210, 100), Size(672, 320), 3.2),
        (Size(375, 1242), Size(203, 672), 672 / 1242),
    ],
)
def test_fit_bounds_the_short_and_the_long_side(native: Size, content: Size, scale: float) -> None:
    placed = fit(native, INPUT)
    assert (placed.input, placed.content) == (INPUT, content)
    assert placed.row_scale == placed.col_scale == pytest.approx(scale)
    whole, quarter = placed.place(corners(native)).tolist()
    height, width = native.rows * scale, native.cols * scale
    assert whole == pytest.approx([0, 0, width, height])
    assert quarter == pytest.approx([width / 2, height / 2, width, height])


@pytest.mark.parametrize(
    ("side", "short"), [(1024, 640), (672, 420), (1000, 625), (100, 62), (1001, 625)]
)
def test_the_short_side_of_fit_is_rounded_down(side: int, short: int) -> None:
    assert fit(Size(1000, 1000), Size(side, side)).content == Size(short, short)


@pytest.mark.parametrize(
    ("native", "content"),
    [
        (Size(375, 1242), Size(384, 1272)),
        (Size(720, 1280), Size(384, 683)),
        (Size(1242, 375), Size(384, 116)),
        (Size(100, 1280), Size(100, 1280)),
    ],
)
def test_fit_stays_within_an_input_that_is_not_square(native: Size, content: Size) -> None:
    assert fit(native, Size(384, 1280)).content == content


def test_placement_stretches_to_a_frame_and_fits_without() -> None:
    native = Size(720, 1280)
    assert placement(native, Size(370, 672), INPUT) == stretch(native, Size(370, 672), INPUT)
    assert placement(native, None, INPUT) == fit(native, INPUT)


@given(SIZES, INPUTS, st.lists(SHARES, min_size=4, max_size=4))
def test_fitted_boxes_stay_inside_the_content(
    native: Size, input_size: Size, shares: list[float]
) -> None:
    placed = fit(native, input_size)
    assert placed.content.rows <= input_size.rows
    assert placed.content.cols <= input_size.cols
    assert_inside(place_box(placed, native, shares), placed.content, 0.5 + 1e-6)


@given(SIZES, SIZES, st.lists(SHARES, min_size=4, max_size=4))
def test_stretched_boxes_stay_inside_the_content(
    native: Size, frame: Size, shares: list[float]
) -> None:
    placed = stretch(native, frame, Size(4096, 4096))
    assert_inside(place_box(placed, native, shares), frame, 1e-6)


def test_no_boxes() -> None:
    assert fit(Size(720, 1280), INPUT).place(np.zeros((0, 4))).shape == (0, 4)
