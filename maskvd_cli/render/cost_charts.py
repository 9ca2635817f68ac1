"""Charts of what frames cost: time by part, mAP50 by age, and GMACs where nothing was measured."""

from __future__ import annotations

from html import escape
from typing import Any

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.charting import (
    TEXT,
    AllSeries,
    Chart,
    Rows,
    bars_layout,
    joined,
    known,
    layout,
    marker,
    scatter,
    wrapped,
)
from maskvd_cli.store.measured import AgeAccuracy

_PARTS = (
    ("mask", "#aa3377"), ("embed", "#228833"), ("backbone", "#4477aa"), ("head", "#b8860b"),
)  # fmt: skip
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_COUNTER = "GMACs, papers' counter"


def without_accuracy(rows: Rows, series: AllSeries) -> list[Chart]:
    """Return what stands where no mAP50 is known: latency against GMACs, and GMACs themselves."""
    return [
        *_latency_against_gmacs(rows, series),
        *_gmacs_by_keep_rate(rows, series),
        *_gmacs_by_point(rows),
    ]


def _latency_against_gmacs(rows: Rows, series: AllSeries) -> list[Chart]:
    if not (found := known(rows, "latency_mean_ms", "gmacs")):
        return []
    made = layout("backbone GMACs per frame", "latency per frame, mean (ms)")
    for axis in ("xaxis", "yaxis"):
        made[axis]["rangemode"] = "tozero"
    caption = (
        "Mean time per frame against 1e9 multiply-accumulates of the backbone. A method on the "
        "straight line from the origin to dense would turn every saved product into saved time."
    )
    figure = {"data": scatter(found, series, "gmacs", "latency_mean_ms"), "layout": made}
    return [Chart("latency-gmacs", "Latency against GMACs", caption, figure)]


def _gmacs_by_keep_rate(rows: Rows, series: AllSeries) -> list[Chart]:
    found = known(rows, "static_keep_rate", "gmacs_published")
    if len({row["static_keep_rate"] for row in found}) < 2:
        return []
    made = layout("static keep rate k_s", _COUNTER)
    made["yaxis"]["rangemode"] = "tozero"
    traces = scatter(found, series, "static_keep_rate", "gmacs_published")
    for nth, trace in enumerate(traces):
        trace["line"]["dash"] = _DASHES[nth % len(_DASHES)]
    caption = "What the static mask lets through against cost, one line per version and period."
    figure = {"data": traces, "layout": made}
    return [Chart("gmacs-keep-rate", "GMACs against the static keep rate", caption, figure)]


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


def ages(report: Report, rows: Rows, series: AllSeries) -> Chart | None:
    """Return mAP50 by frames since the last full one; None where all frames are full.

    Points without any full frame carry nothing from frame to frame and are left out.
    """
    found = [(row, _by_age(report, row["key"])) for row in rows if row["full_frame_share"]]
    found = [(row, ages) for row, ages in found if len(ages) > 1]
    if not found:
        return None
    order = {age.first: _span(age) for _, ages in found for age in ages}
    buckets = [order[first] for first in sorted(order)]
    drawn: dict[str, int] = {}
    traces: list[dict[str, Any]] = []
    for row, by_age in found:
        of = series[row["model"], row["method"]]
        nth = drawn[of.group] = drawn.get(of.group, -1) + 1
        traces.append({
            "type": "scatter", "mode": "lines+markers", "legendgroup": of.group,
            "name": escape(row["name"], quote=False), "marker": marker(of, 7),
            "x": [_span(age) for age in by_age], "y": [age.map50 for age in by_age],
            "line": {**joined(of), "dash": _DASHES[nth % len(_DASHES)]}, "hoverinfo": "text",
            "hovertext": [_age_text(row, age) for age in by_age],
        })  # fmt: skip
    made = layout("frames since the last full frame", "mAP50 (%)")
    made["yaxis"] |= {"minallowed": 0, "maxallowed": 100}
    made["xaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": buckets}
    caption = (
        "How fast results grow stale, one line per point: mAP50 of the frames alone that lie so "
        "many frames after a full one. Buckets hold different frames, so compare points within one."
    )
    cells = [[row["name"], *_age_cells(by_age, buckets)] for row, by_age in found]
    figure = {"data": traces, "layout": made}
    title = "mAP50 against frame age"
    return Chart("ages", title, caption, figure, headers=("point", *buckets), cells=cells)


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


def _age_text(row: dict[str, Any], age: AgeAccuracy) -> str:
    score = "without objects" if age.map50 is None else f"mAP50 {age.map50:.2f} %"
    lines = [f"age {_span(age)}: {score}", f"{age.frames} frames, {age.objects} objects"]
    return "<br>".join([f"<b>{wrapped(row['name'])}</b>", *lines])


def _age_cells(by_age: list[AgeAccuracy], buckets: list[str]) -> list[str]:
    found = {_span(age): "" if age.map50 is None else f"{age.map50:.2f}" for age in by_age}
    return [found.get(bucket, "") for bucket in buckets]
