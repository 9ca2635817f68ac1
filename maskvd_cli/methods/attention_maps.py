"""Attention whose weights are read as they are computed, and how importance flows back through it.

Of each block whose weights are read, a map F holds the attention of its tokens, fused over heads,
the rows of earlier frames kept until their tokens ask again. With B = rownorm((F + I) / 2), a
distribution v over the tokens that leave the last block goes back through the blocks that were
read, v := B^T v, last block first (attention rollout, after RGTP's supplement, equations 6 and 7).
Blocks that are not read pass it on as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.attention import query_chunks
from maskvd_cli.families.blocks.relative import RelativeLogits
from maskvd_cli.families.blocks.vit import Block

Fusion = Literal["rms", "mean"]
Rollout = Literal["matvec", "pooled", "matrix"]
# Side of the cells that pooled maps join.
POOL = 2


def attention_weights(query: Tensor, key: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the attention weights (B, H, n, m), in single precision at least: they are ranked."""
    wide = torch.promote_types(query.dtype, torch.float32)
    logits = (query.to(wide) * query.shape[-1] ** -0.5) @ key.to(wide).mT
    return (logits if bias is None else logits + bias).softmax(-1)


class AttentionMaps:
    """The maps F by number of block, (n, n) in single precision at least, one row per query.

    `rollout` pooled: (n / 4, n / 4), one row and column per 2 x 2 cell of the grid; keys of a cell
    are summed, queries averaged over those that asked on this frame. It takes grids with even
    sides and no class token.
    """

    def __init__(self, fusion: Fusion, rollout: Rollout) -> None:
        self.fusion = fusion
        self.rollout = rollout
        self.maps: dict[int, Tensor] = {}

    @property
    def pooled(self) -> bool:
        """Whether rows and columns are cells."""
        return self.rollout == "pooled"

    def forget(self) -> None:
        """Drop all maps."""
        self.maps = {}

    def state(self) -> Iterable[Tensor]:
        """Yield the maps."""
        yield from self.maps.values()

    def attend(  # noqa: PLR0913, PLR0917 - the block's number, its parts, and where they lie
        self,
        number: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        relative: RelativeLogits | None,
        grid: Size,
        rows: Tensor | None,
    ) -> Tensor:
        """Return the attention output (1, m, D) of queries, and write their rows of the map.

        `query` (1, H, m, c), `key` and `value` (1, H, n, c); `relative` of the queries; `rows` (m,)
        their places in the sequence, None for all of it.
        """
        outputs: list[Tensor] = []
        fused: list[Tensor] = []
        for some in query_chunks(query.shape[2], query.device):
            bias = None if relative is None else relative.bias(some, None)
            weights = attention_weights(query[:, :, some], key, bias)
            outputs.append(weights.to(value.dtype) @ value)
            fused.append(self._fused(weights[0], grid))
        self._write(number, torch.cat(fused), grid, rows)
        return Block.merge(torch.cat(outputs, dim=2))

    def flow_back(self, leaving: Tensor) -> Tensor:
        """Return the distribution over entering tokens, or cells, for one over leaving ones, (n,).

        v^T B = w^T F + w^T with w = v / (row sums of F + 1), so that B is never built; `matrix`
        multiplies the blocks' B as matrices first, as equation 1 does, with the same outcome.
        """
        maps = [self.maps[number] for number in sorted(self.maps, reverse=True)]
        importance = leaving.to(maps[0].dtype)
        if self.rollout == "matrix":
            product = _normalised(maps[0])
            for fused in maps[1:]:
                product = product @ _normalised(fused)
            return importance @ product
        for fused in maps:
            weighted = importance / (fused.sum(1) + 1)
            importance = weighted @ fused + weighted
        return importance

    def _fused(self, weights: Tensor, grid: Size) -> Tensor:
        """Return the rows (q, n) of weights (H, q, n), or of cells (q, n / 4)."""
        if self.fusion == "mean":
            rows = weights.mean(0)
        else:
            rows = torch.linalg.vector_norm(weights, dim=0) * len(weights) ** -0.5
        return _in_cells(rows, grid, 1).sum((2, 4)).flatten(1) if self.pooled else rows

    def _write(self, number: int, fused: Tensor, grid: Size, rows: Tensor | None) -> None:
        if not self.pooled:
            if rows is None:
                self.maps[number] = fused
            else:
                self.maps[number].index_copy_(0, rows, fused)
            return
        if rows is None:
            self.maps[number] = _in_cells(fused, grid, 0).mean((1, 3)).flatten(0, 1)
            return
        # Laid out on the grid first, since sums by index have no fixed order on a GPU.
        laid = fused.new_zeros(grid.area, fused.shape[1]).index_copy_(0, rows, fused)
        asked = fused.new_zeros(grid.area, 1).index_fill_(0, rows, 1)
        sums, counts = (
            _in_cells(part, grid, 0).sum((1, 3)).flatten(0, 1) for part in (laid, asked)
        )
        known = self.maps[number]
        self.maps[number] = torch.where(counts > 0, sums / counts.clamp(min=1), known)


def covered_cells(marked: Tensor, grid: Size) -> Tensor:
    """Return the 2 x 2 cells of which at least half is `marked` (N,) bool: (N / 4,) bool."""
    return (_in_cells(marked.float(), grid, 0).mean((1, 3)) >= 0.5).flatten()


def spread_cells(cells: Tensor, grid: Size) -> Tensor:
    """Return values of 2 x 2 cells (N / 4,) on all tokens (N,): bilinear, corners not aligned."""
    laid = cells.view(1, 1, grid.rows // POOL, grid.cols // POOL)
    spread = F.interpolate(laid, scale_factor=POOL, mode="bilinear", align_corners=False)
    return spread.flatten()


def _in_cells(laid: Tensor, grid: Size, dim: int) -> Tensor:
    """Split the dimension of N tokens into rows of cells, rows in a cell, columns, in a cell."""
    return laid.unflatten(dim, (grid.rows // POOL, POOL, grid.cols // POOL, POOL))


def _normalised(fused: Tensor) -> Tensor:
    """Return B (n, n)."""
    one = torch.eye(len(fused), dtype=fused.dtype, device=fused.device)
    return (fused + one) / (fused.sum(1, keepdim=True) + 1)
