"""All boxes of a dataset's split at once, as a heatmap needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError, unknown
from maskvd_cli.core.placement import Placement, placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import BoxTally
from maskvd_cli.data.base import RAW, Dataset, Fingerprint
from maskvd_cli.data.cache import Arrays, load_entry, packed, save_entry, unpacked
from maskvd_cli.data.kept_clips import shelf_of
from maskvd_cli.data.overlap import frame_places
from maskvd_cli.data.stored_clips import LEAST_FRAMES, looked_into

# Rises when the same clips give other boxes.
_REVISION = 1


@dataclass(frozen=True)
class Gathered:
    """Boxes of every frame: `xyxy` (n, 4) float64, `frame_of` (n,) int64 counting all frames.

    `image_size` is the most frequent native frame size, None where there are no frames; `places`
    (frames, 2) uint64 tells the frames apart, see `data.overlap`.
    """

    xyxy: NDArray[np.float64]
    frame_of: NDArray[np.int64]
    clips: int
    frames: int
    image_size: Size | None
    fingerprint: str
    places: NDArray[np.uint64]


def protocol_for(
    classes: str | Sequence[str], dataset: type[Dataset], evaluated: str | None = None
) -> str:
    """Return the protocol under which `classes` are read: the evaluated ones, or native ones.

    Classes of one's own have one protocol only, so where that is `evaluated` it serves both.
    """
    if evaluated is not None and evaluated == dataset.own_protocol:
        return evaluated
    return dataset.protocols[0] if classes == "protocol" else RAW


def gather(
    dataset: Dataset,
    classes: str | Sequence[str],
    on_input: tuple[Size, Size | None] | None = None,
    first: int | None = None,
) -> Gathered:
    """Collect the boxes of `classes` from all clips of `dataset`, or from the `first` ones.

    `classes`: `all` (whatever the class, ignore regions too), `protocol` (objects that the
    dataset's protocol keeps), or class names. With `on_input` (input size, frame size or None for
    fit) boxes are placed as the model sees them; without, they stay in native pixels.
    Raises DatasetError for an unknown class name.
    """
    wanted = _labels(dataset, classes)
    shelf = shelf_of(dataset, "boxes", _REVISION, dataset.protocol, classes, on_input, first)
    kept = None if shelf is None else load_entry(shelf.folder, shelf.name)
    if kept is not None:
        return _restored(kept, dataset.tally)
    gathered, folders = _gathered(dataset, wanted, on_input, first)
    if shelf is not None and gathered.frames >= LEAST_FRAMES:
        arrays = _stored(gathered, dataset.tally)
        save_entry(shelf.folder, shelf.name, arrays, folders)
    return gathered


def _gathered(
    dataset: Dataset,
    wanted: list[int] | None,
    on_input: tuple[Size, Size | None] | None,
    first: int | None,
) -> tuple[Gathered, set[Path]]:
    """Return the boxes, and the folders in which images were looked for."""
    parts: list[NDArray[np.float64]] = []
    counts: list[int] = []
    sizes: Counter[Size] = Counter()
    placements: dict[Size, Placement] = {}
    folders: set[Path] = set()
    clips = 0
    content = Fingerprint(dataset.classes)
    places: list[NDArray[np.uint64]] = []
    for clip in islice(dataset.clips(), first):
        clips += 1
        content.add(clip)
        folders |= looked_into(clip.frames)
        places.append(frame_places(dataset.annotation_source, clip))
        for frame in clip.frames:
            boxes, size = frame.boxes, frame.size
            chosen = boxes.xyxy if wanted is None else boxes.xyxy[np.isin(boxes.labels, wanted)]
            if on_input is not None:
                if size not in placements:
                    placements[size] = placement(size, on_input[1], on_input[0])
                chosen = placements[size].place(chosen)
            parts.append(chosen)
            counts.append(len(chosen))
            sizes[size] += 1
    gathered = Gathered(
        np.concatenate(parts) if parts else np.zeros((0, 4)),
        np.repeat(np.arange(len(counts)), counts),
        clips,
        len(counts),
        sizes.most_common(1)[0][0] if sizes else None,
        content.hexdigest(),
        np.concatenate(places) if places else np.zeros((0, 2), dtype=np.uint64),
    )
    return gathered, folders


def _stored(gathered: Gathered, tally: BoxTally) -> Arrays:
    size = gathered.image_size
    assert size is not None
    numbers = [gathered.clips, gathered.frames, *size, tally.read, tally.clipped, tally.dropped]
    return {
        "xyxy": gathered.xyxy,
        "frame_of": gathered.frame_of,
        "places": gathered.places,
        "numbers": np.array(numbers, dtype=np.int64),
        "texts": packed([gathered.fingerprint, tally.first or ""]),
    }


def _restored(kept: Arrays, tally: BoxTally) -> Gathered:
    """Return what was stored, and set the tally as reading did."""
    clips, frames, rows, cols, tally.read, tally.clipped, tally.dropped = kept["numbers"].tolist()
    fingerprint, first = unpacked(kept["texts"])
    tally.first = first or None
    # torch takes arrays that may be written to.
    xyxy, frame_of = kept["xyxy"].copy(), kept["frame_of"].copy()
    return Gathered(xyxy, frame_of, clips, frames, Size(rows, cols), fingerprint, kept["places"])


def _labels(dataset: Dataset, classes: str | Sequence[str]) -> list[int] | None:
    """Return the labels to keep, or None for all."""
    if classes == "all":
        return None
    if classes == "protocol":
        return list(range(len(dataset.classes)))
    names = [classes] if isinstance(classes, str) else list(classes)
    for name in names:
        if name not in dataset.classes:
            raise DatasetError(
                unknown("class", name, dataset.classes),
                where=dataset.name,
                remedy="or use all, or protocol",
            )
    return [dataset.classes.index(name) for name in names]
