"""The interactive charts of a report's page, those for which there is data."""

from __future__ import annotations

from typing import Any

from maskvd_cli.judge.baselines import CONTROLS
from maskvd_cli.judge.pareto import front
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.charting import (
    FRONT,
    MUTED,
    PAPER,
    AllSeries,
    Chart,
    Rows,
    interval,
    known,
    layout,
    point_rows,
    scatter,
    series_of,
    wrapped,
)
from maskvd_cli.render.cost_charts import ages, stages, without_accuracy
from maskvd_cli.render.styles import style_of

_LATENCY = "latency per frame, mean (ms)"
_GMACS = "backbone GMACs per frame"
_PAPERS_GMACS = "backbone GMACs per frame, papers' counter"


def charts(report: Report) -> list[Chart]:
    """Return the charts that a report has data for, in reading order."""
    rows, series = point_rows(report), series_of(report)
    made = [
        _against_latency(report, rows, series),
        _against_gmacs(report, rows, series),
        *([] if known(rows, "map50") else without_accuracy(rows, series)),
        stages(rows),
        ages(report, rows, series),
    ]
    return [chart for chart in made if chart is not None]


def _against_latency(report: Report, rows: Rows, series: AllSeries) -> Chart | None:
    if not (found := known(rows, "map50", "latency_mean_ms")):
        return None
    papers = _papers(report, rows, "paper_latency_ms", "ms")
    traces = [_front(found, "latency_mean_ms"), *scatter(found, series, "latency_mean_ms", "map50")]
    caption = _caption(found, "mean latency, full frames weighted by their share") + (
        " Points with a dot inside are the papers' own, measured on other hardware."
        if papers
        else ""
    )
    figure = {"data": [*traces, *papers], "layout": _tradeoff_layout(_LATENCY)}
    return Chart("map50-latency", "mAP50 against latency", caption, figure)


def _against_gmacs(report: Report, rows: Rows, series: AllSeries) -> Chart | None:
    if not (found := known(rows, "map50", "gmacs")):
        return None
    papers = _papers(report, rows, "paper_gmacs", "GMACs")
    # Published values are only comparable under the counter that made them.
    column = "gmacs_published" if papers else "gmacs"
    traces = [_front(found, column), *scatter(found, series, column, "map50")]
    caption = _caption(found, "1e9 multiply-accumulates of the backbone") + (
        " Points with a dot inside are the papers' own, on their own data and weights."
        if papers
        else ""
    )
    x_title = _PAPERS_GMACS if papers else _GMACS
    figure = {"data": [*traces, *papers], "layout": _tradeoff_layout(x_title)}
    return Chart("map50-gmacs", "mAP50 against GMACs", caption, figure)


def _caption(rows: Rows, cost: str) -> str:
    text = f"mAP50 in percent against {cost}; left and up is better. Dashed: the Pareto front."
    if any(change.low is not None for row in rows if (change := interval(row, "map50_change"))):
        text += " Bars: 95 % interval of the change of mAP50 against dense, paired over clips."
    return text


def _tradeoff_layout(x_title: str) -> dict[str, Any]:
    made = layout(x_title, "mAP50 (%)")
    made["yaxis"] |= {"minallowed": 0, "maxallowed": 100}
    return made


def _front(rows: Rows, x: str) -> dict[str, Any]:
    """Return the Pareto front as a staircase: what is reached at each cost, controls aside."""
    rows = [row for row in rows if row["method"] not in CONTROLS]
    cost, quality = ([float(row[name]) for row in rows] for name in (x, "map50"))
    chosen = zip(cost, quality, front(cost, quality), strict=True)
    steps = sorted((at, reached) for at, reached, is_on in chosen if is_on)
    return {
        "type": "scatter", "mode": "lines", "name": "Pareto front", "legendgroup": FRONT,
        "x": [at for at, _ in steps], "y": [reached for _, reached in steps],
        "line": {"color": MUTED, "width": 1.6, "dash": "dash", "shape": "hv"},
        "hoverinfo": "skip",
    }  # fmt: skip


def _papers(report: Report, rows: Rows, x: str, unit: str) -> list[dict[str, Any]]:
    """Return the published points at a cost as one trace; none where papers tell none."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in known(rows, x, "paper_map50"):
        found.setdefault((row["method"], row[x], row["paper_map50"]), row)
    if not found:
        return []
    shown = list(found.values())
    styles = [style_of(row["method"]) for row in shown]
    return [
        {
            "type": "scatter", "mode": "markers", "name": "papers", "legendgroup": PAPER,
            "x": [row[x] for row in shown], "y": [row["paper_map50"] for row in shown],
            "hovertext": [_paper_hover(report, row, f"{row[x]:g} {unit}") for row in shown],
            "hoverinfo": "text",
            "marker": {
                "symbol": [f"{style.symbol.removesuffix('-thin')}-open-dot" for style in styles],
                "color": [style.colour for style in styles],
                "size": 12, "line": {"width": 1.5},
            },
        }
    ]  # fmt: skip


def _paper_hover(report: Report, row: dict[str, Any], cost: str) -> str:
    hardware = report.published[row["key"]].hardware or "hardware that the paper does not name"
    return "<br>".join([
        f"<b>{wrapped(row['name'])}</b>",
        wrapped(f"printed in {row['paper']}, {row['paper_table']}"),
        f"mAP50 {row['paper_map50']:g} %, {cost}",
        wrapped(f"on {hardware}"),
    ])  # fmt: skip
