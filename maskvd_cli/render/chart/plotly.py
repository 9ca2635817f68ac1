"""Panels as plain data that plotly.js draws on a page."""

from __future__ import annotations

from html import escape
from typing import Any

from maskvd_cli.render.chart.description import Axis, Line, Look, Panel, Place
from maskvd_cli.render.charting import TEXT, layout, wrapped

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = {
    "o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down",
    "*": "star", "P": "cross", "X": "x", "x": "x-thin", "h": "hexagon",
    "p": "pentagon", "d": "diamond-tall", "<": "triangle-left", ">": "triangle-right",
}  # fmt: skip
_MARK_PIXELS, _STAR_PIXELS = 9, 5
_LINE_CHARS = 44


def figure(panel: Panel) -> dict[str, Any]:
    """Return data and layout of a panel as plotly.js takes them; text is escaped."""
    drawn = layout(panel.x.title, panel.y.title)
    drawn["xaxis"] |= _axis(panel.x)
    drawn["yaxis"] |= _axis(panel.y)
    return {"data": [trace(line) for line in panel.lines], "layout": drawn}


def trace(line: Line) -> dict[str, Any]:
    """Return a line with its marks, intervals and hover texts."""
    places, hovers = line.places, any(place.hover for place in line.places)
    return {
        "type": "scatter",
        "mode": _mode(line.look),
        "name": escape(line.label, quote=False),
        "legendgroup": line.group,
        "x": [place.x for place in places],
        "y": [place.y for place in places],
        **({"marker": marker(line.look)} if line.look.mark else {}),
        **({"line": _stroke(line)} if line.look.dash is not None else {}),
        **({"hovertext": [hover(place) for place in places]} if hovers else {}),
        "hoverinfo": "text" if hovers else "skip",
        **_error(line, "error_y", [(p.y, p.low, p.high) for p in places]),
        **_error(line, "error_x", [(p.x, p.x_low, p.x_high) for p in places]),
    }


def hover(place: Place) -> str:
    """Return what a place's hover box says, its name in bold."""
    first, *rest = place.hover or ("",)
    return "<br>".join([f"<b>{wrapped(first)}</b>", *map(_value_line, rest)])


def _value_line(line: str) -> str:
    """Return a line whole where a phone has room for it."""
    return escape(line, quote=False) if len(line) <= _LINE_CHARS else wrapped(line)


def marker(look: Look) -> dict[str, Any]:
    """Return the mark; filled ones have an edge, since some colours are pale."""
    symbol, size = SYMBOLS[look.mark], _MARK_PIXELS * (1.0 if look.mark == "*" else look.size)
    if look.dot:
        symbol = f"{symbol.removesuffix('-thin')}-open-dot"
        return {"symbol": symbol, "color": look.colour, "size": 12, "line": {"width": 1.5}}
    if symbol.endswith("thin"):
        line: dict[str, Any] = {"color": look.colour, "width": 2}
        return {"symbol": symbol, "color": look.colour, "size": size, "line": line}
    if look.hollow:
        symbol = f"{symbol}-open"
        return {"symbol": symbol, "color": look.colour, "size": size, "line": {"width": 2}}
    size = size + _STAR_PIXELS if look.mark == "*" else size
    line = {"color": TEXT, "width": 0.7}
    return {"symbol": symbol, "color": look.colour, "size": size, "line": line}


def _mode(look: Look) -> str:
    if not look.mark:
        return "lines"
    return "markers" if look.dash is None else "lines+markers"


def _stroke(line: Line) -> dict[str, Any]:
    dash = _DASHES[(line.look.dash or 0) % len(_DASHES)]
    shape = {"shape": "hv"} if line.stairs else {}
    return {"color": line.look.colour, "width": 1.6 if line.stairs else 1.3, "dash": dash, **shape}


def _error(line: Line, name: str, ends: list[tuple[Any, float | None, float | None]]) -> Any:
    """Return the intervals along one axis as bars; nothing where no place has one."""
    bars = [
        None if low is None or high is None else (max(0.0, value - low), max(0.0, high - value))
        for value, low, high in ends
    ]
    if not any(bars):
        return {}
    return {
        name: {
            "type": "data", "symmetric": False, "color": line.look.colour, "thickness": 1,
            "width": 3, "array": [bar[1] if bar else None for bar in bars],
            "arrayminus": [bar[0] if bar else None for bar in bars],
        }
    }  # fmt: skip


def _axis(axis: Axis) -> dict[str, Any]:
    if axis.categories:
        order = list(axis.categories)
        return {"type": "category", "categoryorder": "array", "categoryarray": order}
    if axis.bounds is not None:
        return {"minallowed": axis.bounds[0], "maxallowed": axis.bounds[1]}
    return {"rangemode": "tozero"} if axis.from_zero else {}
