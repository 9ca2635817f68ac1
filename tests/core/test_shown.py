"""What reaches a terminal steers nothing there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.shown import shown
from maskvd_cli.core.words import counted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("maskvd period=8 ü 車 \U0001f600", "maskvd period=8 ü 車 \U0001f600"),
        ("\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x9b31m\x90", r"\x9b31m\x90"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("abc\u202egnp.exe\u2066", r"abc\u202egnp.exe\u2066"),
        ("\ufeff\u2028\udcff", r"\ufeff\u2028\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
        ("\x7f\x00", r"\x7f\x00"),
    ],
)
def test_controls_are_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_what_is_to_stay_stays() -> None:
    assert shown("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


@given(st.text())
def test_nothing_is_left_to_escape(text: str) -> None:
    once = shown(text)
    assert shown(once) == once
    assert all(c.isprintable() or c in "\u200c\u200d" or c.isspace() for c in once if c < "\u0378")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 frames"), (1, "1 frame"), (2, "2 frames"), (17612, "17,612 frames")],
)
def test_numbers_with_their_nouns(number: int, text: str) -> None:
    assert counted(number, "frame") == text
