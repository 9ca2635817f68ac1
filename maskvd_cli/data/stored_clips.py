"""A split's clips as arrays in the cache, so that a large set is parsed once."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes, BoxTally, Clip, Frame, Sought
from maskvd_cli.data.cache import (
    Arrays,
    cache_folder,
    digest,
    load_entry,
    packed,
    save_entry,
    unpacked,
)

# Rises when entries are laid out in another way.
_REVISION = 1
# Smaller sets are read faster than they are worth keeping.
LEAST_FRAMES = 2000


@dataclass(frozen=True)
class Shelf:
    """Where a split's clips are kept, and under which name."""

    folder: Path
    name: str

    @classmethod
    def of(cls, root: Path, stamp: str) -> Shelf | None:
        """Return the place for what has this stamp; None where nothing is to be kept."""
        folder = cache_folder(root)
        return None if folder is None else cls(folder, digest([_REVISION, stamp]))

    def load(self) -> StoredClips | None:
        """Return the clips that are kept; None where there are none that hold."""
        arrays = load_entry(self.folder, self.name)
        return None if arrays is None else StoredClips(arrays)


class StoredClips:
    """Clips of an entry of the cache, with class names and remarks of their reader.

    `fingerprint` is that of all the clips.
    """

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self.fingerprint, *classes = unpacked(arrays["classes"])
        self.classes = tuple(classes)
        self.remarks = tuple(unpacked(arrays["remarks"]))

    def clips(self, tally: BoxTally) -> Iterator[Clip]:
        """Yield the clips; `tally` counts boxes as it did when they were read."""
        arrays = self._arrays
        names, videos = unpacked(arrays["names"]), unpacked(arrays["videos"])
        firsts = unpacked(arrays["firsts"])
        with _without_collection():
            frames = self._frames(names)
        edges = arrays["clip_starts"].tolist()
        for row, (start, end) in enumerate(pairwise(edges)):
            tally.read, tally.clipped, tally.dropped = arrays["tallies"][row].tolist()
            tally.first = firsts[row] or None
            yield Clip(names[row], tuple(frames[start:end]), videos[row])

    def _frames(self, clips: list[str]) -> list[Frame]:
        arrays = self._arrays
        boxes = Boxes(*(arrays[key] for key in ("xyxy", "labels", "tracks", "ignore")))
        sizes = [Size(*size) for size in arrays["sizes"].tolist()]
        sources, names = unpacked(arrays["sources"]), unpacked(arrays["files"])
        places = [tuple(map(Path, text.split("\n"))) for text in unpacked(arrays["places"])]
        clip_of = np.repeat(np.arange(len(clips)), np.diff(arrays["clip_starts"])).tolist()
        columns = zip(
            pairwise(arrays["starts"].tolist()), clip_of, names,
            *(arrays[key].tolist() for key in _COLUMNS), strict=True,
        )  # fmt: skip
        frames: list[Frame] = []
        for (start, end), clip, name, number, size, source, place, present in columns:
            file = sought = None
            if present:
                file = places[place][0] / name
            elif place >= 0:
                sought = Sought(clips[clip], name, places[place])
            frames.append(
                Frame(number, file, sizes[size], boxes[start:end], sources[source], sought)
            )
        return frames


_COLUMNS = ("numbers", "size_of", "source_of", "place_of", "present")


class Recorder:
    """Gathers clips as they are read, to keep them when all of a split were."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._clips: list[tuple[str, str, int, int, int, int, str]] = []
        self._labelled = False

    def add(self, clip: Clip, tally: BoxTally) -> None:
        """Take one more clip, and the tally as it stands behind it."""
        self._frames += clip.frames
        counts = (tally.read, tally.clipped, tally.dropped)
        self._clips.append((clip.name, clip.video, len(clip), *counts, tally.first or ""))
        self._labelled |= clip.label is not None

    def save(
        self, shelf: Shelf, fingerprint: str, classes: tuple[str, ...], remarks: tuple[str, ...]
    ) -> None:
        """Keep what was gathered, unless it is small or holds what entries do not."""
        if len(self._frames) < LEAST_FRAMES or self._labelled:
            return
        frames = self._frames
        sizes, sources, places = _Table(), _Table(), _Table()
        rows = [
            (
                frame.index, sizes.row(frame.size), sources.row(frame.size_source),
                places.row(_place(frame)), frame.file is not None,
            )
            for frame in frames
        ]  # fmt: skip
        names, videos, lengths, read, clipped, dropped, firsts = zip(*self._clips, strict=True)
        texts = {
            "classes": (fingerprint, *classes), "remarks": remarks, "names": names,
            "videos": videos, "firsts": firsts, "sources": sources,
            "files": [_name(frame) for frame in frames],
            "places": ["\n".join(place) for place in places],
        }  # fmt: skip
        if any("\0" in text for column in texts.values() for text in column):
            return
        boxes = [frame.boxes for frame in frames]
        arrays: Arrays = {key: packed(column) for key, column in texts.items()}
        arrays |= {
            "clip_starts": _starts(lengths),
            "tallies": np.stack([np.array(part) for part in (read, clipped, dropped)], axis=1),
            "sizes": np.array(list(sizes), dtype=np.int64),
            "starts": _starts([len(part) for part in boxes]),
            "xyxy": np.concatenate([part.xyxy for part in boxes]),
            "labels": np.concatenate([part.labels for part in boxes]),
            "tracks": np.concatenate([part.track_ids for part in boxes]),
            "ignore": np.concatenate([part.ignore for part in boxes]),
        }
        arrays |= dict(zip(_COLUMNS, map(np.array, zip(*rows, strict=True)), strict=True))
        save_entry(shelf.folder, shelf.name, arrays, looked_into(frames))


def looked_into(frames: Sequence[Frame]) -> set[Path]:
    """Return the folders whose lists of names decided which frames have an image."""
    below = {
        (frame.sought.folders, frame.sought.name.rpartition("/")[0])
        for frame in frames
        if frame.sought
    }
    tried = {folder / inner for folders, inner in below for folder in folders}
    return tried | {frame.file.parent for frame in frames if frame.file}


class _Table:
    """Values in the order in which they came, each once."""

    def __init__(self) -> None:
        self._rows: dict[Any, int] = {}

    def row(self, value: Any) -> int:
        """Return a value's row; -1 for None."""
        return -1 if value is None else self._rows.setdefault(value, len(self._rows))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


def _place(frame: Frame) -> tuple[str, ...] | None:
    """Return the folder of a frame's image, or those in which it was looked for."""
    if frame.file is not None:
        return (str(frame.file.parent),)
    return None if frame.sought is None else tuple(map(str, frame.sought.folders))


def _name(frame: Frame) -> str:
    if frame.file is not None:
        return frame.file.name
    return "" if frame.sought is None else frame.sought.name


def _starts(lengths: Any) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


@contextmanager
def _without_collection() -> Generator[None]:
    """Do not look for garbage among objects that are all kept: it takes most of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
