"""How a native frame lies in the model's input: resized, then padded at the bottom and right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size


@dataclass(frozen=True)
class Placement:
    """`content` is the resized frame inside `input`; the rest of `input` is padding.

    `row_scale` and `col_scale` map native pixels to input pixels; `native` is the frame's own size,
    None where it is not told.
    """

    input: Size
    content: Size
    row_scale: float
    col_scale: float
    native: Size | None = None

    def place(self, xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (n, 4) boxes from native to input pixels."""
        return xyxy * np.array([self.col_scale, self.row_scale, self.col_scale, self.row_scale])


def stretch(native: Size, frame: Size, input_size: Size) -> Placement:
    """Stretch the native frame to `frame`, aspect not kept (KITTI: 370x672; MaskVD's protocol)."""
    scales = frame.rows / native.rows, frame.cols / native.cols
    return Placement(input_size, frame, *scales, native)


def fit(native: Size, input_size: Size) -> Placement:
    """Scale by one factor so that the short side is at most 640/1024 of the long input side.

    scale = min(short / min side, input rows / rows, input cols / cols) with
    short = 640 * longer input side // 1024 (420 at 672); sizes are rounded. ImageNet VID's
    protocol in Eventful Transformers and MaskVD, whose inputs are square.
    """
    short = 640 * max(input_size) // 1024
    scale = min(short / min(native), input_size.rows / native.rows, input_size.cols / native.cols)
    content = Size(round(native.rows * scale), round(native.cols * scale))
    return Placement(input_size, content, scale, scale, native)


def frame_size(chosen: str | None, default: Size | None, input_size: Size) -> Size | None:
    """Return the size that frames are stretched to, `default` where none is chosen.

    None, and `fit` in text: they keep their aspect. Raises UsageError where it does not fit.
    """
    frame = default if chosen is None else None if chosen == "fit" else Size.parse(chosen)
    check_frame(frame, input_size)
    return frame


def check_frame(frame: Size | None, input_size: Size) -> None:
    """Raise UsageError where frames stretched to `frame` do not fit into the input."""
    if frame is not None and (frame.rows > input_size.rows or frame.cols > input_size.cols):
        raise UsageError(
            f"frame {frame} does not fit into input {input_size} (rows x columns)",
            remedy="make the frame smaller or the input larger",
        )


def check_patch(input_size: Size, patch: int) -> None:
    """Raise UsageError unless the patch divides both sides of the input."""
    if input_size.rows % patch or input_size.cols % patch:
        grid = input_size.tiles(patch)
        raise UsageError(
            f"input {input_size} is no multiple of the {patch} x {patch} patch",
            remedy=f"use for example {grid.rows * patch}x{grid.cols * patch}",
        )


def placement(native: Size, frame: Size | None, input_size: Size) -> Placement:
    """Return `stretch` to `frame`, or `fit` where `frame` is None."""
    return fit(native, input_size) if frame is None else stretch(native, frame, input_size)
