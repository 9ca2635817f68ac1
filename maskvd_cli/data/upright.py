"""Frames as PyAV decodes them, as arrays that stand upright; PyAV itself is not imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError

REMEDY = "fetch it again, or convert it: ffmpeg -i FILE -c:v libx264 -pix_fmt yuv420p new.mp4"
_LONGEST_SIDE = 16384


def upright(frame: Any, path: Path) -> NDArray[np.uint8]:
    """Return a decoded frame of `path` (rows, cols, 3) uint8 RGB.

    Turned counter-clockwise by the angle in its metadata, a quarter at a time. Raises DatasetError
    for a frame without a usable size, before its pixels take memory.
    """
    check_sides(frame, path)
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels


def check_sides(sized: Any, path: Path, *, least: int = 1) -> None:
    """Raise DatasetError where the `height` or `width` of a frame or codec cannot be."""
    rows, cols = sized.height, sized.width
    if not (least <= rows <= _LONGEST_SIDE and least <= cols <= _LONGEST_SIDE):
        raise DatasetError(
            f"its frames have no usable size, {rows}x{cols}", where=path, remedy=REMEDY
        )
