"""Decoded frames stand upright, and those of no usable size are refused unread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.data.upright import check_sides, upright

PATH = Path("v.mp4")


@dataclass
class Decoded:
    """What PyAV gives, as far as it is asked."""

    height: int
    width: int
    rotation: int = 0

    def to_ndarray(self, format: str) -> np.ndarray[Any, Any]:
        assert format == "rgb24"
        assert max(self.height, self.width) < 100, "pixels of a refused frame were asked for"
        pixels = np.zeros((self.height, self.width, 3), dtype=np.uint8)
        # The upper left corner.
        pixels[0, 0] = 255
        return pixels


@pytest.mark.parametrize(
    ("rotation", "corner"),
    [(0, (0, 0)), (90, (2, 0)), (-90, (0, 1)), (180, (1, 2)), (450, (2, 0)), (91, (2, 0))],
)
def test_frames_are_turned_counter_clockwise(rotation: int, corner: tuple[int, int]) -> None:
    found = upright(Decoded(2, 3, rotation), PATH)
    rows, cols, _ = np.argwhere(found == 255)[0]
    assert (rows, cols) == corner
    assert found.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(("rows", "cols"), [(0, 8), (8, 0), (16385, 8), (8, 1 << 20)])
def test_frames_of_no_usable_size_are_refused_before_they_are_read(rows: int, cols: int) -> None:
    with pytest.raises(DatasetError, match=f"no usable size, {rows}x{cols}"):
        upright(Decoded(rows, cols), PATH)


def test_a_codec_may_not_know_the_size_yet() -> None:
    check_sides(Decoded(0, 0), PATH, least=0)
    with pytest.raises(DatasetError):
        check_sides(Decoded(16385, 0), PATH, least=0)
