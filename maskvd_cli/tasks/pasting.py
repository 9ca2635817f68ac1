"""Masks in a frame's own pixels, from probabilities over regions (Mask R-CNN, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.size import Size

LEAST_PROBABILITY = 0.5


def pasted(inside: Tensor, regions: Tensor, size: Size) -> Iterator[NDArray[np.bool_]]:
    """Yield the mask (rows, cols) of each region, for a frame of this size.

    `inside` (n, side, side) probabilities, `regions` (n, 4) xyxy in pixels of the frame, on the
    CPU. A pixel belongs to the mask where the probability at its centre, between places bilinear
    and beyond the outer ones falling to 0, is at least 0.5. Regions without area have no pixel.
    """
    for probabilities, region in zip(inside.float(), regions.double().tolist(), strict=True):
        yield _mask(probabilities, region, size)


def _mask(probabilities: Tensor, region: list[float], size: Size) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=np.bool_)
    x1, y1, x2, y2 = region
    rows, top = _places(y1, y2, size.rows)
    cols, left = _places(x1, x2, size.cols)
    if len(rows) and len(cols):
        places = torch.stack(torch.meshgrid(cols, rows, indexing="xy"), dim=-1)
        at = F.grid_sample(
            probabilities[None, None], places[None].float(), "bilinear", "zeros", False
        )[0, 0]
        mask[top : top + len(rows), left : left + len(cols)] = (at >= LEAST_PROBABILITY).numpy()
    return mask


def _places(low: float, high: float, side: int) -> tuple[Tensor, int]:
    """Return where the centres of pixels lie in an edge from -1 to 1, and the first pixel."""
    first, end = max(int(np.floor(low)) - 1, 0), min(int(np.ceil(high)) + 1, side)
    if high <= low or end <= first:
        return torch.zeros(0, dtype=torch.float64), 0
    centres = torch.arange(first, end, dtype=torch.float64) + 0.5
    return 2 * (centres - low) / (high - low) - 1, first
