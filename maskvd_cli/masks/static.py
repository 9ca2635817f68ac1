"""Static mask: the tokens whose regions hold the most of the heatmap. MaskVD, section 3.2."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size

Align = Literal["canvas", "image"]


def normalised(heatmap: Tensor) -> Tensor:
    """Divide (rows, cols) by its maximum; an empty heatmap stays zero."""
    peak = heatmap.max()
    return heatmap / peak if peak > 0 else heatmap


def on_input(
    heatmap: Tensor, frame: Size, input_size: Size, *, image: Size | None = None
) -> Tensor:
    """Resize a heatmap in native pixels onto the frame and pad it to the model's input.

    `heatmap` (rows, cols) float64. Without `image` the whole canvas is resized onto `frame`, as in
    the authors' code, although their canvas (384x1280) is larger than the images; with `image`
    only the part that images of this native size cover. Bilinear, corners not aligned, no
    antialiasing; padding at the bottom and right is zero. Returns (input rows, input cols).
    """
    source = heatmap if image is None else heatmap[: image.rows, : image.cols]
    resized = F.interpolate(
        source[None, None], size=tuple(frame), mode="bilinear", align_corners=False
    )[0, 0]
    return pad_to(resized, input_size)


def pad_to(pixels: Tensor, size: Size) -> Tensor:
    """Zero-pad (rows, cols) at the bottom and right to `size`."""
    rows, cols = pixels.shape
    return F.pad(pixels, (0, size.cols - cols, 0, size.rows - rows))


def region_scores(pixels: Tensor, patch: int) -> Tensor:
    """Sum (rows, cols) inside each patch x patch region.

    Returns (rows / patch * cols / patch,) in raster order. Rows and columns must be multiples of
    `patch`.
    """
    rows, cols = pixels.shape[0] // patch, pixels.shape[1] // patch
    return pixels.view(rows, patch, cols, patch).sum((1, 3)).flatten()


def kept_tokens(keep_rate: float, tokens: int) -> int:
    """Return int(keep_rate * N), the size of the static mask."""
    return int(keep_rate * tokens)


def static_mask(scores: Tensor, keep_rate: float) -> Tensor:
    """Keep the int(keep_rate * N) tokens with the highest scores; equal scores, lower index first.

    `scores` (N,); returns (N,) bool.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    mask = torch.zeros(len(scores), dtype=torch.bool)
    mask[order[: kept_tokens(keep_rate, len(scores))]] = True
    return mask
