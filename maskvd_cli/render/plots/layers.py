"""Figure of layers: what part of the tokens each block computes, and how well it chooses.

After Figures 5 (patch density) and 2 (foreground selectivity) of arXiv 2604.00827.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.description import Axis, Level, Line, Look, Panel, Place
from maskvd_cli.render.chart.lines import Strand, strands_of
from maskvd_cli.render.chart.pyplot import draw_panel, handle, level_handle
from maskvd_cli.render.plots.page import NothingToDrawError, column, entitle
from maskvd_cli.render.plots.page import legend as page_legend
from maskvd_cli.store.layers import Layers, feature_selectivity_of, layers_of

_CHANCE = Level(0.5, "chance", Look("#7f7f7f", "", dash=2))


def layers(report: Report) -> Figure:
    """Draw tokens and selectivity over blocks, of each line the point with the fewest tokens.

    Beside the scores that blocks choose by, stands what the features of the baseline tell, where it
    ran on the same model and input.
    """
    rows = report.rows[report.rows["keep_rate"].notna()]
    drawn = [
        (strand, float(strand.rows.iloc[0]["tokens"] / strand.rows.iloc[0]["keep_rate"]), found)
        for strand in strands_of(rows, report.legend)
        if (found := _layers(report, str(strand.rows.iloc[0]["key"]))) is not None
    ]
    if not drawn:
        raise NothingToDrawError("no point tells what each block computes")
    depth = max(len(found.tokens) for _, _, found in drawn)
    across = Axis("block", categories=tuple(str(number) for number in range(depth)))
    density = [_line(strand, found.tokens / area) for strand, area, found in drawn]
    panels = [Panel(across, Axis("tokens computed (share)", bounds=(0, 1.05)), density)]
    chosen = [
        _line(strand, found.selectivity)
        for strand, _, found in drawn
        if not np.isnan(found.selectivity).all()
    ]
    beside = _beside(report, rows, [strand for strand, _, _ in drawn])
    if chosen or beside:
        up = Axis("foreground selectivity", bounds=(0, 1.05))
        panels.append(Panel(across, up, [*beside, *chosen], [_CHANCE]))
    figure = column(0.5 + 1.6 * len(panels))
    axes: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=True):
        draw_panel(axis, panel)
    for axis in axes.flat[:-1]:
        axis.set_xlabel("")
    entitle(figure, report, "of each method the setting with the fewest tokens")
    levels = [level_handle(_CHANCE)] if len(panels) > 1 else []
    page_legend(figure, [*map(handle, [*density, *beside]), *levels])
    return figure


def _beside(report: Report, rows: pd.DataFrame, drawn: Sequence[Strand]) -> list[Line]:
    """Return what the baseline's features tell, of each model and input that is drawn."""
    places = {_place(strand) for strand in drawn}
    lines: list[Line] = []
    for strand in strands_of(rows, report.legend):
        if strand.method == report.legend.baseline_name and _place(strand) in places:
            samples = _samples(report, str(strand.rows.iloc[0]["key"]))
            found = None if samples is None else feature_selectivity_of(samples)
            if found is not None:
                line = _line(strand, found)
                lines.append(replace(line, label=f"{line.label}: its features"))
    return lines


def _place(strand: Strand) -> tuple[str, str]:
    row = strand.rows.iloc[0]
    return str(row["model"]), str(row["input"])


def _layers(report: Report, key: str) -> Layers | None:
    samples = _samples(report, key)
    return None if samples is None else layers_of(samples)


def _samples(report: Report, key: str) -> pd.DataFrame | None:
    """Return a point's samples; a damaged file tells nothing here."""
    try:
        return report.run.samples(key)
    except ResultError:
        return None


def _line(strand: Strand, values: Sequence[float] | NDArray[np.float64]) -> Line:
    places = [
        Place(str(number), float(value))
        for number, value in enumerate(values)
        if not math.isnan(value)
    ]
    return Line(strand.label, strand.group, strand.look, places)
