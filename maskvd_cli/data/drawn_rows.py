"""Rows of drawn clips, kept in the user's cache: drawing their id maps takes 10 ms a frame."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from maskvd_cli.data.cache import Arrays, digest, load_entry, packed, save_entry, unpacked
from maskvd_cli.data.stored_clips import Shelf
from maskvd_cli.data.synthetic import LabelRow

Rows = tuple[LabelRow, ...]
# Where the code that draws lies: rows of other code are others.
_DRAWING = Path(__file__).resolve().parent / "rendering"


class DrawnRows:
    """The rows of a split's first clips: those that are kept, and those that are drawn.

    `parts` decide them, besides the code that draws and the libraries that it stands on. What was
    drawn is kept when the `with` block ends.
    """

    def __init__(self, *parts: object) -> None:
        versions = (np.__version__, cv2.__version__)
        stamp = digest(["drawn rows", _code(), *versions, *parts])
        self._shelf = Shelf.of(_DRAWING, stamp)
        kept = None if self._shelf is None else load_entry(self._shelf.folder, self._shelf.name)
        self._rows: list[Rows] = [] if kept is None else _unpacked(kept)
        self._known = len(self._rows)

    def __enter__(self) -> DrawnRows:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._shelf is not None and len(self._rows) > self._known:
            save_entry(self._shelf.folder, self._shelf.name, _packed(self._rows), ())

    def get(self, clip: int, draw: Callable[[], Rows]) -> Rows:
        """Return the rows of a clip; clips are asked for in their order."""
        if clip == len(self._rows):
            self._rows.append(draw())
        return self._rows[clip]


@cache
def _code() -> str:
    """Return a digest of the code that draws."""
    return digest(file.read_text("utf-8") for file in sorted(_DRAWING.glob("*.py")))


def _packed(clips: list[Rows]) -> Arrays:
    rows = [row for clip in clips for row in clip]
    numbers = [(row.frame, row.track, row.truncated, row.occluded) for row in rows]
    return {
        "starts": np.cumsum([0, *map(len, clips)], dtype=np.int64),
        "numbers": np.array(numbers, dtype=np.int64).reshape(-1, 4),
        "values": np.array([row.values for row in rows], dtype=np.float64).reshape(len(rows), -1),
        "kinds": packed(row.kind for row in rows),
    }


def _unpacked(kept: Arrays) -> list[Rows]:
    columns = zip(
        kept["numbers"].tolist(), unpacked(kept["kinds"]), kept["values"].tolist(), strict=True
    )
    rows = [
        LabelRow(frame, track, kind, truncated, occluded, tuple(values))
        for (frame, track, truncated, occluded), kind, values in columns
    ]
    return [tuple(rows[start:end]) for start, end in pairwise(kept["starts"].tolist())]
