"""Silhouettes in COCO's run-length form; all of the coding is pycocotools' (maskvd[masks])."""

# pycocotools has no annotations.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.extras import imported
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Silhouette

# What pycocotools reads as a compressed run: up to six characters that say that more follow, then
# one that ends it. It reads beyond the end of a text that stops before that.
_RUNS = re.compile(rb"(?:[P-o]{0,6}[0-O])*")


def _called(name: str, *arguments: Any) -> Any:
    """Call a function of pycocotools' coder. Raises MaskvdError where that is not installed."""
    coder = imported("pycocotools.mask", "instance masks need pycocotools", "masks")
    with warnings.catch_warnings():
        # Its arrays do not know a keyword of numpy 2, which is told at every call.
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(coder, name)(*arguments)


def encoded(masks: Iterable[NDArray[np.bool_]]) -> list[Silhouette]:
    """Return the silhouettes of masks (rows, cols), one after the other."""
    return [_called("encode", np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]


def decoded(silhouettes: Sequence[Silhouette], size: Size) -> NDArray[np.bool_]:
    """Return the masks (n, rows, cols) of silhouettes in a frame of this size.

    Raises ValueError for one of another size, and for runs that do not fill it.
    """
    masks = np.zeros((len(silhouettes), *size), dtype=np.bool_)
    for place, silhouette in enumerate(silhouettes):
        masks[place] = _called("decode", _readable(silhouette, size))
    return masks


def checked(silhouette: Silhouette, size: Size) -> Silhouette:
    """Return a silhouette that fills a frame of this size exactly. Raises ValueError for others.

    With less than that pycocotools never comes back from comparing it with another one.
    """
    _called("decode", _readable(silhouette, size))
    try:
        _called("decode", {**silhouette, "size": [size.area - 1, 1]})
    except ValueError:
        return silhouette
    raise ValueError(f"has runs that end before the {size.area} pixels of {size}")


def _readable(silhouette: Silhouette, size: Size) -> Silhouette:
    if list(silhouette["size"]) != list(size):
        rows, cols = silhouette["size"]
        raise ValueError(f"is of {rows}x{cols}, the frame of {size} (rows x columns)")
    if not _RUNS.fullmatch(silhouette["counts"]):
        raise ValueError("has compressed counts that are none")
    return silhouette


def of_boxes(xyxy: NDArray[np.float64], size: Size) -> list[Silhouette]:
    """Return the silhouettes that fill boxes (n, 4) in a frame of this size."""
    if not len(xyxy):
        return []
    sides = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
    return list(_called("frPyObjects", sides, *size))


def of_runs(counts: Sequence[int], size: Size) -> Silhouette:
    """Return the silhouette of uncompressed counts. Raises ValueError unless they fill the size."""
    if min(counts, default=0) < 0 or sum(counts) != size.area:
        raise ValueError(f"has counts that do not add up to the {size.area} pixels of {size}")
    return _called("frPyObjects", {"size": list(size), "counts": list(counts)}, *size)


def of_polygons(polygons: Sequence[Sequence[float]], size: Size) -> Silhouette:
    """Return the silhouette of the union of polygons x1, y1, x2, y2, ... ValueError for none."""
    if not polygons or any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise ValueError("has a polygon of less than three corners")
    parts = _called("frPyObjects", [list(polygon) for polygon in polygons], *size)
    return _called("merge", parts)


def bounds(silhouettes: Sequence[Silhouette]) -> NDArray[np.float64]:
    """Return the boxes (n, 4) xyxy that hold the pixels of silhouettes."""
    if not silhouettes:
        return np.zeros((0, 4))
    sides = np.asarray(_called("toBbox", list(silhouettes)), dtype=np.float64).reshape(-1, 4)
    return np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)


def overlaps(
    ours: Sequence[Silhouette], theirs: Sequence[Silhouette], *, of_own_area: bool = False
) -> NDArray[np.float64]:
    """Return the intersections (n, m) over the unions, or over the area of the first."""
    if not ours or not theirs:
        return np.zeros((len(ours), len(theirs)))
    crowds = [int(of_own_area)] * len(theirs)
    return np.asarray(_called("iou", list(ours), list(theirs), crowds), dtype=np.float64)
