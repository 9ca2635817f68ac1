"""Frames since the last full one: how fast a method grows stale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# First and last age of each bucket; the last bucket is open.
BUCKETS: tuple[tuple[int, int | None], ...] = (
    (0, 0),
    (1, 1),
    (2, 3),
    (4, 7),
    (8, 15),
    (16, 31),
    (32, None),
)


@dataclass(frozen=True)
class Bucket:
    """The frames whose age lies in first..last, None for no end; `inside` (frames,) 1 or 0."""

    first: int
    last: int | None
    inside: NDArray[np.int64]


def ages(full: Sequence[bool] | NDArray[np.bool_]) -> list[int]:
    """Return, for a clip's frames in order, how many frames ago the last full one was.

    0 for full frames; a clip that begins without one counts from its first frame.
    """
    since: list[int] = []
    for position, is_full in enumerate(full):
        since.append(0 if is_full or position == 0 else since[-1] + 1)
    return since


def buckets(age_of: NDArray[np.int64]) -> Iterator[Bucket]:
    """Yield the buckets that hold frames of these ages (frames,)."""
    for first, last in BUCKETS:
        inside = age_of >= first
        if last is not None:
            inside &= age_of <= last
        if inside.any():
            yield Bucket(first, last, inside.astype(np.int64))
