"""Which tokens are real: those that see at least one pixel of the frame, not only padding."""

from __future__ import annotations

import torch
from torch import Tensor

from maskvd_cli.core.size import Size


def real_tokens(content: Size, input_size: Size, patch: int) -> Tensor:
    """Return the tokens that the resized frame reaches, (N,) bool in raster order.

    `content` is the frame's size inside the padded input: 370x672 in 672x672 gives 24 x 42 = 1008
    of 1764 tokens at patch 16, the last row an eighth full.
    """
    grid, inside = input_size.tiles(patch), content.tiles(patch)
    real = torch.zeros(grid.rows, grid.cols, dtype=torch.bool)
    real[: inside.rows, : inside.cols] = True
    return real.flatten()
