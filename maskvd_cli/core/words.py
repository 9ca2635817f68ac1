"""Numbers in sentences."""

from __future__ import annotations


def every(number: int, noun: str) -> str:
    """Return `the only point`, `all 2,000 points`, as the beginning of what holds for each."""
    return f"the only {noun}" if number == 1 else f"all {counted(number, noun)}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 frame`, `2,000 frames`.

    `plural` is the noun for other numbers than one, by default with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
