"""Silhouettes of a clip as arrays: their compressed runs one after the other, without pickles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip, Frame, Silhouette
from maskvd_cli.data import silhouettes
from maskvd_cli.tasks.matching import Floats, Ints

RUNS, ENDS = "silhouette_runs", "silhouette_ends"
SIZE = "silhouette_size"


def packed(made: Iterable[Silhouette]) -> dict[str, NDArray[Any]]:
    """Return `silhouette_runs` uint8, all bytes in a row, and `silhouette_ends` int64, one each."""
    counts = [silhouette["counts"] for silhouette in made]
    return {
        RUNS: np.frombuffer(b"".join(counts), dtype=np.uint8),
        ENDS: np.cumsum([len(part) for part in counts], dtype=np.int64),
    }


def unpacked(arrays: Mapping[str, NDArray[Any]], sizes: NDArray[Any]) -> list[Silhouette]:
    """Return the silhouettes that were packed; `sizes` (n, 2) of their frames.

    Raises ValueError for ends that do not rise to the last byte, and for runs that do not fill a
    frame.
    """
    content, ends = arrays[RUNS].tobytes(), arrays[ENDS].astype(np.int64)
    starts = np.concatenate([[0], ends]).astype(np.int64)[: len(ends)]
    if len(ends) != len(sizes) or (ends < starts).any() or (len(content) != ends[-1:].sum()):
        raise ValueError("silhouettes do not belong to their boxes")
    parts = zip(starts.tolist(), ends.tolist(), sizes.tolist(), strict=True)
    return [
        silhouettes.checked(Silhouette(size=size, counts=content[start:end]), Size(*size))
        for start, end, size in parts
    ]


def truth_silhouettes(clip: Clip) -> dict[str, NDArray[Any]]:
    """Return the silhouettes of a clip's boxes, packed. Raises UsageError where there are none."""
    return packed(made for frame in clip.frames for made in _known(frame))


def silhouettes_of(frame: Frame) -> NDArray[np.bool_]:
    """Return the pixels (n, rows, cols) of a frame's boxes. Raises UsageError where nobody knows.

    Also DatasetError for damaged ones.
    """
    return silhouettes.decoded(_known(frame), frame.size)


def _known(frame: Frame) -> Sequence[Silhouette]:
    made = frame.silhouettes()
    if made is None:
        raise UsageError(
            f"frame {frame.index} has boxes, but no instance masks",
            remedy="use a dataset that has them: synthetic or youtube-vis",
        )
    return made


class SilhouetteOverlaps:
    """Overlaps of detections with objects and with regions to ignore, by their pixels.

    Each list has a silhouette per row, `frames` the frame of each. A frame's are compared at once.
    """

    def __init__(
        self,
        detections: Sequence[Silhouette],
        objects: Sequence[Silhouette],
        ignored: Sequence[Silhouette],
        frames: tuple[Ints, Ints, Ints],
    ) -> None:
        self._detections, self._objects, self._ignored = detections, objects, ignored
        self._frames = frames

    def with_objects(self, detection: Ints, other: Ints) -> Floats:
        """Return the intersections over unions of pairs (n,)."""
        return self._pairs(detection, other, self._objects, self._frames[1], of_own_area=False)

    def with_ignored(self, detection: Ints, other: Ints) -> Floats:
        """Return what share of the detection lies in the region, of pairs (n,)."""
        return self._pairs(detection, other, self._ignored, self._frames[2], of_own_area=True)

    def _pairs(
        self,
        detection: Ints,
        other: Ints,
        theirs: Sequence[Silhouette],
        frame_of: Ints,
        *,
        of_own_area: bool,
    ) -> Floats:
        shares, own_frames = np.zeros(len(detection)), self._frames[0]
        paired = own_frames[detection]
        for frame in np.unique(paired).tolist():
            ours, them = np.flatnonzero(own_frames == frame), np.flatnonzero(frame_of == frame)
            matrix = silhouettes.overlaps(
                [self._detections[row] for row in ours.tolist()],
                [theirs[row] for row in them.tolist()],
                of_own_area=of_own_area,
            )
            now = np.flatnonzero(paired == frame)
            rows = np.searchsorted(ours, detection[now])
            shares[now] = matrix[rows, np.searchsorted(them, other[now])]
        return shares
