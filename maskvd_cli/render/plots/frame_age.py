"""Figure of staleness: the headline by how many frames ago the last full one was."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from maskvd_cli.judge.ages import Age, ages_of
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.description import Axis, Level, Line, Look, Panel, Place
from maskvd_cli.render.chart.lines import Strand, strands_of
from maskvd_cli.render.chart.panels import axis_of
from maskvd_cli.render.chart.pyplot import draw_panel, handle, level_handle
from maskvd_cli.render.plots.page import NothingToDrawError, column, entitle
from maskvd_cli.render.plots.page import legend as page_legend

_VARIED = (("r", "r"), ("static_keep_rate", "k_s"), ("param_keep_rate", "keep rate"))


def frame_age(report: Report) -> Figure:
    """Draw the headline over frame age, the cheapest point of each line; the baseline as levels."""
    legend, headline = report.legend, str(report.legend.headline)
    # Without any full frame nothing is carried from one frame to the next, and nothing ages.
    rows = report.rows[report.rows["full_frame_share"] > 0]
    rows = rows[rows[headline].notna()] if legend.headline else rows.iloc[:0]
    drawn: list[tuple[Strand, list[Age]]] = []
    levels: list[Level] = []
    for strand in strands_of(rows, legend):
        if strand.method == legend.baseline_name:
            levels.append(_level(strand, headline))
        elif len(ages := _ages(report, str(strand.rows.iloc[0]["key"]))) > 1:
            drawn.append((strand, ages))
    if not drawn:
        raise NothingToDrawError(f"no point has {legend.quality} at more than one frame age")
    spans = sorted({(age.first, age.last) for _, ages in drawn for age in ages})
    across = Axis(
        "frames since the last full frame", categories=tuple(_span(*span) for span in spans)
    )
    panel = Panel(across, axis_of(headline, legend), [_line(*one) for one in drawn], levels)
    figure = column(2.7)
    draw_panel(figure.subplots(), panel)
    handles = [*map(level_handle, levels), *map(handle, panel.lines)]
    entitle(figure, report, "of each method and period the setting with the fewest tokens")
    page_legend(figure, handles)
    return figure


def _ages(report: Report, key: str) -> list[Age]:
    return [age for age in ages_of(report, key) if age.score is not None]


def _level(strand: Strand, headline: str) -> Level:
    dash = 1 + (strand.number + (strand.first is False)) % 2
    look = Look(strand.look.colour, strand.look.mark, strand.look.hollow, dash)
    return Level(float(strand.rows.iloc[0][headline]), f"{strand.label} (all frames)", look)


def _line(strand: Strand, ages: Sequence[Age]) -> Line:
    row = strand.rows.iloc[0]
    varied = [f"{name} = {row[column]:g}" for column, name in _VARIED if pd.notna(row[column])]
    places = [Place(_span(age.first, age.last), age.score) for age in ages]
    return Line(", ".join([strand.label, *varied]), strand.group, strand.look, places)


def _span(first: int, last: int | None) -> str:
    if last is None:
        return f"{first}+"
    return str(first) if first == last else f"{first}-{last}"
