"""Figures of curves: what points give up and gain, over tokens, GMACs, latency and frame age."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from maskvd_cli.judge.parameters import column_of
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.description import Panel
from maskvd_cli.render.chart.panels import axis_of, panel_of
from maskvd_cli.render.chart.pyplot import draw_panel, handle
from maskvd_cli.render.plots.page import NothingToDrawError, column, entitle, legend
from maskvd_cli.store.schema import StoredFigure


def headline_latency(report: Report) -> Figure:
    """Draw the headline against latency (MaskVD's kind of Figure 1)."""
    return _one_panel(
        report, _with(report, _headline(report), "latency_mean_ms"), "latency_mean_ms"
    )


def headline_gmacs(report: Report) -> Figure:
    """Draw the headline against the backbone's GMACs, with the intervals of its change."""
    return _drawn(report, cost_panel(report))


def cost_panel(report: Report) -> Panel:
    """Return the headline over GMACs: a line for each method, and for each model of several."""
    headline = _headline(report)
    return panel_of(_with(report, headline, "gmacs"), "gmacs", headline, report.legend, free=True)


def loss(report: Report) -> Figure:
    """Draw the change of the headline over the share of tokens that are pruned."""
    change = report.legend.change
    if change is None:
        raise NothingToDrawError("the plan names no headline")
    rows = _with(report, "keep_rate", change)
    rows = rows.assign(pruned=1 - rows["keep_rate"])
    return _one_panel(report, rows, "pruned", y=change)


def comparison(report: Report) -> Figure:
    """Draw headline, GMACs, latency and peak memory over tokens (MaskVD's kind of Figure 6)."""
    rows = report.rows[report.rows["keep_rate"].notna()]
    costs = ["gmacs", "latency_mean_ms", "peak_mib"]
    names = [*([report.legend.headline] if report.legend.headline else []), *costs]
    shown = [name for name in names if _any(rows, name)]
    if len(shown) < 2:
        raise NothingToDrawError(
            f"neither {report.legend.quality} nor latency nor peak memory was measured"
        )
    rows = rows[rows[shown].notna().any(axis=1)]
    high = -(-len(shown) // 2)
    figure = column(0.5 + 1.7 * high)
    axes: Any = figure.subplots(high, 2, squeeze=False)
    for axis, name in zip(axes.flat, shown, strict=False):
        draw_panel(axis, panel_of(rows, "keep_rate", name, report.legend))
        axis.set_xlabel("recomputed tokens (share)")
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    entitle(figure, report)
    every = panel_of(rows, "keep_rate", "keep_rate", report.legend)
    legend(figure, [handle(line) for line in every.lines])
    return figure


def of_kind(report: Report, wanted: StoredFigure, methods: Sequence[str]) -> Figure:
    """Draw the headline of methods of one kind over what their figure names.

    The baseline, and methods that the figure wants beside them, are drawn where they ran on the
    same models and inputs. Raises NothingToDrawError where none of the methods has a headline.
    """
    headline = _headline(report)
    known = report.rows[wanted.across].notna() & report.rows[headline].notna()
    rows = report.rows[known]
    chosen = rows[rows["method"].isin(methods)]
    if chosen.empty:
        raise NothingToDrawError(f"no {' or '.join(methods)} point with {report.legend.quality}")
    beside = [name for name in (report.legend.baseline_name, *wanted.beside) if name]
    rows = _at_sites(rows, chosen, [*beside, *methods])
    below = [name for name in wanted.below if name in rows and _any(rows, name)]
    if not below:
        return _one_panel(report, rows, wanted.across, wanted.labelled)
    figure = column(0.5 + 1.6 * (1 + len(below)))
    axes: Any = figure.subplots(1 + len(below), 1, sharex=True, squeeze=False)
    panels = [panel_of(rows, wanted.across, name, report.legend) for name in (headline, *below)]
    for axis, panel in zip(axes.flat, panels, strict=True):
        draw_panel(axis, panel)
    for axis in axes.flat[:-1]:
        axis.set_xlabel("")
    entitle(figure, report, f"model {', '.join(rows['model'].unique())}")
    legend(figure, [handle(line) for line in panels[0].lines])
    return figure


def _one_panel(
    report: Report,
    rows: pd.DataFrame,
    across: str,
    labelled: str | None = None,
    y: str | None = None,
) -> Figure:
    noted = None if labelled is None else column_of(labelled)
    noted = noted if noted in rows else None
    panel = panel_of(rows, across, y or _headline(report), report.legend, free=True, noted=noted)
    return _drawn(report, panel)


def _drawn(report: Report, panel: Panel) -> Figure:
    figure = column(2.6)
    draw_panel(figure.subplots(), panel)
    entitle(figure, report)
    legend(figure, [handle(line) for line in panel.lines])
    return figure


def _headline(report: Report) -> str:
    if report.legend.headline is None:
        raise NothingToDrawError("the plan names no headline")
    return report.legend.headline


def _any(rows: pd.DataFrame, name: str) -> bool:
    return bool(rows[name].notna().any())


def _with(report: Report, *columns: str) -> pd.DataFrame:
    """Return the rows that have all these columns. Raises NothingToDrawError where none has."""
    rows = report.rows[report.rows[list(columns)].notna().all(axis=1)]
    if rows.empty:
        titles = (axis_of(name, report.legend).title for name in columns)
        names = (title.partition(" (")[0].removesuffix(" per frame") for title in titles)
        raise NothingToDrawError(f"no point has {' and '.join(names)}")
    return rows


def _at_sites(rows: pd.DataFrame, chosen: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the rows of these methods on the models and inputs of the chosen rows."""
    sites = chosen[["model", "input"]].drop_duplicates()
    here = rows[["model", "input"]].merge(sites, how="left", indicator=True)["_merge"] == "both"
    return rows[here.to_numpy() & rows["method"].isin(methods)]
