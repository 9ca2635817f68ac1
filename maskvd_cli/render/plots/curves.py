"""Figures of curves: what points give up and gain, over tokens, GMACs, latency and frame age."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from maskvd_cli.judge.rows import Report
from maskvd_cli.render.plots.page import SMALL, NothingToDrawError, column, entitle, legend
from maskvd_cli.render.plots.series import series_of

# Column, and what stands at its axis; latencies are means over full and masked frames.
AXES = {
    "map50": "mAP50 (%)",
    "gmacs": "GMACs per frame (backbone)",
    "latency_mean_ms": "mean latency per frame (ms)",
    "peak_mib": "peak memory (MiB)",
    "keep_rate": "recomputed tokens (% of all)",
}
_NARROW = {
    **AXES,
    "gmacs": "GMACs per frame",
    "latency_mean_ms": "latency per frame (ms)",
    "keep_rate": "recomputed tokens (%)",
}
_PERCENT = 100.0


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
            f"r = {row['r']}", (float(row["gmacs"]), float(row["map50"])), xytext=(5, -7),
            textcoords="offset points", fontsize=SMALL - 1, color="#404040",
        )  # fmt: skip
    return figure


def comparison(report: Report) -> Figure:
    """Draw mAP50, GMACs, latency and peak memory over tokens (MaskVD's kind of Figure 6)."""
    rows = report.rows[report.rows["keep_rate"].notna()]
    shown = [name for name in ("map50", "gmacs", "latency_mean_ms", "peak_mib") if _any(rows, name)]
    if len(shown) < 2:
        raise NothingToDrawError("neither mAP50 nor latency nor peak memory was measured")
    rows = rows[rows[shown].notna().any(axis=1)]
    lines = series_of(rows)
    high = -(-len(shown) // 2)
    figure = column(0.5 + 1.7 * high)
    axes: Any = figure.subplots(high, 2, squeeze=False)
    for axis, name in zip(axes.flat, shown, strict=False):
        for line in lines:
            line.draw(axis, "keep_rate", name, _PERCENT)
        _finish(axis, _NARROW, name)
        axis.set_xlim(0, 105)
        axis.set_xlabel(_NARROW["keep_rate"])
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    entitle(figure, report)
    legend(figure, [line.handle() for line in lines])
    return figure


def evit(report: Report) -> Figure:
    """Draw mAP50 and latency over tokens for EViT and MaskVD on its model (MaskVD's Figure 7)."""
    rows = report.rows[report.rows["keep_rate"].notna() & report.rows["map50"].notna()]
    dropping = rows[rows["method"].isin(["evit", "maskvd+evit"])]
    if dropping.empty:
        raise NothingToDrawError("no evit or maskvd+evit point with mAP50")
    rows = _at_sites(rows, dropping, ["dense", "maskvd", "evit", "maskvd+evit"])
    shown = ["map50"] + (["latency_mean_ms"] if _any(rows, "latency_mean_ms") else [])
    lines = series_of(rows)
    figure = column(0.5 + 1.6 * len(shown))
    axes: Any = figure.subplots(len(shown), 1, sharex=True, squeeze=False)
    for axis, name in zip(axes.flat, shown, strict=True):
        for line in lines:
            line.draw(axis, "keep_rate", name, _PERCENT)
        _finish(axis, AXES, name)
        axis.set_xlim(0, 105)
    axes.flat[-1].set_xlabel(AXES["keep_rate"])
    entitle(figure, report, f"model {', '.join(rows['model'].unique())}")
    legend(figure, [line.handle() for line in lines])
    return figure


def _one_panel(report: Report, rows: pd.DataFrame, across: str) -> Figure:
    lines = series_of(rows)
    figure = column(2.6)
    axis: Any = figure.subplots()
    for line in lines:
        line.draw(axis, across, "map50")
    _finish(axis, AXES, "map50")
    axis.set_xlabel(AXES[across])
    entitle(figure, report)
    legend(figure, [line.handle() for line in lines])
    return figure


def _finish(axis: Any, names: Mapping[str, str], name: str) -> None:
    axis.set_ylabel(names[name])
    axis.grid(alpha=0.25, linewidth=0.5)
    # Costs begin at zero, so that heights can be compared; accuracies lie close together.
    if name != "map50":
        axis.set_ylim(bottom=0)


def _any(rows: pd.DataFrame, name: str) -> bool:
    return bool(rows[name].notna().any())


def _with(report: Report, *columns: str) -> pd.DataFrame:
    """Return the rows that have all these columns. Raises NothingToDrawError where none has."""
    rows = report.rows[report.rows[list(columns)].notna().all(axis=1)]
    if rows.empty:
        names = " and ".join(AXES[name].partition(" (")[0] for name in columns)
        raise NothingToDrawError(f"no point has {names}")
    return rows


def _at_sites(rows: pd.DataFrame, chosen: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """Return the rows of these methods on the models and inputs of the chosen rows."""
    sites = chosen[["model", "input"]].drop_duplicates()
    here = rows[["model", "input"]].merge(sites, how="left", indicator=True)["_merge"] == "both"
    return rows[here.to_numpy() & rows["method"].isin(methods)]
