"""Scores that follow tokens from frame to frame, by what the patches look like.

The token of this frame takes the score of the token of the frame before, among those near its
place, whose embedding has the largest dot product with its own (RGTP, equation 4). Embeddings are
those of the patches, before positions are added.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size

# What the authors' code makes of a dot product that is exactly 0, such as with a place outside.
_NO_LIKENESS = -100.0


def tracked(scores: Tensor, tokens: Tensor, before: Tensor, grid: Size, radius: int) -> Tensor:
    """Return the scores (N,) of this frame's tokens from those of the frame before.

    `tokens` and `before` (N, D): embedded patches of both frames. Candidates lie at most `radius`
    rows and columns away; of equally alike ones the first counts, in raster order of the offsets
    from (-radius, -radius). As in the authors' code, a dot product of exactly 0, and so that with a
    place outside the grid, counts as -100: it can still be the largest, and a place outside then
    gives the score of token 0. A radius of 0 tracks nothing.
    """
    if radius == 0:
        return scores
    places = _neighbours(grid, radius).to(tokens.device)
    wide = torch.promote_types(tokens.dtype, torch.float32)
    # The row behind the others stands for places outside.
    rows, queries = F.pad(before.to(wide), (0, 0, 0, 1)), tokens.to(wide)[:, None]
    # One offset at a time, so that equal embeddings have equal products to the last bit.
    likeness = torch.stack([(queries @ rows[at, :, None]).flatten() for at in places])
    likeness = torch.where(likeness == 0, _NO_LIKENESS, likeness)
    winners = places.gather(0, likeness.argmax(0, keepdim=True))[0]
    return torch.cat([scores, scores[:1]])[winners]


def best(scores: Tensor, count: int) -> Tensor:
    """Return the `count` tokens with the highest scores (N,), best first; (count,) int64.

    Equal scores: lower index first. Tracking copies scores, so that they are common.
    """
    return scores.sort(descending=True, stable=True).indices[:count]


@cache
def _neighbours(grid: Size, radius: int) -> Tensor:
    """Return the token at each offset from each token, (offsets, N) int64; N is outside."""
    span = torch.arange(-radius, radius + 1)
    down, across = (part.flatten()[:, None] for part in torch.meshgrid(span, span, indexing="ij"))
    index = torch.arange(grid.area)
    rows, cols = index // grid.cols + down, index % grid.cols + across
    inside = (rows >= 0) & (rows < grid.rows) & (cols >= 0) & (cols < grid.cols)
    return torch.where(inside, rows * grid.cols + cols, grid.area)
