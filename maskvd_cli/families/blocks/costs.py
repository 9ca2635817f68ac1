"""Multiply-accumulates of a backbone's parts, in closed form and under two counters.

`matrix` counts matrix products: linear layers, attention products, relative-position products.
`published` is the counter behind the papers' numbers: for windowed backbones that of Eventful
Transformers (also MaskVD's), which adds one per bias element, per residual or position addition
and two per attention logit for the relative terms, and leaves out LayerNorm, softmax and GELU;
for the non-windowed one torchprofile's, which counts LayerNorms, attention scaling and the patch
embedding, but no additions. Neither counts the pyramid and the heads.

Token counts may be whole numbers or integer arrays (one entry per frame).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch

Tokens = int | NDArray[np.int64]


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates under both counters, whole numbers or one per frame."""

    matrix: Tokens
    published: Tokens

    def __add__(self, other: Macs) -> Macs:
        return Macs(self.matrix + other.matrix, self.published + other.published)

    def __mul__(self, times: Tokens) -> Macs:
        return Macs(self.matrix * times, self.published * times)


def ones(frames: int) -> NDArray[np.int64]:
    """Return what a cost per frame is multiplied with to stand for `frames` frames."""
    return np.ones(frames, dtype=np.int64)


def sequence_length(arch: ViTArch, grid: Size) -> int:
    """Return n, the tokens that pass through the blocks: of the grid, the lead and the trail."""
    return grid.area + arch.lead + arch.trail


def qkv(arch: ViTArch, tokens: Tokens) -> Macs:
    """Query, key and value layer of one block: 3nD^2, biases 3nD."""
    matrix = 3 * tokens * arch.dim**2
    return Macs(matrix, matrix + 3 * tokens * arch.dim)


def projection_and_mlp(arch: ViTArch, tokens: Tokens) -> Macs:
    """Projection and MLP of one block on n tokens: (1 + 2r)nD^2, biases (2 + r)nD."""
    matrix = (1 + 2 * arch.mlp_ratio) * tokens * arch.dim**2
    return Macs(matrix, matrix + (2 + arch.mlp_ratio) * tokens * arch.dim)


def residuals(arch: ViTArch, tokens: Tokens) -> Macs:
    """The two residual additions of one block on n tokens: 2nD additions."""
    return Macs(0 * tokens, 2 * tokens * arch.dim)


def position_add(arch: ViTArch, grid: Size) -> Macs:
    """Adding the absolute positions to all n tokens: nD additions.

    A class token has no position here, but one in the code that this counter stands for.
    """
    return Macs(0, sequence_length(arch, grid) * arch.dim)


def windowed_attention(arch: ViTArch, grid: Size) -> Macs:
    """Attention of one windowed block over all windows, padding included.

    With w x w windows and Np padded tokens: products 2 Np w^2 D; relative terms 2 Np w D and
    2 H Np w^2 additions; where windows need padding, the padding value costs 3D. With c tokens
    without a place in each of W windows: products 2 (Np + W c)(w^2 + c) D.
    """
    padded, window = arch.padded(grid), arch.window_on(grid)
    queries = padded.area + arch.windows(grid).area * arch.window_lead
    matrix = window_products(arch, queries, window)
    published = 3 * arch.dim if padded != grid else 0
    if arch.relative_table:
        published += 2 * arch.heads * padded.area * window.area
    return Macs(matrix, matrix + published)


def window_products(arch: ViTArch, queries: Tokens, window: Size | None = None) -> Tokens:
    """Matrix products of `queries` that attend within their windows: 2 n (w^2 + c) D + 2 n w D.

    `window`: where it depends on the grid; c: the tokens without a place that each has.
    """
    window = window or arch.window
    products = 2 * queries * (window.area + arch.window_lead) * arch.dim
    if arch.relative_table:
        products = products + queries * sum(window) * arch.dim
    return products


def global_attention(
    arch: ViTArch,
    grid: Size,
    queries: Tokens,
    keys: Tokens,
    pool: int = 1,
) -> Macs:
    """Attention of one global block of a queries to b keys.

    Products 2abD; relative terms a(R + C)D and 2Hab additions on a grid of R rows and C columns of
    keys, which pooling divides.
    """
    matrix = 2 * queries * keys * arch.dim
    published = 0 * matrix
    if arch.relative_table:
        matrix = matrix + queries * (sum(grid) // pool) * arch.dim
        published = published + 2 * arch.heads * queries * keys
    return Macs(matrix, matrix + published)


def dense(arch: ViTArch, grid: Size, pool: int = 1) -> Macs:
    """The whole backbone on all tokens of one frame."""
    if arch.torchprofiled:
        return plain_vit(arch, grid, grid.area)
    tokens = sequence_length(arch, grid)
    layers = qkv(arch, tokens) + projection_and_mlp(arch, tokens) + residuals(arch, tokens)
    global_blocks = global_attention(arch, grid, tokens, tokens // pool**2, pool)
    return (
        layers * arch.depth
        + windowed_attention(arch, grid) * arch.windowed_depth
        + global_blocks * len(arch.global_blocks)
        + position_add(arch, grid)
    )


def plain_vit(arch: ViTArch, grid: Size, tokens: Tokens, among: Tokens | None = None) -> Macs:
    """The whole non-windowed backbone on n tokens, m = n + lead + trail.

    They attend to `among` tokens of the grid, by default to themselves; k = `among` + lead + trail.
    matrix: L(12mD^2 + 2mk D). published adds torchprofile's extras: patch embedding of all N
    tokens, N 3p^2 D; LayerNorms (2L + 1)mD; attention scaling L H mk.
    """
    beside = arch.lead + arch.trail
    sequence, keys = tokens + beside, (tokens if among is None else among) + beside
    linear = qkv(arch, sequence) + projection_and_mlp(arch, sequence)
    attention = global_attention(arch, grid, sequence, keys)
    matrix = arch.depth * (linear.matrix + attention.matrix)
    norms = (2 * arch.depth + int(arch.final_norm)) * sequence * arch.dim
    scaling = arch.depth * arch.heads * sequence * keys
    embedding = grid.area * 3 * arch.patch**2 * arch.dim
    return Macs(matrix, matrix + embedding + norms + scaling)
