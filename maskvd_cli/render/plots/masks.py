"""Figures of masks: heatmap to static mask, and static, dynamic and combined mask on a frame."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from maskvd_cli.core.size import Size
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.figures import fill_static_mask
from maskvd_cli.render.plots.page import (
    COLUMN_INCHES,
    SMALL,
    NothingToDrawError,
    column,
    entitle,
    legend,
)
from maskvd_cli.store.illustration import (
    HEATMAP,
    ILLUSTRATION,
    Illustration,
    read_heatmap,
    read_illustration,
)

# Tints of kept tokens: static blue, dynamic orange, both bluish green (Okabe and Ito's colours).
_STATIC, _DYNAMIC, _BOTH = (0, 114, 178), (230, 159, 0), (0, 158, 115)
_SKIPPED = (68, 68, 68)
_NAMES = (("static", _STATIC), ("dynamic", _DYNAMIC), ("both", _BOTH), ("not recomputed", _SKIPPED))
_TINT, _TINT_ON_BLANK, _SHADE = 0.36, 0.85, 0.66
_BLANK = 215
_BOX = "#ffffff"


def heatmap_mask(report: Report) -> Figure:
    """Draw accumulated heatmap, region scores and static mask (MaskVD's kind of Figure 2)."""
    stored = read_heatmap(report.run)
    if stored is None:
        raise NothingToDrawError(
            f"the run holds no {HEATMAP}: no point has a static mask, or an older maskvd made it"
        )
    shown, made_from = stored.shown, stored.made_from
    heights = [stored.counts.shape[0] / stored.counts.shape[1]]
    heights += [_aspect(shown.content_size, shown.patch)] * 2
    figure = column(0.58 + sum(0.72 * COLUMN_INCHES * height + 0.34 for height in heights))
    axes: Any = figure.subplots(3, 1, height_ratios=heights)
    kept = int(stored.static.sum())
    hidden = kept - int(_content_part(stored.static, shown.content_size, shown.patch).sum())
    padding = f", {hidden} of them in padding" if hidden else ""
    fill_static_mask(
        figure, axes, stored.counts, stored.scores, stored.static, content=shown.content_size,
        patch=shown.patch, bar="right", text_points=(SMALL + 0.5, SMALL, SMALL - 1),
        titles=(
            f"(a) heatmap: {made_from.get('boxes')} boxes, {made_from.get('frames')} frames",
            f"(b) scores of regions of {shown.patch} x {shown.patch} pixels",
            f"(c) static mask: {kept} of {stored.static.size} tokens{padding}",
        ),
    )  # fmt: skip
    origin = f"heatmap of {made_from.get('dataset')} {made_from.get('split')}"
    origin += f" ({made_from['subset']})" if made_from.get("subset") else ""
    entitle(figure, report, f"{origin}, static keep rate {shown.static_keep_rate:g}")
    return figure


def masks(report: Report) -> Figure:
    """Draw static, dynamic and combined mask on one frame (MaskVD's kind of Figure 3)."""
    drawn = read_illustration(report.run)
    if drawn is None:
        raise NothingToDrawError(
            f"the run holds no {ILLUSTRATION}: no point with a combined mask, no masked frame, or "
            "an older maskvd made it"
        )
    shown = drawn.shown
    height = _aspect(shown.content_size, shown.patch)
    figure = column(0.6 + 3 * (0.93 * COLUMN_INCHES * height + 0.26))
    axes: Any = figure.subplots(3, 1)
    boxes_from = "detections" if shown.boxes_from == "model" else "annotated boxes"
    panels = (
        ("(a) static", drawn.static, drawn.static, np.zeros_like(drawn.dynamic)),
        ("(b) dynamic", drawn.dynamic, np.zeros_like(drawn.static), drawn.dynamic),
        ("(c) combined", drawn.combined, drawn.static, drawn.dynamic),
    )
    for axis, (name, mask, static, dynamic) in zip(axes, panels, strict=True):
        axis.imshow(
            _picture(drawn, mask, static, dynamic), extent=_extent(shown.content_size),
            interpolation="nearest",
        )  # fmt: skip
        if dynamic.any():
            _draw_boxes(axis, drawn.boxes)
        axis.set_title(f"{name}: {int(mask.sum())} of {mask.size} tokens ({mask.mean():.0%})")
        axis.set_xlim(0, shown.content_size.cols)
        axis.set_ylim(shown.content_size.rows, 0)
        axis.set_xticks([])
        axis.set_yticks([])
    lines = [
        f"clip {shown.clip}, frame {shown.frame}, P = {shown.period}, "
        f"k_s = {shown.static_keep_rate:g}",
        f"boxes: {boxes_from} of the frame before",
    ]
    if drawn.image is None:
        lines.append(f"no image: {shown.no_image}")
    entitle(figure, report, *lines)
    legend(figure, [Patch(facecolor=_web(tint), label=name) for name, tint in _NAMES], columns=4)
    return figure


def _web(colour: tuple[int, int, int]) -> str:
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


def _aspect(content: Size, patch: int) -> float:
    tokens = content.tiles(patch)
    return tokens.rows / tokens.cols


def _content_part(grid: NDArray[Any], content: Size, patch: int) -> NDArray[Any]:
    tokens = content.tiles(patch)
    return grid[: tokens.rows, : tokens.cols]


def _extent(content: Size) -> tuple[float, float, float, float]:
    return (0, content.cols, content.rows, 0)


def _picture(
    drawn: Illustration, mask: NDArray[np.bool_], static: NDArray[np.bool_], dynamic: NDArray[Any]
) -> NDArray[np.uint8]:
    """Return the frame with kept tokens tinted and the others grey and dark."""
    content, patch = drawn.shown.content_size, drawn.shown.patch
    image, strength = drawn.image, _TINT
    if image is None:
        image, strength = np.full((*content, 3), _BLANK, dtype=np.uint8), _TINT_ON_BLANK
    rows = (np.arange(image.shape[0]) + 0.5) * content.rows / image.shape[0] // patch
    cols = (np.arange(image.shape[1]) + 0.5) * content.cols / image.shape[1] // patch
    at = np.ix_(rows.astype(np.int64), cols.astype(np.int64))
    pixels = image.astype(np.float64)
    grey = pixels.mean(axis=2, keepdims=True) * (1 - _SHADE)
    tint = np.select(
        [(static & dynamic)[at][..., None], static[at][..., None]],
        [np.array(_BOTH), np.array(_STATIC)],
        np.array(_DYNAMIC),
    )
    shown = np.where(mask[at][..., None], pixels * (1 - strength) + tint * strength, grey)
    return shown.round().astype(np.uint8)


def _draw_boxes(axis: Any, boxes: NDArray[np.float64]) -> None:
    for x1, y1, x2, y2 in boxes.tolist():
        for width, colour in ((1.6, "#000000"), (0.8, _BOX)):
            axis.add_patch(
                Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width)
            )
