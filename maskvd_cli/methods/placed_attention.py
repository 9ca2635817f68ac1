"""Attention of tokens that lie anywhere, in each clip elsewhere, and stand for several each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.attention import query_chunks
from maskvd_cli.families.blocks.relative import RelativeLogits
from maskvd_cli.families.blocks.vit import Block


@dataclass(frozen=True)
class Places:
    """Where the tokens of sequences lie: `at` (B, n), flat indices on `table`, a grid or a window.

    `empty` (B, p): places that hold padding, which is attended to and asks nothing; None: none.
    """

    table: Size
    at: Tensor
    empty: Tensor | None = None


def attend_at(block: Block, qkv: Tensor, places: Places, sizes: Tensor | None = None) -> Tensor:
    """Return the attention output (B, n, D) of sequences, each among itself and its padding.

    `qkv` (B, n, 3D). `sizes` (B, n): log s is added to the logits towards a token that stands for s
    tokens; None: for one each. Padding has the key and value of a zero vector, the bias, as in
    `Block.attend`.
    """
    query, key, value = block.split(qkv)
    at = places.at
    if places.empty is not None and places.empty.shape[1]:
        at = torch.cat([at, places.empty], dim=1)
        _, *padding = block.split(block.qkv.bias.expand(*places.empty.shape, -1))
        key, value = (
            torch.cat([own, more], dim=2) for own, more in zip((key, value), padding, strict=True)
        )
    weights = None
    if sizes is not None:
        logs = sizes.to(torch.promote_types(query.dtype, torch.float32)).log().to(query.dtype)
        weights = F.pad(logs, (0, at.shape[1] - logs.shape[1]))[:, None, None]
    if block.relative is None:
        return block.merge(F.scaled_dot_product_attention(query, key, value, attn_mask=weights))
    relative = block.relative(query, places.table, at=places.at)
    rows, cols = (part[:, None, None] for part in (at // places.table.cols, at % places.table.cols))
    parts: list[Tensor] = []
    for some in query_chunks(query.shape[2], query.device):
        bias = _bias(relative, some, rows, cols)
        bias = bias if weights is None else bias + weights
        part = F.scaled_dot_product_attention(query[:, :, some], key, value, attn_mask=bias)
        parts.append(part)
    return block.merge(parts[0] if len(parts) == 1 else torch.cat(parts, dim=2))


def _bias(relative: RelativeLogits, some: slice, rows: Tensor, cols: Tensor) -> Tensor:
    """Return what some queries add to their logits, (B, H, queries, keys).

    `rows` and `cols` (B, 1, 1, keys) are those of the keys.
    """
    down, across = relative.rows[:, :, some], relative.cols[:, :, some]
    shape = (*down.shape[:3], rows.shape[-1])
    return down.gather(-1, rows.expand(shape)) + across.gather(-1, cols.expand(shape))
