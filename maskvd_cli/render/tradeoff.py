"""Picture: mAP50 against latency and against GMACs, one line per method and model."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from maskvd_cli.core.errors import UsageError
from maskvd_cli.judge.measured import subset_text
from maskvd_cli.judge.rows import Report, has_tradeoff
from maskvd_cli.render.styles import style_of
from maskvd_cli.store.atomic import write_atomic

_DOTS_PER_INCH = 150
_SIZE_INCHES = (11.0, 4.8)
_PANELS = (
    ("latency_mean_ms", "latency per frame, mean (ms)"),
    ("gmacs", "backbone GMACs per frame, mean"),
)


def draw_tradeoff(path: Path, report: Report) -> None:
    """Write the picture, PNG or SVG by the file's suffix.

    Raises UsageError where no point has both mAP50 and latency.
    """
    rows = _drawn(report)
    if rows.empty:
        raise UsageError(
            f"{report.run.folder} holds no point with mAP50 and latency",
            remedy="give the recipe model.weights, a file, and measure accuracy and latency",
        )
    figure = Figure(_SIZE_INCHES)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, len(_PANELS), sharey=True)
    several = rows["model"].nunique() > 1
    for axis, (column, name) in zip(axes, _PANELS, strict=True):
        for (model, method), group in rows.groupby(["model", "method"], sort=False):
            first = model == rows["model"].iloc[0]
            _draw_series(axis, group, str(method), column, first=first)
        axis.set_xlabel(name)
        axis.margins(x=0.06)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("mAP50 (%)")
    found = rows.groupby(["model", "method"], sort=False).size().index
    handles = [
        _handle(method, model == rows["model"].iloc[0], f"{method}, {model}" if several else method)
        for model, method in found
    ]
    figure.legend(handles=handles, loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(_title(report), fontsize=10)
    kind = path.suffix.lstrip(".").lower() or "png"
    write_atomic(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=_DOTS_PER_INCH))


def _drawn(report: Report) -> pd.DataFrame:
    return report.rows[has_tradeoff(report.rows)]


def _draw_series(axis: Any, group: pd.DataFrame, method: str, column: str, *, first: bool) -> None:
    style = style_of(method)
    colour, mark = style.colour, style.mark
    ordered = group.sort_values("gmacs")
    for _, line in ordered.groupby(ordered["period"].fillna(0), sort=True):
        axis.plot(
            line[column].astype(float), line["map50"].astype(float), color=colour, marker=mark,
            markersize=11 if method == "dense" else 6, linewidth=1.0, alpha=0.9,
            linestyle="-" if first else ":", markerfacecolor=colour if first else "white",
        )  # fmt: skip


def _handle(method: str, first: bool, label: str) -> Line2D:
    style = style_of(method)
    colour, mark = style.colour, style.mark
    return Line2D(
        [], [], color=colour, marker=mark, linestyle="-" if first else ":", label=label,
        markerfacecolor=colour if first else "white",
    )  # fmt: skip


def _title(report: Report) -> str:
    dataset = report.setting["dataset"]
    text = f"{report.plan.recipe}: {dataset['name']} {dataset['split']}"
    subset = subset_text(report.setting)
    return f"{text} (SUBSET: {subset})" if subset else text
