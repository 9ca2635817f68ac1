"""Which frames two parts of a dataset share: a heatmap must not learn from what is evaluated."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.types import Clip

# Odd, so that no two numbers of frames give the same product.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def frame_places(source: Path, clip: Clip) -> NDArray[np.uint64]:
    """Return two digests for each frame, (frames, 2) uint64.

    The first is of the annotation source, the video and the frame's number, the second of the image
    file, 0 where there is none: two annotation files may name the same images.
    """
    video = np.uint64(_digest(f"{source}\0{clip.video}"))
    numbers = np.array([frame.index for frame in clip.frames], dtype=np.uint64)
    files = [0 if frame.file is None else _digest(str(frame.file)) for frame in clip.frames]
    return np.stack([video + numbers * _SPREAD, np.array(files, dtype=np.uint64)], axis=1)


def shared_frames(seen: NDArray[np.uint64], source: Path, clips: Iterable[Clip]) -> int:
    """Return how many frames of `clips` are among those with the places `seen` (n, 2)."""
    parts = [frame_places(source, clip) for clip in clips]
    if not parts or not len(seen):
        return 0
    places = np.concatenate(parts)
    same = np.isin(places[:, 0], seen[:, 0])
    same |= np.isin(places[:, 1], seen[:, 1]) & (places[:, 1] != 0)
    return int(same.sum())


def _digest(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
