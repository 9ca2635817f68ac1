"""Lists of kept tokens that stay in order from frame to frame, as Eventful Transformers keep them.

A token that is kept on both frames keeps its slot; the slots of those that left are filled in slot
order by the newcomers in ascending order. So what a gate keeps for a slot mostly belongs to the
token that stands there.
"""

from __future__ import annotations

import torch
from torch import Tensor


def continued(before: Tensor | None, kept: Tensor, length: int) -> Tensor:
    """Return the list (B, k) of `kept` (B, k), ascending, after a frame with the list `before`.

    Both hold numbers below `length`. Without a list before, or after one of another shape, it is
    `kept` itself. Nothing waits for the device.
    """
    if before is None or before.shape != kept.shape:
        return kept
    stays = _among(kept, length).gather(1, before)
    new = ~_among(before, length).gather(1, kept)
    # The i-th newcomer of a clip goes to its i-th empty slot; the others to one that is cut off.
    rank = (new.cumsum(1) - 1).masked_fill(~new, kept.shape[1])
    newcomers = torch.zeros(len(kept), kept.shape[1] + 1, dtype=kept.dtype, device=kept.device)
    newcomers.scatter_(1, rank, kept)
    empty = ((~stays).cumsum(1) - 1).clamp(min=0)
    return before.where(stays, newcomers.gather(1, empty))


def _among(index: Tensor, length: int) -> Tensor:
    """Return which of `length` tokens are in `index` (B, k): (B, length) bool."""
    marked = torch.zeros(len(index), length, dtype=torch.bool, device=index.device)
    return marked.scatter_(1, index, True)
