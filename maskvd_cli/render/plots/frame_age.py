"""Figure of staleness: mAP50 by how many frames ago the last full one was."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.description import Axis, Level, Line, Look, Panel, Place
from maskvd_cli.render.chart.lines import Strand, strands_of
from maskvd_cli.render.chart.panels import AXES
from maskvd_cli.render.chart.pyplot import draw_panel, handle, level_handle
from maskvd_cli.render.plots.page import NothingToDrawError, column, entitle, legend
from maskvd_cli.store.measured import AgeAccuracy

_DENSE = "dense"
_VARIED = (("r", "r"), ("static_keep_rate", "k_s"), ("param_keep_rate", "keep rate"))


def frame_age(report: Report) -> Figure:
    """Draw mAP50 over frame age, the cheapest point of each line, and dense on all frames."""
    # Without any full frame nothing is carried from one frame to the next, and nothing ages.
    rows = report.rows[report.rows["map50"].notna() & (report.rows["full_frame_share"] > 0)]
    drawn: list[tuple[Strand, list[AgeAccuracy]]] = []
    levels: list[Level] = []
    for strand in strands_of(rows):
        if strand.method == _DENSE:
            levels.append(_level(strand))
        elif len(ages := _ages(report, strand.rows.iloc[0]["key"])) > 1:
            drawn.append((strand, ages))
    if not drawn:
        raise NothingToDrawError("no point has mAP50 at more than one frame age")
    spans = sorted({(age.first, age.last) for _, ages in drawn for age in ages})
    across = Axis(
        "frames since the last full frame", categories=tuple(_span(*span) for span in spans)
    )
    panel = Panel(across, AXES["map50"], [_line(*one) for one in drawn], levels)
    figure = column(2.7)
    draw_panel(figure.subplots(), panel)
    handles = [*map(level_handle, levels), *map(handle, panel.lines)]
    entitle(figure, report, "of each method and period the setting with the fewest tokens")
    legend(figure, handles)
    return figure


def _ages(report: Report, key: str) -> list[AgeAccuracy]:
    """Return a point's scores by age; a damaged file has none, and the report tells of it."""
    try:
        record = report.run.measured("accuracy", key)
    except ResultError:
        return []
    if record is None or record.accuracy is None:
        return []
    return [age for age in record.accuracy.by_age if age.map50 is not None]


def _level(strand: Strand) -> Level:
    dash = 1 + (strand.number + (strand.first is False)) % 2
    look = Look(strand.look.colour, strand.look.mark, strand.look.hollow, dash)
    return Level(float(strand.rows.iloc[0]["map50"]), f"{strand.label} (all frames)", look)


def _line(strand: Strand, ages: Sequence[AgeAccuracy]) -> Line:
    row = strand.rows.iloc[0]
    varied = [f"{name} = {row[column]:g}" for column, name in _VARIED if pd.notna(row[column])]
    places = [Place(_span(age.first, age.last), age.map50) for age in ages]
    return Line(", ".join([strand.label, *varied]), strand.group, strand.look, places)


def _span(first: int, last: int | None) -> str:
    if last is None:
        return f"{first}+"
    return str(first) if first == last else f"{first}-{last}"
