"""The interactive charts of a report's page, those for which there is data."""

from __future__ import annotations

from typing import Any

from maskvd_cli.judge.baselines import CONTROLS
from maskvd_cli.judge.pareto import front
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.description import Axis, Line, Look, Panel, Place, front_line
from maskvd_cli.render.chart.panels import AXES, interval, panel_of
from maskvd_cli.render.chart.plotly import figure
from maskvd_cli.render.charting import MUTED, PAPER, Chart, Rows, known, point_rows, point_table
from maskvd_cli.render.cost_charts import ages, stages, without_accuracy
from maskvd_cli.render.styles import style_of

_PERCENT = (0.0, 100.0)


def charts(report: Report) -> list[Chart]:
    """Return the charts that a report has data for, in reading order."""
    rows = point_rows(report)
    drawn = [
        _against_latency(report, rows),
        _against_gmacs(report, rows),
        *([] if known(rows, "map50") else without_accuracy(report, rows)),
        stages(rows),
        ages(report),
    ]
    return [chart for chart in drawn if chart is not None]


def _against_latency(report: Report, rows: Rows) -> Chart | None:
    if not (shown := known(rows, "map50", "latency_mean_ms")):
        return None
    papers = _papers(report, rows, "paper_latency_ms", "ms")
    caption = _caption(shown, "mean latency, full frames weighted by their share") + (
        " Points with a dot inside are the papers' own, measured on other hardware."
        if papers
        else ""
    )
    drawn = _tradeoff(report, shown, "latency_mean_ms", papers)
    return Chart("map50-latency", "mAP50 against latency", caption, drawn)


def _against_gmacs(report: Report, rows: Rows) -> Chart | None:
    if not (shown := known(rows, "map50", "gmacs")):
        return None
    papers = _papers(report, rows, "paper_gmacs", "GMACs")
    # Published values are only comparable under the counter that made them.
    column = "gmacs_published" if papers else "gmacs"
    caption = _caption(shown, "1e9 multiply-accumulates of the backbone") + (
        " Points with a dot inside are the papers' own, on their own data and weights."
        if papers
        else ""
    )
    drawn = _tradeoff(report, shown, column, papers)
    return Chart("map50-gmacs", "mAP50 against GMACs", caption, drawn)


def _tradeoff(report: Report, rows: Rows, cost: str, papers: list[Line]) -> dict[str, Any]:
    """Return quality against a cost with the front below and the papers' points above."""
    panel = panel_of(point_table(report), cost, "map50", hover=True, free=True)
    lines = [_front(rows, cost), *panel.lines, *papers]
    return figure(Panel(panel.x, Axis(AXES["map50"].title, bounds=_PERCENT), lines))


def _caption(rows: Rows, cost: str) -> str:
    text = f"mAP50 in percent against {cost}; left and up is better. Dashed: the Pareto front."
    if any(change.low is not None for row in rows if (change := interval(row, "map50_change"))):
        text += " Bars: 95 % interval of the change of mAP50 against dense, paired over clips."
    return text


def _front(rows: Rows, cost: str) -> Line:
    """Return the Pareto front, controls aside."""
    rows = [row for row in rows if row["method"] not in CONTROLS]
    costs, qualities = ([float(row[name]) for row in rows] for name in (cost, "map50"))
    chosen = zip(costs, qualities, front(costs, qualities), strict=True)
    return front_line([Place(at, reached) for at, reached, is_on in chosen if is_on], MUTED)


def _papers(report: Report, rows: Rows, x: str, unit: str) -> list[Line]:
    """Return the published points at a cost, a line without strokes for each; none where none."""
    printed: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in known(rows, x, "paper_map50"):
        printed.setdefault((row["method"], row[x], row["paper_map50"]), row)
    return [
        Line(
            "papers",
            PAPER,
            _printed(str(row["method"])),
            [Place(row[x], row["paper_map50"], hover=_paper_hover(report, row, x, unit))],
        )
        for row in printed.values()
    ]


def _printed(method: str) -> Look:
    style = style_of(method)
    return Look(style.colour, style.mark, hollow=True, dash=None, dot=True)


def _paper_hover(report: Report, row: dict[str, Any], x: str, unit: str) -> tuple[str, ...]:
    hardware = report.published[row["key"]].hardware or "hardware that the paper does not name"
    return (
        str(row["name"]),
        f"printed in {row['paper']}, {row['paper_table']}",
        f"mAP50 {row['paper_map50']:g} %, {row[x]:g} {unit}",
        f"on {hardware}",
    )
