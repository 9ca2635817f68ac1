"""The interactive charts of a report's page, those for which there is data."""

from __future__ import annotations

from typing import Any

from maskvd_cli.judge.pareto import front
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.description import Axis, Line, Look, Panel, Place, front_line
from maskvd_cli.render.chart.panels import axis_of, bounds_of, interval, panel_of
from maskvd_cli.render.chart.plotly import figure
from maskvd_cli.render.charting import (
    MUTED,
    PAPER,
    Chart,
    Rows,
    known,
    point_rows,
    point_table,
)
from maskvd_cli.render.cost_charts import ages, stages, without_scores
from maskvd_cli.render.styles import style_of


def charts(report: Report) -> list[Chart]:
    """Return the charts that a report has data for, in reading order."""
    rows = point_rows(report)
    headline = report.legend.headline
    scored = [] if headline is None else known(rows, headline)
    drawn = [
        _against_latency(report, scored),
        _against_gmacs(report, scored),
        *([] if scored else without_scores(report, rows)),
        stages(rows, report.legend),
        ages(report),
    ]
    return [chart for chart in drawn if chart is not None]


def _against_latency(report: Report, rows: Rows) -> Chart | None:
    if not (shown := known(rows, "latency_mean_ms")):
        return None
    papers = _papers(report, rows, "paper_latency_ms", "ms")
    caption = _caption(report, shown, "mean latency, full frames weighted by their share")
    caption += (
        " Dashed: the Pareto front, against time as a share of the session's own "
        f"{report.legend.baseline_name or 'baseline'}, but for what is noise."
    )
    if papers:
        caption += " Points with a dot inside are the papers' own, measured on other hardware."
    fronts = _fronts(report, shown, "latency_mean_ms", [bool(row["on_front"]) for row in shown])
    drawn = _tradeoff(report, "latency_mean_ms", fronts, papers)
    legend = report.legend
    return Chart(f"{legend.headline}-latency", f"{legend.quality} against latency", caption, drawn)


def _against_gmacs(report: Report, rows: Rows) -> Chart | None:
    if not (shown := known(rows, "gmacs")):
        return None
    papers = _papers(report, rows, "paper_gmacs", "GMACs")
    # Published values are only comparable under the counter that made them.
    column = "gmacs_published" if papers and known(shown, "gmacs_published") else "gmacs"
    caption = _caption(report, shown, "1e9 multiply-accumulates of the backbone")
    caption += " Dashed: the Pareto front of these values as they are."
    if papers:
        caption += " Points with a dot inside are the papers' own, on their own data and weights."
    shown = known(shown, column)
    fronts = _fronts(report, shown, column, _counted_front(report, shown, column))
    drawn = _tradeoff(report, column, fronts, papers)
    legend = report.legend
    return Chart(f"{legend.headline}-gmacs", f"{legend.quality} against GMACs", caption, drawn)


def _tradeoff(report: Report, cost: str, fronts: list[Line], papers: list[Line]) -> dict[str, Any]:
    """Return quality against a cost with the fronts below and the papers' points above."""
    legend = report.legend
    headline = str(legend.headline)
    panel = panel_of(point_table(report), cost, headline, legend, hover=True, free=True)
    up = Axis(axis_of(headline, legend).title, bounds=bounds_of(legend))
    return figure(Panel(panel.x, up, [*fronts, *panel.lines, *papers]))


def _caption(report: Report, rows: Rows, cost: str) -> str:
    legend = report.legend
    unit = legend.quantities[str(legend.headline)].unit if legend.quantities else ""
    quality = f"{legend.quality} in percent" if unit == "%" else legend.quality
    better = "left and up" if legend.more_is_better else "left and down"
    text = f"{quality} against {cost}; {better} is better."
    changes = (interval(row, str(legend.change)) for row in rows)
    if any(change is not None and change.low is not None for change in changes):
        text += (
            f" Bars: 95 % interval of the change of {legend.quality} against {legend.baseline}, "
            "paired over videos."
        )
    return text


def _counted_front(report: Report, rows: Rows, cost: str) -> list[bool]:
    """Tell of each row whether it is on the front of its model and input; counts have no noise."""
    on_front = [False] * len(rows)
    sign = 1.0 if report.legend.more_is_better else -1.0
    for where in _sites(report, rows).values():
        costs = [float(rows[place][cost]) for place in where]
        qualities = [sign * float(rows[place][str(report.legend.headline)]) for place in where]
        for place, is_on in zip(where, front(costs, qualities), strict=True):
            on_front[place] = is_on
    return on_front


def _fronts(report: Report, rows: Rows, cost: str, on_front: list[bool]) -> list[Line]:
    """Return the front of each model and input: the best that is reached at each cost."""
    lines: list[Line] = []
    best = max if report.legend.more_is_better else min
    for where in _sites(report, rows).values():
        chosen = sorted(
            (float(rows[place][cost]), float(rows[place][str(report.legend.headline)]))
            for place in where
            if on_front[place]
        )
        reached = [best(y for _, y in chosen[: last + 1]) for last in range(len(chosen))]
        places = [Place(x, y) for (x, _), y in zip(chosen, reached, strict=True)]
        if places:
            lines.append(front_line(places, MUTED))
    return lines


def _sites(report: Report, rows: Rows) -> dict[tuple[Any, Any], list[int]]:
    """Return the places of the rows of each model and input, controls aside."""
    sites: dict[tuple[Any, Any], list[int]] = {}
    for place, row in enumerate(rows):
        if row["method"] not in report.legend.controls:
            sites.setdefault((row["model"], row["input"]), []).append(place)
    return sites


def _papers(report: Report, rows: Rows, x: str, unit: str) -> list[Line]:
    """Return the published points at a cost, each as a line of one place."""
    printed: dict[tuple[Any, ...], dict[str, Any]] = {}
    quality = f"paper_{report.legend.headline}"
    for row in known(rows, x, quality):
        printed.setdefault((row["method"], row[x], row[quality]), row)
    return [
        Line(
            "papers",
            PAPER,
            _printed(report, str(row["method"])),
            [Place(row[x], row[quality], hover=_paper_hover(report, row, x, unit))],
        )
        for row in printed.values()
    ]


def _printed(report: Report, method: str) -> Look:
    style = style_of(method, report.legend)
    return Look(style.colour, style.mark, hollow=True, dash=None, dot=True)


def _paper_hover(report: Report, row: dict[str, Any], x: str, unit: str) -> tuple[str, ...]:
    hardware = report.published[row["key"]].hardware or "hardware that the paper does not name"
    legend = report.legend
    unit_of = legend.quantities[str(legend.headline)].unit if legend.quantities else ""
    printed = f"{legend.quality} {row[f'paper_{legend.headline}']:g} {unit_of}".rstrip()
    return (
        str(row["name"]),
        f"printed in {row['paper']}, {row['paper_table']}",
        f"{printed}, {row[x]:g} {unit}",
        f"on {hardware}",
    )
