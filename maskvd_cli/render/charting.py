"""What interactive charts share: figures as plain data, colours, axes, texts on hovering."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

from maskvd_cli.judge.measured import Interval
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.styles import Style, style_of

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif'
TEXT, MUTED, GRID, SURFACE = "#1b1f24", "#59636e", "#dde2e8", "#ffffff"
CLEAR = "rgba(0,0,0,0)"
# Figures are made for a light page; there, each of these colours is replaced on a dark one.
DARK = {
    TEXT: "#e6e9ee", MUTED: "#a3adba", GRID: "#37404c", SURFACE: "#1a1f26",
    "#000000": "#f5f5f5", "#555555": "#aab3bd", "#7f7f7f": "#9aa2ab", "#0072b2": "#2b8fd0",
    "#aa3377": "#cf5fa0", "#4477aa": "#6699cc",
}  # fmt: skip
FRONT, PAPER = "front", "paper"
_NAME_WIDTH = 26
_LINE_PIXELS = 13


@dataclass(frozen=True)
class Series:
    """What the legend lists once and switches in all charts: a method, with one model."""

    group: str
    style: Style
    hollow: bool


Rows = Sequence[dict[str, Any]]
AllSeries = dict[tuple[str | None, str], Series]


@dataclass(frozen=True)
class Chart:
    """One figure with what stands around it.

    `figure`: data and layout as plotly.js takes them. `headers`, `cells`: the same as a table,
    where the table of points does not hold it. `grouped`: whether the page's legend switches it.
    `keys`: what its colours mean, where that legend does not tell.
    """

    name: str
    title: str
    caption: str
    figure: dict[str, Any]
    grouped: bool = True
    headers: tuple[str, ...] = ()
    cells: list[list[str]] = field(default_factory=lambda: [])
    keys: tuple[tuple[str, str], ...] = ()


def point_rows(report: Report) -> list[dict[str, Any]]:
    """Return the rows of finished points, None where a value is missing, with `name`."""
    rows = report.rows.astype(object).where(report.rows.notna(), None).assign(name=report.names)
    found: list[dict[str, Any]] = rows.to_dict(orient="records")  # pyright: ignore[reportAssignmentType]
    return [row for row in found if row["status"] == "ok"]


def series_of(report: Report) -> AllSeries:
    """Return the series of a report by model and method; models after the first are hollow."""
    models = list(dict.fromkeys(report.rows["model"].where(report.rows["model"].notna(), None)))
    found: AllSeries = {}
    for row in point_rows(report):
        model, method = row["model"], row["method"]
        group = f"{method}, {model}" if len(models) > 1 else method
        found.setdefault((model, method), Series(group, style_of(method), model != models[0]))
    return found


def known(rows: Rows, *columns: str) -> list[dict[str, Any]]:
    """Return the rows that have a value in all of these columns."""
    return [row for row in rows if all(row[column] is not None for column in columns)]


def marker(series: Series, size: int = 9) -> dict[str, Any]:
    """Return the mark of a series; filled ones have an edge, since some colours are pale."""
    style = series.style
    if style.symbol.endswith("thin"):
        line = {"color": style.colour, "width": 2}
        return {"symbol": style.symbol, "color": style.colour, "size": size, "line": line}
    if series.hollow:
        line = {"width": 2}
        return {"symbol": f"{style.symbol}-open", "color": style.colour, "size": size, "line": line}
    line = {"color": TEXT, "width": 0.7}
    size = size + 5 if style.symbol == "star" else size
    return {"symbol": style.symbol, "color": style.colour, "size": size, "line": line}


def layout(x_title: str, y_title: str, height: int = 400) -> dict[str, Any]:
    """Return a layout with both axes, transparent, without a legend."""
    axis = {
        "gridcolor": GRID, "linecolor": MUTED, "zerolinecolor": GRID, "automargin": True,
        "ticks": "outside", "tickcolor": GRID,
    }  # fmt: skip
    return {
        "height": height, "paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR, "showlegend": False,
        "font": {"family": FONT, "size": 13, "color": TEXT}, "hovermode": "closest",
        "margin": {"l": 52, "r": 14, "t": 12, "b": 46},
        "hoverlabel": {
            "bgcolor": SURFACE, "bordercolor": MUTED, "align": "left",
            "font": {"family": FONT, "size": 12, "color": TEXT},
        },
        "modebar": {"bgcolor": CLEAR, "color": MUTED, "activecolor": TEXT},
        "xaxis": {**axis, "title": {"text": x_title}},
        "yaxis": {**axis, "title": {"text": y_title}},
    }  # fmt: skip


def bars_layout(names: Sequence[str], x_title: str) -> dict[str, Any]:
    """Return a layout of horizontal bars, the first name on top; bars lie at 0, 1, 2, ..."""
    most = max(len(_lines(name)) for name in names)
    made = layout(x_title, "", 90 + (10 + _LINE_PIXELS * max(most, 2)) * len(names))
    made["bargap"] = 0.3
    made["xaxis"]["rangemode"] = "tozero"
    made["yaxis"] |= {
        "tickvals": list(range(len(names))), "ticktext": [wrapped(name) for name in names],
        "tickfont": {"size": 10.5}, "range": [len(names) - 0.5, -0.5], "showgrid": False,
        "title": {"text": ""}, "fixedrange": True,
    }  # fmt: skip
    return made


def wrapped(name: str) -> str:
    """Return a name on lines short enough for a phone, escaped for plotly's own markup."""
    return "<br>".join(escape(line, quote=False) for line in _lines(name))


def _lines(name: str) -> list[str]:
    return textwrap.wrap(name, _NAME_WIDTH, break_on_hyphens=False)


def scatter(rows: Rows, series: AllSeries, x: str, y: str) -> list[dict[str, Any]]:
    """Return one trace per model, method, version and period, its points joined by their cost."""
    lines: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("model", "method", "version", "period"))
        lines.setdefault(key, []).append(row)
    traces: list[dict[str, Any]] = []
    for (model, method, *_), line in lines.items():
        ordered = sorted(line, key=lambda row: row["gmacs"] or 0.0)
        found = series[model, method]
        traces.append({
            "type": "scatter", "mode": "lines+markers", "legendgroup": found.group,
            "name": escape(found.group, quote=False),
            "x": [row[x] for row in ordered], "y": [row[y] for row in ordered],
            "marker": marker(found), "line": joined(found),
            "hovertext": [hover(row) for row in ordered], "hoverinfo": "text",
            **(_error_bars(ordered, found.style.colour) if y == "map50" else {}),
        })  # fmt: skip
    return traces


def joined(series: Series) -> dict[str, Any]:
    """Return the line between the points of a series."""
    dash = "dot" if series.hollow else "solid"
    return {"color": series.style.colour, "width": 1.3, "dash": dash}


def _error_bars(rows: Rows, colour: str) -> dict[str, Any]:
    """Return the interval of the change of mAP50 as a bar around mAP50; none without intervals."""
    bars = [_bar(row) for row in rows]
    if not any(bars):
        return {}
    return {
        "error_y": {
            "type": "data", "symmetric": False, "color": colour, "thickness": 1, "width": 3,
            "array": [bar[1] if bar else None for bar in bars],
            "arrayminus": [bar[0] if bar else None for bar in bars],
        }
    }  # fmt: skip


def _bar(row: dict[str, Any]) -> tuple[float, float] | None:
    """Return how far the interval of the change reaches below and above its value."""
    change = interval(row, "map50_change")
    if change is None or change.low is None or change.high is None:
        return None
    return max(0.0, change.value - change.low), max(0.0, change.high - change.value)


def hover(row: dict[str, Any]) -> str:
    """Return what a point's hover box says: its name, then every value that it has."""
    return "<br>".join([f"<b>{wrapped(row['name'])}</b>", *_hover_lines(row)])


def _hover_lines(row: dict[str, Any]) -> Iterator[str]:
    if row["map50"] is not None:
        yield f"mAP50 {row['map50']:.2f} %"
    if change := interval(row, "map50_change"):
        yield f"change {change.text('+.2f')} points"
    if row["latency_mean_ms"] is not None:
        yield f"latency {row['latency_mean_ms']:.2f} ms, mean"
    if speedup := interval(row, "speedup"):
        yield f"speed-up {speedup.text('.2f')}"
    if row["gmacs"] is not None:
        yield f"{row['gmacs']:.2f} GMACs, {row['gmacs_published']:.2f} by the papers' counter"
        yield f"{row['tokens']:.1f} tokens ({100 * row['keep_rate']:.1f} %)"


def interval(row: dict[str, Any], name: str) -> Interval | None:
    """Return a row's value with its interval, None where there is no value."""
    if row[name] is None or pd.isna(row[name]):
        return None
    return Interval(row[name], row[f"{name}_low"], row[f"{name}_high"])
