"""Resize a frame's image to what the model sees, as the papers do: bilinear, antialiased, uint8."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.size import Size

# Rises when the same image gives other pixels; enters the keys of points above 1.
REVISION = 1


def resized(image: NDArray[np.uint8], size: Size) -> Tensor:
    """Return an image (rows, cols, 3) uint8 RGB as (3, size.rows, size.cols) uint8.

    Bilinear with antialiasing, rounded to whole values again (Eventful Transformers' and MaskVD's
    data loading). An image that has the size already keeps every value.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    if tuple(pixels.shape[1:]) == tuple(size):
        return pixels.contiguous()
    return F.interpolate(
        pixels[None], size=tuple(size), mode="bilinear", align_corners=False, antialias=True
    )[0]
