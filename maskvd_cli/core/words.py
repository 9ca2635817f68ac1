"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return `1 frame`, `2 frames`, `0 frames`; thousands are set apart by commas."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
