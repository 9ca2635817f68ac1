"""What gated blocks cost and keep, in closed form; `gated` and `eventful` tell what they compute.

n tokens of the sequence (with a class token N + 1, with T detection tokens T more), K keys of
global blocks (n, or N / pool^2), D width, H heads, L blocks, W windowed and G global ones. Sums
over blocks come with the trace: q, p and m tokens through the gates of QKV, projection and MLP, g
of the first in global blocks, and k columns of global attention that were recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs, sequence_length
from maskvd_cli.methods.base import FLOAT32_BYTES, TokenTrace

FLOAT16_BYTES = 2


@dataclass(frozen=True)
class GlobalUpdate:
    """How global blocks attend on later frames.

    `attention`: densely (tokenwise), with changed rows and columns of q k^T (qk), or with those and
    changed columns of A v (full). Keys are means over pool x pool cells. `half`: A v in float16.
    """

    attention: Literal["tokenwise", "qk", "full"] = "tokenwise"
    pool: int = 1
    half: bool = False

    @property
    def pools_changes(self) -> bool:
        """Whether changed columns are pooled, so that their number depends on where tokens lie."""
        return self.pool > 1 and self.attention != "tokenwise"


def key_count(arch: ViTArch, grid: Size, pool: int) -> int:
    """Return K, the keys of a global block."""
    return sequence_length(arch, grid) // pool**2


def choosable(arch: ViTArch, grid: Size) -> int:
    """Return how many tokens gates choose among: all but detection tokens, which go through."""
    return sequence_length(arch, grid) - arch.trail


def uniform_trace(
    arch: ViTArch,
    grid: Size,
    update: GlobalUpdate,
    tokens: NDArray[np.int64],
    dense: NDArray[np.bool_],
) -> TokenTrace:
    """Return the trace of frames that push the same `tokens` (frames,) through all gates.

    `dense` frames push all n, whatever `tokens` says. Changed columns of global attention are taken
    to be those of the tokens, which pooled keys are not.
    """
    length, blocks = sequence_length(arch, grid), len(arch.global_blocks)
    through = np.where(dense, length, tokens)
    renewed = np.where(
        dense | (update.attention == "tokenwise"), key_count(arch, grid, update.pool), through
    )
    return TokenTrace(
        np.minimum(through - arch.trail, grid.area).astype(np.float64),
        through == length,
        {
            **dict.fromkeys(("qkv", "projection", "mlp"), through * arch.depth),
            "global_qkv": through * blocks,
            "global_keys": renewed * blocks,
            "dense": dense.astype(np.int64),
        },
    )


def executed(
    arch: ViTArch, grid: Size, update: GlobalUpdate, trace: TokenTrace, *, before_ln: bool
) -> Macs:
    """Return the MACs of gated blocks, one per frame; dense frames cost what dense costs.

    Matrix products of later frames: QKV 3qD^2, projection pD^2, MLP 2rmD^2; windowed attention, all
    of it; relative terms of global attention, all of them; its q k^T gKD + nkD, its A v 2nkD, each
    nKD where it is not updated. See `_published_extras` for the other counter.
    """
    dense = trace.counts["dense"]
    products = _later_products(arch, grid, update, trace)
    extras = _published_extras(arch, grid, update, trace, before_ln)
    later = Macs(products, products + extras)
    return costs.dense(arch, grid, update.pool) * dense + later * (1 - dense)


def _later_products(
    arch: ViTArch, grid: Size, update: GlobalUpdate, trace: TokenTrace
) -> costs.Tokens:
    counts, dim, blocks = trace.counts, arch.dim, len(arch.global_blocks)
    length, keys = sequence_length(arch, grid), key_count(arch, grid, update.pool)
    through = 3 * counts["qkv"] + counts["projection"] + 2 * arch.mlp_ratio * counts["mlp"]
    products = (
        through * dim**2
        + costs.windowed_attention(arch, grid).matrix * arch.windowed_depth
        + costs.global_attention(arch, grid, length, keys, update.pool).matrix * blocks
    )
    one_dense_product = blocks * length * keys * dim
    if update.attention != "tokenwise":
        products = products + _logits(arch, grid, update, trace) * dim - one_dense_product
    if update.attention == "full":
        products = products + 2 * length * counts["global_keys"] * dim - one_dense_product
    return products


def _logits(arch: ViTArch, grid: Size, update: GlobalUpdate, trace: TokenTrace) -> costs.Tokens:
    """Return how many entries of q k^T later frames compute, gK + nk or GnK; those of one head."""
    length, keys = sequence_length(arch, grid), key_count(arch, grid, update.pool)
    if update.attention == "tokenwise":
        return len(arch.global_blocks) * length * keys
    return trace.counts["global_qkv"] * keys + length * trace.counts["global_keys"]


def _published_extras(
    arch: ViTArch, grid: Size, update: GlobalUpdate, trace: TokenTrace, before_ln: bool
) -> costs.Tokens:
    """Return what the published counter adds to the products of later frames.

    Windowed backbones (the authors' counter): biases 3qD + pD + (1 + r)mD; residuals 2LnD and
    positions ND; relative terms 2Hab on all a x b logits, padding values; gates 3LnD. In full also
    the gates of v and A, G(KD + HnK), and the accumulation kD + 2GnD. Non-windowed (torchprofile's
    rules): as `costs.plain_vit`, with LayerNorms of the rows that they see and the scaling of the
    logits that are computed.
    """
    counts, dim, blocks = trace.counts, arch.dim, len(arch.global_blocks)
    length, keys = sequence_length(arch, grid), key_count(arch, grid, update.pool)
    if arch.torchprofiled:
        dense = costs.plain_vit(arch, grid, grid.area)
        unscaled = blocks * length * keys - _logits(arch, grid, update, trace)
        unseen = 2 * arch.depth * length - counts["qkv"] - counts["mlp"] if before_ln else 0
        return dense.published - dense.matrix - arch.heads * unscaled - unseen * dim
    windowed = costs.windowed_attention(arch, grid)
    attended = costs.global_attention(arch, grid, length, keys, update.pool)
    extras = (
        (3 * counts["qkv"] + counts["projection"] + (1 + arch.mlp_ratio) * counts["mlp"]) * dim
        + costs.residuals(arch, length).published * arch.depth
        + costs.position_add(arch, grid).published
        + (windowed.published - windowed.matrix) * arch.windowed_depth
        + (attended.published - attended.matrix) * blocks
        + 3 * arch.depth * length * dim
    )
    if update.attention != "full":
        return extras
    gates = blocks * (keys * dim + arch.heads * length * keys)
    return extras + gates + counts["global_keys"] * dim + 2 * blocks * length * dim


def state_bytes(arch: ViTArch, grid: Size, update: GlobalUpdate) -> int:
    """Return the bytes kept between frames, in float32 but for A v in half precision.

    Gates and outputs 8LnD; updated q k^T GHnK; updated A v: A GHnK, v GKD, their product GnD.
    """
    length, keys = sequence_length(arch, grid), key_count(arch, grid, update.pool)
    blocks, matrix = len(arch.global_blocks), arch.heads * length * keys
    kept = 8 * arch.depth * length * arch.dim * FLOAT32_BYTES
    if update.attention != "tokenwise":
        kept += blocks * matrix * FLOAT32_BYTES
    if update.attention == "full":
        entry = FLOAT16_BYTES if update.half else FLOAT32_BYTES
        kept += blocks * (matrix + (keys + length) * arch.dim) * entry
    return kept
