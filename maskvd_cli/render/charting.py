"""What interactive charts share: figures as plain data, colours, axes, texts on hovering."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

from maskvd_cli.judge.rows import Report, records_of

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif'
TEXT, MUTED, GRID, SURFACE = "#1b1f24", "#59636e", "#dde2e8", "#ffffff"
CLEAR = "rgba(0,0,0,0)"
# Figures are made for a light page; there, each of these colours is replaced on a dark one.
DARK = {
    TEXT: "#e6e9ee", MUTED: "#a3adba", GRID: "#37404c", SURFACE: "#1a1f26",
    "#000000": "#f5f5f5", "#555555": "#aab3bd", "#7f7f7f": "#9aa2ab", "#0072b2": "#2b8fd0",
    "#aa3377": "#cf5fa0", "#4477aa": "#6699cc", "#332288": "#8f83e0", "#117733": "#3fae66",
    "#882255": "#d0609a",
}  # fmt: skip
FRONT, PAPER = "front", "paper"
_NAME_WIDTH = 26
_LINE_PIXELS = 13


Rows = Sequence[dict[str, Any]]


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


def point_table(report: Report) -> pd.DataFrame:
    """Return the rows of finished points with the column `name`."""
    rows = report.rows.assign(name=report.names)
    return rows[rows["status"] == "ok"]


def point_rows(report: Report) -> list[dict[str, Any]]:
    """Return the rows of finished points, None where a value is missing, with `name`."""
    return records_of(point_table(report))


def known(rows: Rows, *columns: str) -> list[dict[str, Any]]:
    """Return the rows that have a value in all of these columns."""
    return [row for row in rows if all(row[column] is not None for column in columns)]


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
