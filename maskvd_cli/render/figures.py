"""Pictures: heatmap, region scores and static mask side by side, as MaskVD's Figure 2."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from maskvd_cli.core.size import Size
from maskvd_cli.render.chart.pyplot import harmless
from maskvd_cli.store.atomic import write_atomic

_DOTS_PER_INCH = 150
_INCHES = 13.0
_BROADEST_ROW = 8.0


def draw_static_mask(  # noqa: PLR0913 - three panels and their captions
    path: Path,
    heatmap: NDArray[np.float64],
    scores: NDArray[np.float64],
    mask: NDArray[np.bool_],
    *,
    content: Size,
    patch: int,
    titles: tuple[str, str, str],
) -> None:
    """Write a PNG with the accumulated heatmap, the region scores and the static mask.

    `heatmap` (canvas rows, cols); `scores` and `mask` (token rows, cols). The part that covers the
    frame, `content` pixels, is drawn, padding is not.
    """
    shown = content.tiles(patch)
    aspects = (heatmap.shape[1] / heatmap.shape[0], *[shown.cols / shown.rows] * 2)
    stacked = sum(aspects) > _BROADEST_ROW
    figure, axes = _panels(aspects, stacked)
    fill_static_mask(
        figure, axes, heatmap, scores, mask, content=content, patch=patch, titles=titles,
        bar="right" if stacked else "bottom", text_points=(10, 8, 7),
    )  # fmt: skip
    harmless(figure)
    write_atomic(
        path, lambda temporary: figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)
    )


def fill_static_mask(  # noqa: PLR0913 - three panels, their captions and the size of the text
    figure: Figure,
    axes: Any,
    heatmap: NDArray[np.float64],
    scores: NDArray[np.float64],
    mask: NDArray[np.bool_],
    *,
    content: Size,
    patch: int,
    titles: tuple[str, str, str],
    bar: Literal["right", "bottom"],
    text_points: tuple[float, float, float],
) -> None:
    """Draw heatmap, region scores and static mask into three axes, the scales at the side `bar`.

    Arrays as in `draw_static_mask`. `text_points`: of titles, of names of scales, of numbers.
    """
    shown = content.tiles(patch)
    tokens = slice(None, shown.rows), slice(None, shown.cols)
    extent = (0, shown.cols * patch, shown.rows * patch, 0)
    drawn = (
        axes[0].imshow(heatmap, cmap="magma", interpolation="nearest"),
        axes[1].imshow(scores[tokens], cmap="magma", interpolation="nearest", extent=extent),
        axes[2].imshow(
            mask[tokens], cmap="Greens", vmin=0, vmax=1.6, interpolation="nearest", extent=extent
        ),
    )
    names = ("boxes on a pixel", "score of a region", "")
    for axis, panel, title, name in zip(axes, drawn, titles, names, strict=True):
        axis.set_title(title, fontsize=text_points[0])
        axis.tick_params(labelsize=text_points[2])
        scale = figure.colorbar(panel, ax=axis, location=bar, fraction=0.06, pad=0.03)
        scale.set_label(name, fontsize=text_points[1])
        scale.ax.tick_params(labelsize=text_points[2])
        # The mask needs no scale; its invisible one keeps the panels aligned.
        scale.ax.set_visible(bool(name))


def _panels(aspects: tuple[float, ...], stacked: bool) -> tuple[Figure, Any]:
    """Return a figure with three axes, in a column where a row would be too broad."""
    if stacked:
        figure = Figure((_INCHES * 0.7, 0.53 * sum(_INCHES / aspect for aspect in aspects)))
        axes: Any = figure.subplots(3, 1, height_ratios=[1 / aspect for aspect in aspects])
    else:
        figure = Figure((_INCHES, 1.45 * _INCHES / sum(aspects)))
        axes = figure.subplots(1, 3, width_ratios=aspects)
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    return figure, axes
