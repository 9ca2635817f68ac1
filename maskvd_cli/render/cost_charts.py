"""Charts of what frames cost: time by part, mAP50 by age, and GMACs where nothing was measured."""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.description import Axis, Line, Look, Panel, Place
from maskvd_cli.render.chart.lines import strands_of
from maskvd_cli.render.chart.panels import AXES, panel_of
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
from maskvd_cli.store.measured import AgeAccuracy

_PARTS = (
    ("mask", "#aa3377"), ("embed", "#228833"), ("backbone", "#4477aa"), ("head", "#b8860b"),
)  # fmt: skip


def without_accuracy(report: Report, rows: Rows) -> list[Chart]:
    """Return what stands where no mAP50 is known: latency against GMACs, and GMACs themselves."""
    return [
        *_latency_against_gmacs(report, rows),
        *_gmacs_by_keep_rate(report, rows),
        *_gmacs_by_point(rows),
    ]


def _latency_against_gmacs(report: Report, rows: Rows) -> list[Chart]:
    if not known(rows, "latency_mean_ms", "gmacs"):
        return []
    panel = panel_of(point_table(report), "gmacs", "latency_mean_ms", hover=True)
    caption = (
        "Mean time per frame against 1e9 multiply-accumulates of the backbone. A method on the "
        "straight line from the origin to dense would turn every saved product into saved time."
    )
    return [Chart("latency-gmacs", "Latency against GMACs", caption, figure(panel))]


def _gmacs_by_keep_rate(report: Report, rows: Rows) -> list[Chart]:
    shown = known(rows, "static_keep_rate", "gmacs_published")
    if len({row["static_keep_rate"] for row in shown}) < 2:
        return []
    panel = panel_of(point_table(report), "static_keep_rate", "gmacs_published", hover=True)
    caption = "What the static mask lets through against cost, one line per version and period."
    title = "GMACs against the static keep rate"
    return [Chart("gmacs-keep-rate", title, caption, figure(panel))]


def _gmacs_by_point(rows: Rows) -> list[Chart]:
    if not (found := known(rows, "gmacs_published")):
        return []
    names = [row["name"] for row in found]
    places = list(range(len(found)))
    traces: list[dict[str, Any]] = [{
        "type": "bar", "orientation": "h", "name": "ours", "y": places,
        "x": [row["gmacs_published"] for row in found],
        "marker": {"color": "#4477aa"}, "hoverinfo": "text",
        "hovertext": [_gmacs_text(row) for row in found],
    }]  # fmt: skip
    printed = [(place, row) for place, row in zip(places, found, strict=True) if row["paper_gmacs"]]
    if printed:
        traces.append({
            "type": "scatter", "mode": "markers", "name": "printed in the paper",
            "x": [row["paper_gmacs"] for _, row in printed], "y": [place for place, _ in printed],
            "marker": {"symbol": "line-ns", "size": 20, "line": {"width": 2.5, "color": TEXT}},
            "hoverinfo": "text",
            "hovertext": [f"printed: {row['paper_gmacs']:g} GMACs" for _, row in printed],
        })  # fmt: skip
    made = bars_layout(names, "GMACs")
    caption = "Cost of the backbone under the papers' counter, mean over frames." + (
        " Upright strokes: what the paper prints." if printed else ""
    )
    figure = {"data": traces, "layout": made}
    return [Chart("gmacs-points", "GMACs by point", caption, figure, grouped=False)]


def _gmacs_text(row: dict[str, Any]) -> str:
    lines = [f"{row['gmacs_published']:.2f} GMACs", f"{row['tokens']:.1f} tokens per frame"]
    return "<br>".join([f"<b>{wrapped(row['name'])}</b>", *lines])


def stages(rows: Rows) -> Chart | None:
    """Return the mean time of a frame's parts as stacked bars; None where it was not measured."""
    if not (found := known(rows, "backbone_ms")):
        return None
    traces = [
        {
            "type": "bar", "orientation": "h", "name": part, "y": list(range(len(found))),
            "x": [row[f"{part}_ms"] or 0.0 for row in found], "marker": {"color": colour},
            "hovertext": [
                f"<b>{wrapped(row['name'])}</b><br>{part} {row[f'{part}_ms'] or 0.0:.2f} ms"
                for row in found
            ],
            "hoverinfo": "text",
        }
        for part, colour in _PARTS
    ]  # fmt: skip
    made = bars_layout([row["name"] for row in found], "ms per frame")
    made["barmode"] = "stack"
    cells = [
        [row["name"], *(f"{row[f'{part}_ms'] or 0.0:.2f}" for part, _ in _PARTS)] for row in found
    ]
    caption = (
        "Where a frame's time goes: choosing tokens ahead (mask), patch embedding with copying, "
        "backbone, and pyramid with RPN and box head. Means over the timed frames, full ones "
        "weighted by their share of all the data's frames."
    )
    headers = ("point", *(f"{part} ms" for part, _ in _PARTS))
    figure = {"data": traces, "layout": made}
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
    """Return mAP50 by frames since the last full one; None where all frames are full.

    Points without any full frame carry nothing from frame to frame and are left out.
    """
    table = point_table(report)
    shown: list[tuple[Line, list[AgeAccuracy]]] = []
    for strand in strands_of(table[table["full_frame_share"] > 0]):
        for _, row in strand.rows.iterrows():
            of_point = _by_age(report, str(row["key"]))
            if len(of_point) > 1:
                nth = sum(line.group == strand.group for line, _ in shown)
                shown.append(
                    (
                        _age_line(str(row["name"]), strand.group, strand.look, nth, of_point),
                        of_point,
                    )
                )
    if not shown:
        return None
    order = {age.first: _span(age) for _, of_point in shown for age in of_point}
    buckets = tuple(order[first] for first in sorted(order))
    across = Axis("frames since the last full frame", categories=buckets)
    panel = Panel(across, Axis(AXES["map50"].title, bounds=(0, 100)), [line for line, _ in shown])
    caption = (
        "How fast results grow stale, one line per point: mAP50 of the frames alone that lie so "
        "many frames after a full one. Buckets hold different frames, so compare points within one."
    )
    position = {str(name): at for at, name in enumerate(report.names)}
    ordered = sorted(shown, key=lambda one: position[one[0].label])
    cells = [[line.label, *_age_cells(of_point, buckets)] for line, of_point in ordered]
    headers = ("point", *buckets)
    title = "mAP50 against frame age"
    return Chart("ages", title, caption, figure(panel), headers=headers, cells=cells)


def _age_line(name: str, group: str, look: Look, nth: int, of_point: list[AgeAccuracy]) -> Line:
    own = Look(look.colour, look.mark, look.hollow, nth, 0.8)
    places = [Place(_span(age), age.map50, hover=_age_text(name, age)) for age in of_point]
    return Line(name, group, own, places)


def _by_age(report: Report, key: str) -> list[AgeAccuracy]:
    """Return a point's scores by age; a damaged file is told among the report's warnings."""
    try:
        record = report.run.measured("accuracy", key)
    except ResultError:
        return []
    return record.accuracy.by_age if record is not None and record.accuracy is not None else []


def _span(age: AgeAccuracy) -> str:
    if age.last is None:
        return f"{age.first} and more"
    return str(age.first) if age.first == age.last else f"{age.first} to {age.last}"


def _age_text(name: str, age: AgeAccuracy) -> tuple[str, ...]:
    score = "without objects" if age.map50 is None else f"mAP50 {age.map50:.2f} %"
    return name, f"age {_span(age)}: {score}", f"{age.frames} frames, {age.objects} objects"


def _age_cells(by_age: list[AgeAccuracy], buckets: tuple[str, ...]) -> list[str]:
    found = {_span(age): "" if age.map50 is None else f"{age.map50:.2f}" for age in by_age}
    return [found.get(bucket, "") for bucket in buckets]
