"""A plain pre-norm vision transformer whose blocks expose the steps that methods compose.

`forward` is the dense path. A method calls the steps of a block itself; it never changes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.attention import attention
from maskvd_cli.families.blocks.relative import (
    KeyPlaces,
    RelativePositions,
    may_be_kept,
    resize_bicubic,
)
from maskvd_cli.families.blocks.windows import partition, unpartition

LAYER_NORM_EPS = 1e-6


class PatchEmbedding(nn.Module):
    """One token per patch: a convolution whose kernel is its stride; raster order."""

    def __init__(self, arch: ViTArch) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, arch.dim, arch.patch, arch.patch)

    def forward(self, images: Tensor) -> Tensor:
        """Embed (B, 3, rows, cols) normalised pixels as (B, N, D) tokens."""
        return self.conv(images).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """x + projection(attention(qkv(norm1(x)))), then + mlp(norm2(.)).

    Steps for methods: `norm1`, `qkv` (or `queries` and `keys_values`), `split`, `attend` (or
    `relative` and `attention`), `merge`, and `complete` (or `projection`, `norm2` and `mlp`).
    """

    def __init__(self, arch: ViTArch, *, windowed: bool) -> None:
        super().__init__()
        self.heads = arch.heads
        self.window = arch.window if windowed else None
        self.norm1 = nn.LayerNorm(arch.dim, LAYER_NORM_EPS)
        self.qkv = nn.Linear(arch.dim, 3 * arch.dim)
        table = arch.window if windowed else arch.relative_table
        self.relative = (
            RelativePositions(table, arch.head_dim) if arch.relative_table and table else None
        )
        self.projection = nn.Linear(arch.dim, arch.dim)
        self.norm2 = nn.LayerNorm(arch.dim, LAYER_NORM_EPS)
        self.mlp_in = nn.Linear(arch.dim, arch.mlp_ratio * arch.dim)
        self.mlp_out = nn.Linear(arch.mlp_ratio * arch.dim, arch.dim)

    def forward(self, tokens: Tensor, grid: Size, pool: int = 1) -> Tensor:
        """Run the block densely on (B, N, D) tokens (with class token: (B, N + 1, D)).

        `pool` as in `attend`.
        """
        return self.complete(tokens, self.attend(self.qkv(self.norm1(tokens)), grid, pool))

    def complete(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """Return what leaves the block where `tokens` (B, n, D) entered and attended so."""
        tokens = tokens + self.projection(attended)
        return tokens + self.mlp(self.norm2(tokens))

    def queries(self, normed: Tensor) -> Tensor:
        """Return the query part of `qkv` alone, (B, n, D)."""
        dim = normed.shape[-1]
        return F.linear(normed, self.qkv.weight[:dim], self.qkv.bias[:dim])

    def keys_values(self, normed: Tensor) -> Tensor:
        """Return the key and value part of `qkv` alone, (B, n, 2D)."""
        dim = normed.shape[-1]
        return F.linear(normed, self.qkv.weight[dim:], self.qkv.bias[dim:])

    def mlp(self, tokens: Tensor) -> Tensor:
        """Return the feed-forward layers of normalised tokens (..., D)."""
        return self.mlp_out(F.gelu(self.mlp_in(tokens)))

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split (B, n, 3D) into queries, keys and values, each (B, H, n, c)."""
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return query, key, value

    def to_heads(self, rows: Tensor) -> Tensor:
        """Give each head its part of (B, n, D): (B, H, n, c), what `merge` undoes."""
        return rows.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    @staticmethod
    def merge(heads: Tensor) -> Tensor:
        """Concatenate the heads of (B, H, n, c): (B, n, D)."""
        return heads.transpose(1, 2).flatten(2)

    def attend(self, qkv: Tensor, grid: Size, pool: int = 1) -> Tensor:
        """Return the attention output (B, N, D) of all tokens from their (B, N, 3D) `qkv`.

        Windows that reach over the grid are filled up with the query, key and value of a zero
        vector, the bias. `pool` (global blocks): keys and values are means over pool x pool cells.
        """
        if self.window is None:
            return self._attend_globally(qkv, grid, pool)
        windows = partition(qkv, grid, self.window, self.qkv.bias)
        query, key, value = self.split(windows)
        relative = self.relative(query, self.window) if self.relative else None
        merged = self.merge(attention(query, key, value, relative))
        return unpartition(merged, grid, self.window)

    def _attend_globally(self, qkv: Tensor, grid: Size, pool: int) -> Tensor:
        query, key, value = self.split(qkv)
        relative = self.relative(query, grid, pool=pool) if self.relative else None
        if pool > 1:
            key, value = pool_cells(key, grid, pool), pool_cells(value, grid, pool)
        return self.merge(attention(query, key, value, relative))

    def attend_among(self, qkv: Tensor, grid: Size, index: Tensor) -> Tensor:
        """Return the global attention (B, n, D) among tokens `index` (n,) alone.

        `qkv` (B, n, 3D) belongs to them; a class token, which has no relative position, may stand
        before them where the block has no relative positions.
        """
        query, key, value = self.split(qkv)
        if self.relative is None:
            return self.merge(attention(query, key, value))
        relative = self.relative(query, grid, at=index)
        return self.merge(attention(query, key, value, relative, KeyPlaces.of(index, grid)))


def pool_cells(heads: Tensor, grid: Size, pool: int) -> Tensor:
    """Average (B, H, N, c) over pool x pool cells of the grid, which they must divide."""
    laid = heads.unflatten(2, (grid.rows // pool, pool, grid.cols // pool, pool))
    return laid.mean((3, 5)).flatten(2, 3)


class VisionTransformer(nn.Module):
    """The backbone: positions, blocks, and for plain ViTs class token and final norm.

    Parameters: `positions` (rows, cols, D) of the arch's position table; `class_token` (1, 1, D).
    `block_type`: what its blocks are; `resized` says how positions are resized.
    """

    block_type: ClassVar[type[Block]] = Block

    def __init__(self, arch: ViTArch) -> None:
        super().__init__()
        self.arch = arch
        self.positions = nn.Parameter(torch.empty(*arch.position_table, arch.dim))
        self.class_token = nn.Parameter(torch.zeros(1, 1, arch.dim)) if arch.class_token else None
        blocks = [
            self.block_type(arch, windowed=index not in arch.global_blocks)
            for index in range(arch.depth)
        ]
        # A module list whose members keep their type.
        self.blocks: Sequence[Block] = cast(Sequence[Block], nn.ModuleList(blocks))
        self.final_norm = nn.LayerNorm(arch.dim, LAYER_NORM_EPS) if arch.final_norm else None
        self._kept_positions: tuple[tuple[object, ...], Tensor] | None = None
        nn.init.trunc_normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                # ViT's 0.02 is meant for 768 channels; fewer need more for signals of that size.
                nn.init.trunc_normal_(module.weight, std=0.02 * (768 / arch.dim) ** 0.5)
                nn.init.zeros_(module.bias)

    @property
    def has(self) -> frozenset[str]:
        """What the backbone has, in the words of `traits`."""
        return self.arch.has

    def forward(self, tokens: Tensor, grid: Size, pool: int = 1) -> Tensor:
        """Return the features (B, N, D) of embedded patches (B, N, D), every token computed.

        `pool`: global blocks attend to means over pool x pool cells of keys and values.
        """
        sequence = self.with_class_token(tokens + self.positions_on(grid))
        for number, block in enumerate(self.blocks):
            sequence = self.between(number, block(sequence, grid, pool), grid)
        return self.finish(sequence)

    def read(self, number: int, sequence: Tensor, readings: list[Tensor]) -> None:
        """Add what is read of the sequence (B, n, D) after block `number`, if anything is."""
        if number + 1 in self.arch.taps:
            readings.append(self.finish(sequence))

    @staticmethod
    def side_by_side(readings: Sequence[Tensor]) -> Tensor:
        """Return the features (B, n, T D) of what `finish` gave at T taps, the shallowest first."""
        return readings[0] if len(readings) == 1 else torch.cat(list(readings), dim=-1)

    def positions_on(self, grid: Size) -> Tensor:
        """Return the absolute positions (1, N, D) of a grid; kept unless a gradient is wanted."""
        if grid == self.arch.position_table:
            return self.positions.flatten(0, 1)[None]
        if not may_be_kept(self.positions):
            return self.resized(grid).flatten(0, 1)[None]
        positions = self.positions
        state = (grid, positions._version, positions.data_ptr(), positions.dtype, positions.device)
        if self._kept_positions is None or self._kept_positions[0] != state:
            with torch.no_grad():
                self._kept_positions = (state, self.resized(grid).flatten(0, 1)[None])
        return self._kept_positions[1]

    def resized(self, grid: Size) -> Tensor:
        """Return the position table resized to a grid, (rows, cols, D)."""
        return resize_bicubic(self.positions, grid)

    def with_class_token(self, tokens: Tensor) -> Tensor:
        """Put the class token, which has no position, before (B, n, D) tokens, if there is one."""
        if self.class_token is None:
            return tokens
        return torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)

    def between(
        self, number: int, sequence: Tensor, grid: Size, rows: Tensor | None = None
    ) -> Tensor:
        """Return what enters the block after block `number`, from what left that one, (B, n, D).

        By default the same. `rows` (n,): where in the whole sequence they stand; None: it is whole.
        """
        del number, grid, rows
        return sequence

    def finish(self, sequence: Tensor) -> Tensor:
        """Apply the final norm, if any, and drop the class token, if any: (B, n, D)."""
        if self.final_norm is not None:
            sequence = self.final_norm(sequence)
        return sequence if self.class_token is None else sequence[:, 1:]
