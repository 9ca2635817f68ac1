"""Figures of curves: what points give up and gain, over tokens, GMACs, latency and frame age."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.panels import AXES, panel_of
from maskvd_cli.render.chart.pyplot import draw_panel, handle
from maskvd_cli.render.plots.page import SMALL, NothingToDrawError, column, entitle, legend


def map50_latency(report: Report) -> Figure:
    """Draw mAP50 against latency (MaskVD's kind of Figure 1)."""
    rows = _with(report, "map50", "latency_mean_ms")
    return _one_panel(report, rows, "latency_mean_ms")


def gates(report: Report) -> Figure:
    """Draw mAP50 against GMACs of token gates, with dense (Eventful Transformers' 7 and 8)."""
    rows = _with(report, "map50", "gmacs")
    gated = rows[rows["method"].isin(["eventful", "stgt"])]
    if gated.empty:
        raise NothingToDrawError("no eventful or stgt point with mAP50")
    rows = _at_sites(rows, gated, ["dense", "eventful", "stgt"])
    figure = _one_panel(report, rows, "gmacs")
    for _, row in rows[rows["r"].notna()].iterrows():
        figure.axes[0].annotate(
            f"r = {row['r']}",
            (float(row["gmacs"]), float(row["map50"])),
            xytext=(5, -7),
            textcoords="offset points",
            fontsize=SMALL - 1,
            color="#404040",
        )
    return figure


def comparison(report: Report) -> Figure:
    """Draw mAP50, GMACs, latency and peak memory over tokens (MaskVD's kind of Figure 6)."""
    rows = report.rows[report.rows["keep_rate"].notna()]
    shown = [name for name in ("map50", "gmacs", "latency_mean_ms", "peak_mib") if _any(rows, name)]
    if len(shown) < 2:
        raise NothingToDrawError("neither mAP50 nor latency nor peak memory was measured")
    rows = rows[rows[shown].notna().any(axis=1)]
    high = -(-len(shown) // 2)
    figure = column(0.5 + 1.7 * high)
    axes: Any = figure.subplots(high, 2, squeeze=False)
    for axis, name in zip(axes.flat, shown, strict=False):
        draw_panel(axis, panel_of(rows, "keep_rate", name))
        axis.set_xlabel("recomputed tokens (share)")
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    entitle(figure, report)
    legend(figure, [handle(line) for line in panel_of(rows, "keep_rate", "keep_rate").lines])
    return figure


def evit(report: Report) -> Figure:
    """Draw mAP50 and latency over tokens for EViT and MaskVD on its model (MaskVD's Figure 7)."""
    rows = report.rows[report.rows["keep_rate"].notna() & report.rows["map50"].notna()]
    dropping = rows[rows["method"].isin(["evit", "maskvd+evit"])]
    if dropping.empty:
        raise NothingToDrawError("no evit or maskvd+evit point with mAP50")
    rows = _at_sites(rows, dropping, ["dense", "maskvd", "evit", "maskvd+evit"])
    shown = ["map50"] + (["latency_mean_ms"] if _any(rows, "latency_mean_ms") else [])
    figure = column(0.5 + 1.6 * len(shown))
    axes: Any = figure.subplots(len(shown), 1, sharex=True, squeeze=False)
    panels = [panel_of(rows, "keep_rate", name) for name in shown]
    for axis, panel in zip(axes.flat, panels, strict=True):
        draw_panel(axis, panel)
    for axis in axes.flat[:-1]:
        axis.set_xlabel("")
    entitle(figure, report, f"model {', '.join(rows['model'].unique())}")
    legend(figure, [handle(line) for line in panels[0].lines])
    return figure


def _one_panel(report: Report, rows: pd.DataFrame, across: str) -> Figure:
    panel = panel_of(rows, across, "map50", free=True)
    figure = column(2.6)
    draw_panel(figure.subplots(), panel)
    entitle(figure, report)
    legend(figure, [handle(line) for line in panel.lines])
    return figure


def _any(rows: pd.DataFrame, name: str) -> bool:
    return bool(rows[name].notna().any())


def _with(report: Report, *columns: str) -> pd.DataFrame:
    """Return the rows that have all these columns. Raises NothingToDrawError where none has."""
    rows = report.rows[report.rows[list(columns)].notna().all(axis=1)]
    if rows.empty:
        names = " and ".join(
            AXES[name].title.partition(" (")[0].removesuffix(" per frame") for name in columns
        )
        raise NothingToDrawError(f"no point has {names}")
    return rows


def _at_sites(rows: pd.DataFrame, chosen: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """Return the rows of these methods on the models and inputs of the chosen rows."""
    sites = chosen[["model", "input"]].drop_duplicates()
    here = rows[["model", "input"]].merge(sites, how="left", indicator=True)["_merge"] == "both"
    return rows[here.to_numpy() & rows["method"].isin(methods)]
