"""Picture: the headline against latency and against GMACs, one line per method and model."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maskvd_cli.core.errors import UsageError
from maskvd_cli.judge.measured import subset_text
from maskvd_cli.judge.rows import Report, has_tradeoff
from maskvd_cli.render.chart.panels import panel_of
from maskvd_cli.render.chart.pyplot import draw_panel, handle, harmless
from maskvd_cli.store.atomic import write_atomic

_DOTS_PER_INCH = 150
_SIZE_INCHES = (11.0, 4.8)
_COSTS = ("latency_mean_ms", "gmacs")


def draw_tradeoff(path: Path, report: Report) -> None:
    """Write the picture, PNG or SVG by the file's suffix.

    Raises UsageError where no point has both headline and latency.
    """
    rows = _drawn(report)
    if rows.empty:
        raise UsageError(
            f"{report.run.folder} holds no point with {report.legend.quality} and latency",
            remedy="give the recipe model.weights, a file, and measure both",
        )
    figure = Figure(_SIZE_INCHES)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, len(_COSTS), sharey=True)
    panels = [
        panel_of(rows, cost, str(report.legend.headline), report.legend, free=True)
        for cost in _COSTS
    ]
    for axis, panel in zip(axes, panels, strict=True):
        draw_panel(axis, panel)
        axis.margins(x=0.06)
    axes[1].set_ylabel("")
    handles = [handle(line) for line in panels[0].lines]
    figure.legend(handles=handles, loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(_title(report), fontsize=10)
    harmless(figure)
    kind = path.suffix.lstrip(".").lower() or "png"
    write_atomic(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=_DOTS_PER_INCH))


def _drawn(report: Report) -> pd.DataFrame:
    return report.rows[has_tradeoff(report.rows, report.legend)]


def _title(report: Report) -> str:
    dataset = report.setting["dataset"]
    text = f"{report.plan.recipe}: {dataset['name']} {dataset['split']}"
    subset = subset_text(report.setting)
    return f"{text} (SUBSET: {subset})" if subset else text
