"""Windows on a token grid: cut, put together again, and which tokens lie in which."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size


def partition(tokens: Tensor, grid: Size, window: Size, fill: Tensor | None = None) -> Tensor:
    """Cut (B, N, X) tokens in raster order into windows, (B * windows, window area, X).

    Windows come in raster order, and so do the tokens of each. Where the window does not divide
    the grid, bottom and right are filled up with the vector `fill` (X,), or zeros.
    """
    batch, _, width = tokens.shape
    rows, cols = -(-grid.rows // window.rows), -(-grid.cols // window.cols)
    laid = tokens.view(batch, grid.rows, grid.cols, width)
    below, right = rows * window.rows - grid.rows, cols * window.cols - grid.cols
    if below or right:
        laid = F.pad(laid, (0, 0, 0, right, 0, below))
        if fill is not None:
            laid[:, grid.rows :] = fill
            laid[:, : grid.rows, grid.cols :] = fill
    laid = laid.view(batch, rows, window.rows, cols, window.cols, width)
    return laid.transpose(2, 3).reshape(batch * rows * cols, window.area, width)


def unpartition(windows: Tensor, grid: Size, window: Size) -> Tensor:
    """Put windows together again: the inverse of `partition`, padding cut off; (B, N, X)."""
    rows, cols = -(-grid.rows // window.rows), -(-grid.cols // window.cols)
    width = windows.shape[-1]
    batch = len(windows) // (rows * cols)
    laid = windows.view(batch, rows, cols, window.rows, window.cols, width).transpose(2, 3)
    laid = laid.reshape(batch, rows * window.rows, cols * window.cols, width)
    return laid[:, : grid.rows, : grid.cols].reshape(batch, grid.area, width)


@cache
def window_layout(grid: Size, window: Size) -> Tensor:
    """Return the token at each place of each window, (windows, window area) int64; N is padding."""
    index = torch.arange(grid.area).view(1, grid.area, 1)
    outside = torch.tensor([grid.area])
    return partition(index, grid, window, outside).squeeze(-1)


@cache
def window_places(grid: Size, window: Size) -> Tensor:
    """Return for each token its window and its place in there, (N, 2) int64."""
    rows, cols = torch.arange(grid.rows), torch.arange(grid.cols)
    across = -(-grid.cols // window.cols)
    which = (rows // window.rows * across)[:, None] + cols // window.cols
    place = (rows % window.rows * window.cols)[:, None] + cols % window.cols
    return torch.stack([which.flatten(), place.flatten()], dim=1)
