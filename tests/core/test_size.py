from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.size import Size

SIDES = st.integers(1, 16384)


@given(SIDES, SIDES)
def test_a_size_survives_writing_and_reading(rows: int, cols: int) -> None:
    assert Size.parse(str(Size(rows, cols))) == Size(rows, cols)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("384x1280", Size(rows=384, cols=1280)),
        ("384X1280", Size(384, 1280)),
        (" 1x16384\n", Size(1, 16384)),
        ("16384x1", Size(16384, 1)),
        ("016x00032", Size(16, 32)),
    ],
)
def test_rows_come_first(text: str, size: Size) -> None:
    assert Size.parse(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "384", "384x", "x1280", "384x1280x3", "384*1280", "384 x 1280", "384,1280",
        "-1x5", "+1x5", "1.5x5", "1e2x5", "0x10x5", "100000x5", "384\u00d71280", "٣x٤", "ax5",
    ],
)  # fmt: skip
def test_texts_that_are_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size; write rows x columns, for example") as caught:
        Size.parse(text)
    assert str(caught.value).startswith(f"'{text}' is")


@pytest.mark.parametrize("text", ["0x5", "5x0", "16385x5", "5x16385", "99999x99999"])
def test_sides_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^'{text}': each side must lie in 1\.\.16384$"):
        Size.parse(text)


def test_area() -> None:
    assert Size(3, 5).area == 15


@pytest.mark.parametrize(
    ("size", "patch", "grid"),
    [
        (Size(672, 672), 16, Size(42, 42)),
        (Size(370, 672), 16, Size(24, 42)),
        (Size(1, 17), 16, Size(1, 2)),
        (Size(16, 32), 16, Size(1, 2)),
    ],
)
def test_tiles_cover_the_whole_size(size: Size, patch: int, grid: Size) -> None:
    assert size.tiles(patch) == grid
