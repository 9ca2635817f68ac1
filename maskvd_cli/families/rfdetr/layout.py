"""Equal windows, each with its class tokens: cut out of a sequence and put together again.

A sequence holds the class tokens of all windows, window by window, then the grid in raster order.
Windows come in raster order, and so do the tokens of each, behind its class tokens (as rfdetr
1.11.2 lays them out, on any rectangular grid).
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.windows import partition, unpartition


def cut(sequence: Tensor, grid: Size, window: Size, lead: int) -> Tensor:
    """Cut (B, W c + N, X) into windows (B W, c + w, X) of w tokens.

    `lead`: W c, the class tokens of all windows together.
    """
    laid = partition(sequence[:, lead:], grid, window)
    if not lead:
        return laid
    tokens = sequence[:, :lead].reshape(len(laid), -1, sequence.shape[-1])
    return torch.cat([tokens, laid], dim=1)


def join(windows: Tensor, grid: Size, window: Size, lead: int) -> Tensor:
    """Put windows (B W, c + w, X) together again: the inverse of `cut`, (B, W c + N, X)."""
    each = windows.shape[1] - window.area
    laid = unpartition(windows[:, each:], grid, window)
    if not lead:
        return laid
    tokens = windows[:, :each].reshape(len(laid), lead, windows.shape[-1])
    return torch.cat([tokens, laid], dim=1)
