from __future__ import annotations

import pytest

from maskvd_cli.core.words import counted, every


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 frames"), (1, "1 frame"), (1000, "1,000 frames")],
)
def test_nouns_follow_their_number(number: int, expected: str) -> None:
    assert counted(number, "frame") == expected


def test_irregular_plurals_are_given() -> None:
    assert [counted(number, "box", "boxes") for number in (1, 2)] == ["1 box", "2 boxes"]


def test_all_of_one_is_the_only_one() -> None:
    assert [every(number, "point") for number in (1, 2000)] == [
        "the only point",
        "all 2,000 points",
    ]
