"""Attention with relative positions, without a bias for all pairs of tokens at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.families.blocks.relative import KeyPlaces, RelativeLogits

# Queries whose bias is built at once: small enough for a processor's cache, large enough for a GPU.
_QUERIES_AT_ONCE = {"cpu": 128, "cuda": 1024}


def attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    relative: RelativeLogits | None = None,
    key_places: KeyPlaces | None = None,
) -> Tensor:
    """Return softmax(q k^T / sqrt(c) + relative) v, (B, H, n, c).

    `queries` (B, H, n, c), `keys` and `values` (B, H, m, c). `relative` holds the logits that the
    queries add; keys lie on the whole grid in raster order, or at `key_places`.
    """
    if relative is None:
        return F.scaled_dot_product_attention(queries, keys, values)
    parts = [
        F.scaled_dot_product_attention(
            queries[:, :, chunk],
            keys,
            values,
            attn_mask=relative.bias(chunk, key_places),
        )
        for chunk in query_chunks(queries.shape[2], queries.device)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def query_chunks(total: int, device: torch.device) -> list[slice]:
    """Return which of `total` queries to take at once, all in turn; one empty slice of none."""
    step = _QUERIES_AT_ONCE.get(device.type, 1024)
    return [slice(start, start + step) for start in range(0, max(total, 1), step)]
