"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 frame`, `2,000 frames`.

    `plural` is the noun for other numbers than one, by default with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
