"""Looks at a video: where they begin, which frames they take, how they are cropped."""

from __future__ import annotations

import pytest

from maskvd_cli.core.looks import Looks, enlarged, spread
from maskvd_cli.core.size import Size


def test_looks_are_spread_over_a_video() -> None:
    looks = Looks(frames=32, tubelet=2, stride=2, along=4, across=3)
    assert (looks.count, looks.steps, looks.span) == (12, 16, 64)
    # Whole parts of 0, 1, 2 and 3 times 186 / 3.
    assert looks.starts(250) == [0, 62, 124, 186]
    assert looks.positions(250, 62)[:3] == [62, 64, 66]
    assert looks.positions(250, 186)[-1] == 248


def test_a_short_video_repeats_its_last_frame() -> None:
    looks = Looks(frames=8, tubelet=2, stride=2, along=2)
    assert looks.starts(13) == [0, 0]
    assert looks.positions(13, 0) == [0, 2, 4, 6, 8, 10, 12, 12]
    assert looks.positions(1, 0) == [0] * 8


def test_a_single_look_lies_in_the_middle() -> None:
    assert Looks(frames=4).starts(11) == [3]
    assert spread(7, 1) == [3]
    assert spread(7, 3) == [0, 3, 7]


def test_crops_just_fit_and_are_spread_along_the_longer_side() -> None:
    size = Size(48, 48)
    made = enlarged(Size(52, 80), size)
    # 48 / 52 of 80 is 73.8
    assert made == Size(48, 74)
    assert Looks(frames=2, across=3).corners(made, size) == [(0, 0), (0, 13), (0, 26)]
    assert Looks(frames=2).corners(made, size) == [(0, 13)]
    assert enlarged(Size(256, 456), Size(320, 320)) == Size(320, 570)
    assert enlarged(size, size) == size


def test_numbers_that_make_no_looks_are_refused() -> None:
    with pytest.raises(ValueError, match="a number below 1"):
        Looks(frames=4, along=0)
    with pytest.raises(ValueError, match="steps of 3 frames do not divide 4"):
        Looks(frames=4, tubelet=3)


def test_every_native_size_gives_a_crop() -> None:
    for rows in range(1, 60):
        for cols in range(1, 60):
            made = enlarged(Size(rows, cols), Size(16, 24))
            assert made.rows >= 16
            assert made.cols >= 24
            assert made.rows == 16 or made.cols == 24
