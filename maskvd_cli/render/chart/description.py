"""What a chart of lines is: axes, lines of places, how they look; no drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Marks in matplotlib's naming; dashes by number, which both libraries draw alike.
MARKS = ("o", "s", "D", "^", "v", "*", "P", "X", "x", "h", "p", "d", "<", ">")


@dataclass(frozen=True)
class Look:
    """How a line looks: colour `#rrggbb`, mark, and whether marks are hollow.

    `dash` counts from 0 (solid), None: no line between the marks; `size` scales the marks;
    `dot`: hollow with a dot inside, for what others printed.
    """

    colour: str
    mark: str
    hollow: bool = False
    dash: int | None = 0
    size: float = 1.0
    dot: bool = False


@dataclass(frozen=True)
class Place:
    """One mark. `low`, `high`: ends of its interval along y, `x_low`, `x_high` along x.

    `hover`: lines of what a page shows on hovering, the first of them the point's name; `note`:
    text beside the mark.
    """

    x: float | str
    y: float | None
    low: float | None = None
    high: float | None = None
    x_low: float | None = None
    x_high: float | None = None
    hover: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Line:
    """Places in the order in which they are joined.

    `label` stands in legends of figures; lines of one `group` are switched together on a page.
    `stairs`: each place holds until the next.
    """

    label: str
    group: str
    look: Look
    places: Sequence[Place]
    stairs: bool = False


@dataclass(frozen=True)
class Axis:
    """A title with its unit, whether it begins at zero, its bounds, or named places in order."""

    title: str
    from_zero: bool = False
    bounds: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Level:
    """A horizontal line across the panel."""

    value: float
    label: str
    look: Look


@dataclass(frozen=True)
class Panel:
    """One pair of axes with its lines, the later above the earlier."""

    x: Axis
    y: Axis
    lines: Sequence[Line]
    levels: Sequence[Level] = ()


def front_line(places: Sequence[Place], colour: str, name: str = "Pareto front") -> Line:
    """Return the front of a panel as dashed stairs: what is reached at each cost."""
    ordered = sorted(places, key=lambda place: (place.x, place.y))
    bare = [Place(place.x, place.y) for place in ordered]
    return Line(name, "front", Look(colour, "", dash=1), bare, stairs=True)
