"""Panels drawn with matplotlib, for pictures in files."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.text import Text

from maskvd_cli.core.shown import escaped, shown
from maskvd_cli.render.chart.description import Axis, Level, Line, Look, Panel, Place

_DASHES = ("-", "--", ":", "-.")
_MARK_POINTS = 4.0


def harmless(figure: Figure) -> None:
    """Let all texts of a figure be what they say: no mathematics, nothing that steers.

    What DejaVu Sans lacks is written as an escape.
    """
    for text in figure.findobj(Text):
        written = shown(text.get_text(), "\n")
        lacking = {each for each in written if ord(each) not in _written() and each != "\n"}
        spelled = (escaped(each) if each in lacking else each for each in written)
        text.set_text("".join(spelled))
        text.set_parse_math(False)


@cache
def _written() -> frozenset[int]:
    file = files("matplotlib") / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return frozenset(FT2Font(str(file)).get_charmap())


def draw_panel(axes: Any, panel: Panel) -> None:
    """Draw a panel on matplotlib's axes: levels, lines with intervals, notes, titles, bounds."""
    for level in panel.levels:
        look: dict[str, Any] = {**style(level.look), "marker": ""}
        axes.axhline(level.value, zorder=1, **look)
    for line in panel.lines:
        _draw_line(axes, line, panel.x)
    _finish(axes.xaxis, axes.set_xlim, panel.x)
    _finish(axes.yaxis, axes.set_ylim, panel.y)
    axes.grid(alpha=0.25, linewidth=0.5)


def style(look: Look) -> dict[str, Any]:
    """Return colour, mark and dashes as matplotlib takes them."""
    return {
        "color": look.colour,
        "marker": look.mark,
        "markersize": _MARK_POINTS * look.size,
        "markerfacecolor": "white" if look.hollow else look.colour,
        "linestyle": "none" if look.dash is None else _DASHES[look.dash % len(_DASHES)],
    }


def handle(line: Line) -> Line2D:
    """Return a line's entry in a legend; a single place has no line to show."""
    look = style(line.look)
    if len(line.places) == 1:
        look["linestyle"] = "none"
    return Line2D([], [], label=line.label, **look)


def level_handle(level: Level) -> Line2D:
    """Return a level's entry in a legend."""
    look: dict[str, Any] = {**style(level.look), "marker": ""}
    return Line2D([], [], label=level.label, **look)


def _draw_line(axes: Any, line: Line, x: Axis) -> None:
    places = [place for place in line.places if place.y is not None]
    across = [x.categories.index(str(p.x)) if x.categories else p.x for p in places]
    more: dict[str, Any] = {"drawstyle": "steps-post"} if line.stairs else {}
    axes.plot(
        across, [place.y for place in places], clip_on=False, zorder=3, **style(line.look), **more
    )
    bars = _bars(places, along_x=False), _bars(places, along_x=True)
    if any(bar is not None for bar in bars):
        axes.errorbar(
            across,
            [place.y for place in places],
            yerr=bars[0],
            xerr=bars[1],
            fmt="none",
            ecolor=line.look.colour,
            elinewidth=0.7,
            alpha=0.7,
            zorder=2,
        )
    for at, place in zip(across, places, strict=True):
        if place.note:
            axes.annotate(
                place.note,
                (at, place.y),
                xytext=(5, -7),
                textcoords="offset points",
                fontsize=5.5,
                color="#404040",
            )


def _bars(places: Sequence[Place], *, along_x: bool) -> list[list[float]] | None:
    """Return how far the intervals reach below and above; None where there is none."""
    ends = [(p.x, p.x_low, p.x_high) if along_x else (p.y, p.low, p.high) for p in places]
    if all(low is None or high is None for _, low, high in ends):
        return None
    below = [0.0 if low is None else max(0.0, float(value or 0) - low) for value, low, _ in ends]
    above = [0.0 if high is None else max(0.0, high - float(value or 0)) for value, _, high in ends]
    return [below, above]


def _finish(ticks: Any, limit: Any, axis: Axis) -> None:
    ticks.set_label_text(axis.title)
    if axis.categories:
        ticks.set_ticks(range(len(axis.categories)), axis.categories)
    if axis.bounds is not None:
        limit(*axis.bounds)
    elif axis.from_zero:
        limit(0)
