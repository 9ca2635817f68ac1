"""One colour and one mark per method, the same in every picture and chart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """Colour, and the mark in matplotlib's naming."""

    colour: str
    mark: str


# Told apart in colour and, for whoever sees none, in shape (Okabe and Ito's colours).
STYLES = {
    "dense": Style("#000000", "*"),
    "dense-unpadded": Style("#7f7f7f", "P"),
    "maskvd": Style("#0072b2", "o"),
    "eventful": Style("#d55e00", "s"),
    "stgt": Style("#e69f00", "D"),
    "evit": Style("#009e73", "^"),
    "maskvd+evit": Style("#56b4e9", "v"),
    "oracle": Style("#cc79a7", "X"),
    "random": Style("#b2a300", "x"),
}
OTHER = Style("#555555", "h")


def style_of(method: str) -> Style:
    """Return a method's style; methods from elsewhere share one."""
    return STYLES.get(method, OTHER)
