"""One colour and one mark per method, the same in every picture and chart of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.judge.legend import Legend
from maskvd_cli.render.chart.description import MARKS


@dataclass(frozen=True)
class Style:
    """Colour, and the mark in matplotlib's naming."""

    colour: str
    mark: str


# For methods that bring no style: told apart in colour (Paul Tol's muted scheme) and in shape.
_COLOURS = ("#332288", "#117733", "#882255", "#44aa99", "#999933", "#aa4499", "#cc6677", "#555555")
_MARKS = ("h", "p", "d", "<", ">")


def style_of(method: str, legend: Legend) -> Style:
    """Return a method's style as the plan tells it, else a free one by the order of names."""
    known = legend.method(method)
    if known is not None and known.colour and known.mark in MARKS:
        return Style(known.colour, known.mark)
    methods = legend.plan.methods
    unstyled = sorted(
        name for name, one in methods.items() if not (one.colour and one.mark in MARKS)
    )
    place = unstyled.index(method) if method in unstyled else len(unstyled)
    colour = known.colour if known is not None and known.colour else None
    return Style(colour or _COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)])
