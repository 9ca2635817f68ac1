"""Eventful Transformers (ICCV 2023, arXiv 2308.13494): recompute what moved, also in attention.

Three token gates per block, as in `gates` and `gated`. Global blocks go further. With q, k, v of
all n tokens from the QKV gate's output, i the tokens that went through it (n x n shown; every head
has its own), and R the relative terms, which are computed anew for all queries:

    S[i, :] = q[i] k^T / sqrt(c),  S[:, i] = q k[i]^T / sqrt(c)         S is kept: q k^T / sqrt(c)
    A = softmax(S + R)
    O += A[:, i] (v[i] - v'[i]) + (A[:, i] - A'[:, i]) v'[i]            O is kept: A' v'
    A'[:, i] = A[:, i],  v'[i] = v[i]                                   A', v': what O holds

The first frame sets S, A' = A, v' = v and O = A v. Columns of A outside i stay as they were in O,
though softmax changed them: the method's approximation. With pooling, k and v are means over
pool x pool cells and i becomes the cells with a changed token. `update` qk keeps S alone and
computes A v; tokenwise keeps nothing of attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.attention import query_chunks
from maskvd_cli.families.blocks.relative import RelativeLogits
from maskvd_cli.families.blocks.vit import Block, VisionTransformer, pool_cells
from maskvd_cli.methods.eventful_costs import GlobalUpdate
from maskvd_cli.methods.gated import GatedMethod
from maskvd_cli.methods.gates import GateParams, put, take
from maskvd_cli.methods.pooling import Pool

# From a block's number, the attention of all tokens to the first (B, H, n) and their values
# (B, H, n, c), to the tokens that stay, (B, k), slot by slot; None: all of them.
Sampler = Callable[[int, Tensor, Tensor], Tensor | None]


class EventfulParams(GateParams):
    """Policy and place of the gates, and what global blocks update."""

    update: Literal["full", "qk", "tokenwise"] = Field(
        default="full",
        description="global blocks update q k^T and A v, q k^T alone, or attend densely",
    )
    pool: Pool = 1
    av_precision: Literal["full", "half"] = Field(
        default="full", description="half: A, v and their product in float16 (update full)"
    )

    @model_validator(mode="after")
    def _half_is_for_the_updated_product(self) -> Self:
        if self.av_precision == "half" and self.update != "full":
            raise ValueError(f"av_precision half is for update full, not {self.update}")
        return self


class Eventful(GatedMethod[EventfulParams]):
    """Token gates, and delta updates of global attention. MACs and state: `eventful_costs`.

    Letting everything through equals dense on every frame, up to the rounding that O gathers.

    `sampler`: which tokens of a global block stay, None for all. Rows of A, O and A' are then those
    of its slots, and so are the tokens that the gates of projection and MLP see: one that comes
    into a slot meets what the one before it has left there.
    """

    name = "eventful"
    description = "recomputes tokens that moved since their last update, and what attends to them"
    paper = "Eventful Transformers (ICCV 2023, arXiv 2308.13494)"
    params_type = EventfulParams
    figure: ClassVar = {"name": "gates", "across": "gmacs", "labelled": "r"}
    colour, mark = "#d55e00", "s"

    def __init__(self, params: EventfulParams, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.attentions: dict[int, UpdatedAttention] = {}
        self.sampler: Sampler | None = None

    def forget(self) -> None:
        super().forget()
        self.attentions = {}

    def state(self) -> Iterable[Tensor]:
        yield from super().state()
        for attention in self.attentions.values():
            yield from attention.state.values()

    def attend(
        self, number: int, block: Block, qkv: Tensor, grid: Size, index: Tensor | None
    ) -> tuple[Tensor, int]:
        if self.params.update == "tokenwise":
            return block.attend(qkv, grid, self.params.pool), qkv.shape[1] // self.params.pool**2
        fresh = UpdatedAttention(self.update(self.params))
        choose = None if self.sampler is None else partial(self.sampler, number)
        return self.attentions.setdefault(number, fresh)(block, qkv, grid, index, choose)

    def beside(self, number: int, x: Tensor) -> Tensor:
        rows = self.rows(number)
        return x if rows is None else take(x, rows, 1)

    def rows(self, number: int) -> Tensor | None:
        """Return which tokens of a block stayed on this frame, (B, k); None: all of them."""
        attention = self.attentions.get(number)
        return None if attention is None else attention.rows

    def check(self, batch: int, grid: Size) -> None:
        super().check(batch, grid)
        if batch > 1 and self.update(self.params).pools_changes:
            raise UsageError(
                f"{batch} clips differ in how many of their pooled keys change",
                remedy="run one clip at a time, leave pool out, or choose update tokenwise",
            )

    @classmethod
    def update(cls, params: EventfulParams) -> GlobalUpdate:
        return GlobalUpdate(params.update, params.pool, params.av_precision == "half")


class UpdatedAttention:
    """One global block's attention with what it keeps, under the names of the formulas above.

    `state`: S (B, H, n, K); with update full also A' transposed, (B, H, K, n), so that columns to
    update lie together in memory, v' (B, H, K, c) and O (B, H, n, c). Where not all tokens stay,
    A' and O have the rows of those that do, slot by slot: `rows` of the last call.
    """

    def __init__(self, update: GlobalUpdate) -> None:
        self.update = update
        self.state: dict[str, Tensor] = {}
        self.rows: Tensor | None = None

    def __call__(
        self,
        block: Block,
        qkv: Tensor,
        grid: Size,
        index: Tensor | None,
        choose: Callable[[Tensor, Tensor], Tensor | None] | None = None,
    ) -> tuple[Tensor, int]:
        """Return the attention (B, n, D) and the number of columns that were recomputed.

        `qkv` (B, n, 3D) of all tokens, `index` (B, m) of those that changed; None computes
        everything. `choose` as `Sampler` does, for backbones without relative positions.
        """
        pool = self.update.pool
        query, key, value = block.split(qkv)
        relative = block.relative(query, grid, pool=pool) if block.relative else None
        if pool > 1:
            key, value = pool_cells(key, grid, pool), pool_cells(value, grid, pool)
            columns = None if index is None else changed_cells(index, grid, pool)
        else:
            columns = index
        self._update_logits(query * query.shape[-1] ** -0.5, key, index, columns)
        if choose is not None:
            self.rows = choose(self._to_first(), value)
        if self.update.attention == "qk":
            output = torch.cat([rows @ value for _, rows in self._rows(relative)], dim=2)
        else:
            output = self._updated_product(relative, value, columns).to(qkv.dtype)
        return block.merge(output), key.shape[2] if columns is None else columns.shape[1]

    def _update_logits(
        self, query: Tensor, key: Tensor, index: Tensor | None, columns: Tensor | None
    ) -> None:
        if index is None or columns is None:
            self.state["S"] = query @ key.mT
            return
        put(self.state["S"], index, take(query, index, 2) @ key.mT, 2)
        put(self.state["S"], columns, query @ take(key, columns, 2).mT, 3)

    def _rows(self, relative: RelativeLogits | None) -> Iterator[tuple[slice, Tensor]]:
        """Yield A in pieces of some queries, (B, H, queries, K)."""
        logits = self.state["S"]
        if self.rows is not None:
            logits = take(logits, self.rows, 2)
        for some in query_chunks(logits.shape[2], logits.device):
            part = logits[:, :, some]
            if relative is not None:
                part = relative.bias(some, None).add_(part)
            yield some, part.softmax(-1)

    def _to_first(self) -> Tensor:
        """Return the attention of all tokens to the first, (B, H, n)."""
        logits = self.state["S"]
        parts = [
            logits[:, :, some].softmax(-1)[..., 0]
            for some in query_chunks(logits.shape[2], logits.device)
        ]
        return torch.cat(parts, dim=2)

    def _updated_product(
        self, relative: RelativeLogits | None, value: Tensor, columns: Tensor | None
    ) -> Tensor:
        """Return O of this frame, which is the state itself."""
        dtype = torch.float16 if self.update.half else value.dtype
        batch, heads, length, keys = self.state["S"].shape
        length = length if self.rows is None else self.rows.shape[1]
        value = value.to(dtype)
        if columns is None:
            weights = value.new_empty(batch, heads, keys, length)
            for some, rows in self._rows(relative):
                weights[..., some] = rows.mT
            value = value.clone(memory_format=torch.contiguous_format)
            self.state |= {"A'": weights, "v'": value, "O": weights.mT @ value}
            return self.state["O"]
        weights = value.new_empty(batch, heads, columns.shape[1], length)
        for some, rows in self._rows(relative):
            weights[..., some] = take(rows.mT, columns, 2)
        before, value = take(self.state["v'"], columns, 2), take(value, columns, 2)
        output = self.state["O"]
        output += weights.mT @ (value - before)
        output += (weights - take(self.state["A'"], columns, 2)).mT @ before
        put(self.state["A'"], columns, weights, 2)
        put(self.state["v'"], columns, value, 2)
        return output


def changed_cells(index: Tensor, grid: Size, pool: int) -> Tensor:
    """Return the pool x pool cells that hold a token of `index` (1, m): (1, k) int64, sorted."""
    rows, cols = index // grid.cols // pool, index % grid.cols // pool
    return (rows * (grid.cols // pool) + cols).unique()[None]
