"""Figure of staleness: mAP50 by how many frames ago the last full one was."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.plots.curves import AXES
from maskvd_cli.render.plots.page import NothingToDrawError, column, entitle, legend
from maskvd_cli.render.plots.series import Series, series_of
from maskvd_cli.store.measured import AgeAccuracy

_DENSE = "dense"
_VARIED = (("r", "r"), ("static_keep_rate", "k_s"), ("param_keep_rate", "keep rate"))


def frame_age(report: Report) -> Figure:
    """Draw mAP50 over frame age, the cheapest point of each line, and dense on all frames."""
    # Without any full frame nothing is carried from one frame to the next, and nothing ages.
    rows = report.rows[report.rows["map50"].notna() & (report.rows["full_frame_share"] > 0)]
    drawn: list[tuple[Series, list[AgeAccuracy]]] = []
    references: list[Series] = []
    for line in series_of(rows):
        if line.method == _DENSE:
            references.append(line)
        elif len(ages := _ages(report, line.rows.iloc[0]["key"])) > 1:
            drawn.append((line, ages))
    if not drawn:
        raise NothingToDrawError("no point has mAP50 at more than one frame age")
    names = sorted({(age.first, age.last) for _, ages in drawn for age in ages})
    place = {name: position for position, name in enumerate(names)}
    figure = column(2.7)
    axis: Any = figure.subplots()
    handles = [_dense(axis, line) for line in references]
    handles += [_curve(axis, line, ages, place) for line, ages in drawn]
    axis.set_xticks(range(len(names)), [_bucket(first, last) for first, last in names])
    axis.set_xlabel("frames since the last full frame")
    axis.set_ylabel(AXES["map50"])
    axis.grid(alpha=0.25, linewidth=0.5)
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


def _dense(axis: Any, line: Series) -> Line2D:
    dashes = ("--", ":")[(line.number + (line.first is False)) % 2]
    look: dict[str, Any] = {**line.look(), "marker": "", "linestyle": dashes}
    axis.axhline(float(line.rows.iloc[0]["map50"]), zorder=1, **look)
    return Line2D([], [], label=f"{line.label} (all frames)", **look)


def _curve(
    axis: Any, line: Series, ages: Sequence[AgeAccuracy], place: dict[tuple[int, int | None], int]
) -> Line2D:
    across = [place[age.first, age.last] for age in ages]
    axis.plot(across, [age.map50 for age in ages], clip_on=False, zorder=3, **line.look())
    row = line.rows.iloc[0]
    told = [f"{name} = {row[column]:g}" for column, name in _VARIED if pd.notna(row[column])]
    return Line2D([], [], label=", ".join([line.label, *told]), **line.look())


def _bucket(first: int, last: int | None) -> str:
    if last is None:
        return f"{first}+"
    return str(first) if first == last else f"{first}-{last}"
