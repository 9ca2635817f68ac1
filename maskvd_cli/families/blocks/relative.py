"""Decomposed relative positions: attention logits gain q . Ry[yi, yj] + q . Rx[xi, xj].

q is unscaled. The tables are shared by all heads (ViTDet, after MViTv2).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.size import Size


class RelativeLogits(NamedTuple):
    """What queries add to their logits: `rows` (B, H, n, R) by key row, `cols` (B, H, n, C)."""

    rows: Tensor
    cols: Tensor

    def bias(self, queries: slice, keys: KeyPlaces | None) -> Tensor:
        """Return the additive bias of some queries, (B, H, queries, keys).

        Keys lie on the whole grid in raster order, or at `keys`.
        """
        rows, cols = self.rows[:, :, queries], self.cols[:, :, queries]
        if keys is None:
            return (rows.unsqueeze(-1) + cols.unsqueeze(-2)).flatten(3)
        return rows.index_select(-1, keys.rows) + cols.index_select(-1, keys.cols)


class KeyPlaces(NamedTuple):
    """Grid row and column of each key, (k,) int64."""

    rows: Tensor
    cols: Tensor

    @classmethod
    def of(cls, index: Tensor, grid: Size) -> KeyPlaces:
        """Return the places of flat token indices (k,)."""
        return cls(index // grid.cols, index % grid.cols)


class RelativePositions(nn.Module):
    """The two tables of one block, made for `table` rows and columns, resized to a grid's.

    Parameters `rows` (2R - 1, c) and `cols` (2C - 1, c).
    """

    def __init__(self, table: Size, head_dim: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(2 * table.rows - 1, head_dim))
        self.cols = nn.Parameter(torch.zeros(2 * table.cols - 1, head_dim))
        self._kept: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}

    def tables(self, grid: Size, pool: int = 1) -> tuple[Tensor, Tensor]:
        """Return Ry (R, R / pool, c) and Rx (C, C / pool, c) for queries and keys on `grid`.

        Kept for the next call unless a gradient is wanted.
        """
        if not may_be_kept(self.rows, self.cols):
            return self._table(self.rows, grid.rows, pool), self._table(self.cols, grid.cols, pool)
        state = (self.rows._version, self.cols._version, self.rows.data_ptr())
        key = (grid, pool, self.rows.dtype, self.rows.device, *state)
        if key not in self._kept:
            with torch.no_grad():
                self._kept = {
                    old: kept for old, kept in self._kept.items() if old[-3:] == state
                } | {
                    key: (
                        self._table(self.rows, grid.rows, pool),
                        self._table(self.cols, grid.cols, pool),
                    )
                }
        return self._kept[key]

    def forward(
        self, queries: Tensor, grid: Size, at: Tensor | None = None, pool: int = 1
    ) -> RelativeLogits:
        """Return what queries (B, H, n, c) add to their logits.

        Without `at` they are all tokens of the grid in raster order; else those at the flat
        indices `at`, (n,) or (B, n). `pool`: keys are means over pool x pool cells.
        """
        rows, cols = self.tables(grid, pool)
        if at is None:
            laid = queries.unflatten(2, (grid.rows, grid.cols))
            return RelativeLogits(
                torch.einsum("bhyxc,ykc->bhyxk", laid, rows).flatten(2, 3),
                torch.einsum("bhyxc,xkc->bhyxk", laid, cols).flatten(2, 3),
            )
        at = at.expand(len(queries), -1) if at.dim() > 1 else at[None]
        return RelativeLogits(
            torch.einsum("bhnc,bnkc->bhnk", queries, _spread(rows[at // grid.cols], queries)),
            torch.einsum("bhnc,bnkc->bhnk", queries, _spread(cols[at % grid.cols], queries)),
        )

    @staticmethod
    def _table(parameter: Tensor, side: int, pool: int) -> Tensor:
        """Expand a (2S - 1, c) table to [query, key], resize it to `side`, pool its keys."""
        made_for = (len(parameter) + 1) // 2
        place = torch.arange(made_for, device=parameter.device)
        table = parameter[place[:, None] - place + made_for - 1]
        if made_for != side:
            table = resize_bicubic(table, Size(side, side))
        return table if pool == 1 else table.unflatten(1, (side // pool, pool)).mean(2)


def _spread(table: Tensor, queries: Tensor) -> Tensor:
    return table.expand(len(queries), *table.shape[1:])


def may_be_kept(*parameters: Tensor) -> bool:
    """Tell whether what is derived from parameters may be kept for later calls.

    Not where a gradient shall flow, nor where the parameters were made in inference mode, since
    those do not tell when they change.
    """
    if any(parameter.is_inference() for parameter in parameters):
        return False
    wanted = any(parameter.requires_grad for parameter in parameters)
    return not (torch.is_grad_enabled() and wanted)


def resize_bicubic(table: Tensor, size: Size) -> Tensor:
    """Resize the two leading axes of (rows, cols, X) to `size`: bicubic, corners not aligned.

    Half precision is resized in float32.
    """
    wide = table.float() if table.dtype in (torch.float16, torch.bfloat16) else table
    resized = F.interpolate(
        wide.permute(2, 0, 1)[None], size=tuple(size), mode="bicubic", align_corners=False
    )
    return resized[0].permute(1, 2, 0).to(table.dtype)
