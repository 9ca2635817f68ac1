"""MaskVD's schedule and union: full frames, and static and dynamic mask together between them."""

from __future__ import annotations

import torch
from torch import Tensor


def scheduled(  # noqa: PLR0913 - the schedule, its extent, and the masks of its union
    period: int,
    frames: int,
    tokens: int,
    *,
    static: Tensor | None = None,
    dynamic: Tensor | None = None,
    own: Tensor | None = None,
) -> Tensor:
    """Return the tokens to recompute on each frame of a clip: (frames, tokens) bool.

    Frame t is full where t % period == 0; else it keeps the union of `static` (tokens,) bool and
    of row t-1 of `dynamic` (frames, tokens) bool, the mask from the boxes of the previous frame,
    and of row t of `own` (frames, tokens) bool, chosen for that very frame.
    """
    kept = torch.zeros(frames, tokens, dtype=torch.bool)
    if static is not None:
        kept |= static
    if dynamic is not None:
        kept[1:] |= dynamic[:-1]
    if own is not None:
        kept |= own
    kept[::period] = True
    return kept
