"""Charts of what frames cost: time by part, headline by age, GMACs where nothing was measured."""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.words import counted
from maskvd_cli.judge.ages import Age, ages_of
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.description import Axis, Line, Look, Panel, Place
from maskvd_cli.render.chart.lines import Strand, strands_of
from maskvd_cli.render.chart.panels import axis_of, bounds_of, panel_of
from maskvd_cli.render.chart.plotly import figure
from maskvd_cli.render.charting import (
    TEXT,
    Chart,
    Rows,
    bars_layout,
    known,
    point_table,
    wrapped,
)

_PARTS = (
    ("mask", "#aa3377"), ("embed", "#228833"), ("backbone", "#4477aa"), ("head", "#b8860b"),
)  # fmt: skip


def without_scores(report: Report, rows: Rows) -> list[Chart]:
    """Return the charts of a run without a headline: latency against GMACs, GMACs themselves."""
    return [
        *_latency_against_gmacs(report, rows),
        *_gmacs_by_keep_rate(report, rows),
        *_gmacs_by_point(rows),
    ]


def _latency_against_gmacs(report: Report, rows: Rows) -> list[Chart]:
    if not known(rows, "latency_mean_ms", "gmacs"):
        return []
    panel = panel_of(point_table(report), "gmacs", "latency_mean_ms", report.legend, hover=True)
    caption = (
        "Mean time per frame against 1e9 multiply-accumulates of the backbone. A method on the "
        f"straight line from the origin to {report.legend.baseline} would turn every saved product "
        "into saved time."
    )
    return [Chart("latency-gmacs", "Latency against GMACs", caption, figure(panel))]


def _gmacs_by_keep_rate(report: Report, rows: Rows) -> list[Chart]:
    shown = known(rows, "static_keep_rate", "gmacs_published")
    if len({row["static_keep_rate"] for row in shown}) < 2:
        return []
    panel = panel_of(
        point_table(report), "static_keep_rate", "gmacs_published", report.legend, hover=True
    )
    caption = "What the static mask lets through against cost, one line per version and period."
    title = "GMACs against the static keep rate"
    return [Chart("gmacs-keep-rate", title, caption, figure(panel))]


def _gmacs_by_point(rows: Rows) -> list[Chart]:
    if not (costed := known(rows, "gmacs_published")):
        return []
    names = [row["name"] for row in costed]
    places = list(range(len(costed)))
    traces: list[dict[str, Any]] = [{
        "type": "bar", "orientation": "h", "name": "ours", "y": places,
        "x": [row["gmacs_published"] for row in costed],
        "marker": {"color": "#4477aa"}, "hoverinfo": "text",
        "hovertext": [_gmacs_text(row) for row in costed],
    }]  # fmt: skip
    placed = zip(places, costed, strict=True)
    printed = [(place, row) for place, row in placed if row["paper_gmacs"]]
    if printed:
        traces.append({
            "type": "scatter", "mode": "markers", "name": "printed in the paper",
            "x": [row["paper_gmacs"] for _, row in printed], "y": [place for place, _ in printed],
            "marker": {"symbol": "line-ns", "size": 20, "line": {"width": 2.5, "color": TEXT}},
            "hoverinfo": "text",
            "hovertext": [f"printed: {row['paper_gmacs']:g} GMACs" for _, row in printed],
        })  # fmt: skip
    bars = bars_layout(names, "GMACs")
    caption = "Cost of the backbone under the papers' counter, mean over frames." + (
        " Upright strokes: what the paper prints." if printed else ""
    )
    figure = {"data": traces, "layout": bars}
    return [Chart("gmacs-points", "GMACs by point", caption, figure, grouped=False)]


def _gmacs_text(row: dict[str, Any]) -> str:
    lines = [f"{row['gmacs_published']:.2f} GMACs", f"{row['tokens']:.1f} tokens per frame"]
    return "<br>".join([f"<b>{wrapped(row['name'])}</b>", *lines])


def stages(rows: Rows, legend: Legend) -> Chart | None:
    """Return the mean time of a frame's parts as stacked bars; None where it was not measured."""
    if not (shown := known(rows, "backbone_ms")):
        return None
    traces = [
        {
            "type": "bar", "orientation": "h", "name": part, "y": list(range(len(shown))),
            "x": [row[f"{part}_ms"] or 0.0 for row in shown], "marker": {"color": colour},
            "hovertext": [
                f"<b>{wrapped(row['name'])}</b><br>{part} {row[f'{part}_ms'] or 0.0:.2f} ms"
                for row in shown
            ],
            "hoverinfo": "text",
        }
        for part, colour in _PARTS
    ]  # fmt: skip
    bars = bars_layout([row["name"] for row in shown], "ms per frame")
    bars["barmode"] = "stack"
    cells = [
        [row["name"], *(f"{row[f'{part}_ms'] or 0.0:.2f}" for part, _ in _PARTS)] for row in shown
    ]
    caption = (
        "Where a frame's time goes: choosing tokens ahead (mask), patch embedding with copying, "
        "backbone, and pyramid with RPN and box head. Means over the timed frames, full ones "
        "weighted by their share of all the data's frames."
    )
    headers = ("point", *(legend.header(f"{part}_ms") for part, _ in _PARTS))
    figure = {"data": traces, "layout": bars}
    return Chart(
        "stages",
        "Time by part",
        caption,
        figure,
        grouped=False,
        headers=headers,
        cells=cells,
        keys=_PARTS,
    )


def ages(report: Report) -> Chart | None:
    """Return the headline by frames since the last full one; None where all frames are full.

    Points without any full frame carry nothing from frame to frame and are left out.
    """
    table, legend = point_table(report), report.legend
    shown: list[tuple[Line, list[Age]]] = []
    for strand in strands_of(table[table["full_frame_share"] > 0], legend):
        for _, row in strand.rows.iterrows():
            of_point = ages_of(report, str(row["key"]))
            if len(of_point) > 1:
                nth = sum(line.group == strand.group for line, _ in shown)
                line = _age_line(report, str(row["name"]), strand, nth, of_point)
                shown.append((line, of_point))
    if not shown:
        return None
    order = {age.first: _span(age) for _, of_point in shown for age in of_point}
    buckets = tuple(order[first] for first in sorted(order))
    across = Axis("frames since the last full frame", categories=buckets)
    up = Axis(axis_of(str(legend.headline), legend).title, bounds=bounds_of(legend))
    panel = Panel(across, up, [line for line, _ in shown])
    caption = (
        f"How fast results grow stale, one line per point: {legend.quality} of the frames alone "
        "that lie so many frames after a full one. Buckets hold different frames, so compare "
        "points within one."
    )
    position = {str(name): at for at, name in enumerate(report.names)}
    ordered = sorted(shown, key=lambda one: position[one[0].label])
    cells = [[line.label, *_age_cells(legend, of_point, buckets)] for line, of_point in ordered]
    headers = ("point", *buckets)
    title = f"{legend.quality} against frame age"
    return Chart("ages", title, caption, figure(panel), headers=headers, cells=cells)


def _age_line(report: Report, name: str, strand: Strand, nth: int, of_point: list[Age]) -> Line:
    own = Look(strand.look.colour, strand.look.mark, strand.look.hollow, nth, 0.8)
    places = [
        Place(_span(age), age.score, hover=_age_text(report.legend, name, age)) for age in of_point
    ]
    return Line(name, strand.group, own, places)


def _span(age: Age) -> str:
    if age.last is None:
        return f"{age.first} and more"
    return str(age.first) if age.first == age.last else f"{age.first} to {age.last}"


def _age_text(legend: Legend, name: str, age: Age) -> tuple[str, ...]:
    score = "without objects"
    if age.score is not None:
        value = legend.text(str(legend.headline), age.score)
        unit = " %" if bounds_of(legend) else ""
        score = f"{legend.quality} {value}{unit}"
    return (
        name,
        f"age {_span(age)}: {score}",
        f"{counted(age.frames, 'frame')}, {counted(age.objects, 'object')}",
    )


def _age_cells(legend: Legend, by_age: list[Age], buckets: tuple[str, ...]) -> list[str]:
    headline = str(legend.headline)
    cells = {
        _span(age): "" if age.score is None else legend.text(headline, age.score) for age in by_age
    }
    return [cells.get(bucket, "") for bucket in buckets]
