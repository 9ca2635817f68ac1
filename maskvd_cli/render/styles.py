"""One colour and one mark per method, the same in every picture and chart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """Colour, the mark in matplotlib's naming, and the same mark in plotly's."""

    colour: str
    mark: str
    symbol: str


# Told apart in colour and, for whoever sees none, in shape (Okabe and Ito's colours).
STYLES = {
    "dense": Style("#000000", "*", "star"),
    "dense-unpadded": Style("#7f7f7f", "P", "cross"),
    "maskvd": Style("#0072b2", "o", "circle"),
    "eventful": Style("#d55e00", "s", "square"),
    "stgt": Style("#e69f00", "D", "diamond"),
    "evit": Style("#009e73", "^", "triangle-up"),
    "maskvd+evit": Style("#56b4e9", "v", "triangle-down"),
    "oracle": Style("#cc79a7", "X", "x"),
    "random": Style("#b2a300", "x", "x-thin"),
}
OTHER = Style("#555555", "h", "hexagon")


def style_of(method: str) -> Style:
    """Return a method's style; methods from elsewhere share one."""
    return STYLES.get(method, OTHER)
