"""What a run stored of a task: the truth, outputs clip by clip, and their evaluation.

Reads both layouts: pieces with `truth.npz`, and COCO's lists in `predictions/<key>.json.gz` with
`truth.json.gz`, which runs of before wrote. Whatever is wrong with the files ends in a ResultError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.types import Clip
from maskvd_cli.store.earlier_outputs import check_fit
from maskvd_cli.store.runs import Run, part_of
from maskvd_cli.tasks.ages import ages
from maskvd_cli.tasks.base import Arrays, Evaluation, Task
from maskvd_cli.tasks.coco import Listing

T = TypeVar("T")


@dataclass(frozen=True)
class ClipOutputs:
    """The outputs of one clip, and the age of each of its frames: since the last full one."""

    arrays: Arrays
    ages: NDArray[np.int64]


@dataclass(frozen=True)
class StoredTruth:
    """What outputs are scored against: arrays of each clip, and the video that it is from."""

    run: Run
    classes: Sequence[str]
    clips: Sequence[str]
    videos: Sequence[str]
    arrays: Sequence[Arrays]
    listing: Listing | None = None

    @classmethod
    def of(cls, run: Run) -> StoredTruth:
        """Read the truth of a run. Raises ResultError where it is absent or damaged."""
        return sound(run, lambda: _listed(run) if run.has_listed_truth() else _stored(run))

    def is_that_of(self, other: StoredTruth) -> bool:
        """Tell whether two runs have the same clips, classes and truth."""
        if (self.classes, self.clips) != (other.classes, other.clips):
            return False
        pairs = zip(self.arrays, other.arrays, strict=True)
        return all(_equal(ours, theirs) for ours, theirs in pairs)

    def outputs(self, key: str) -> Iterator[ClipOutputs]:
        """Yield the outputs of every clip of a point, read when asked for."""
        if self.run.has_listed_predictions(key):
            yield from self._listed_outputs(key)
            return
        for number, known in enumerate(self.arrays):
            piece = self.run.piece(key, number)
            since = np.array(ages(piece.arrays["is_full"].astype(np.bool_)), dtype=np.int64)
            if len(since) != len(known["index"]):
                raise ValueError("frames are not those of the truth")
            yield ClipOutputs(piece.outputs, since)

    def _listed_outputs(self, key: str) -> Iterator[ClipOutputs]:
        if self.listing is None:
            raise ValueError("predictions of an earlier version, but no truth of it")
        stored = self.run.predictions(key)
        check_fit(self.run.truth(), stored)
        made = self.listing.outputs(stored["results"]), self.listing.ages(stored["frames"])
        for arrays, since in zip(*made, strict=True):
            yield ClipOutputs(arrays, since)


def truth_content(
    task: Task, clips: Sequence[Clip], classes: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the truth of clips as arrays by `clip/name` and facts, as runs store it."""
    arrays = {
        f"{part_of(number)}/{name}": array
        for number, clip in enumerate(clips)
        for name, array in task.truth(clip, classes).items()
    }
    facts = {
        "task": task.name,
        "classes": list(classes),
        "clips": [clip.name for clip in clips],
        "videos": [str(getattr(clip, "video", "") or clip.name) for clip in clips],
    }
    return arrays, facts


def evaluation(truth: StoredTruth, key: str, task: Task) -> Evaluation:
    """Match the outputs of a point clip by clip and return their evaluation.

    Raises ResultError for outputs that are absent, damaged or not of the truth's clips.
    """

    def scored() -> Evaluation:
        matches: list[Arrays] = []
        since: list[NDArray[np.int64]] = []
        for known, found in zip(truth.arrays, truth.outputs(key), strict=True):
            matches.append(task.match(known, found.arrays, truth.classes))
            since.append(found.ages)
        return task.evaluation(matches, since, truth.classes)

    return sound(truth.run, scored)


def tracking(truth: StoredTruth, key: str, task: Task) -> Evaluation:
    """Link and match the outputs of a point over its clips and return their evaluation.

    Raises ResultError for outputs that are absent, damaged or not of the truth's clips.
    """

    def scored() -> Evaluation:
        pairs = zip(truth.arrays, truth.outputs(key), strict=True)
        clips = ((known, found.arrays) for known, found in pairs)
        return task.tracking(clips, truth.classes)

    return sound(truth.run, scored)


def same_outputs(first: StoredTruth, second: StoredTruth, keys: tuple[str, str]) -> bool:
    """Tell whether two points have the same outputs, digit by digit, stored in one layout.

    Points say so themselves; outputs are read only where one of them is older than that.
    """
    records = [truth.run.point(key) for truth, key in zip((first, second), keys, strict=True)]
    told = [None if record is None else record.outputs for record in records]
    if None not in told:
        return told[0] == told[1]

    def same() -> bool:
        pairs = zip_longest(first.outputs(keys[0]), second.outputs(keys[1]))
        return all(ours and theirs and _equal(ours.arrays, theirs.arrays) for ours, theirs in pairs)

    return sound(second.run, same)


def _equal(first: Arrays, second: Arrays) -> bool:
    return set(first) == set(second) and all(
        first[name].dtype == second[name].dtype and np.array_equal(first[name], second[name])
        for name in first
    )


def sound(run: Run, read: Callable[[], T]) -> T:
    """Read, and turn what damaged outputs or truths raise into a ResultError."""
    try:
        return read()
    except (KeyError, TypeError, IndexError, ValueError, OverflowError, AttributeError) as error:
        raise ResultError(
            f"predictions or truth are damaged ({type(error).__name__}: {error})",
            where=run.folder,
            remedy="remove the point's file and sweep again",
        ) from error


def _listed(run: Run) -> StoredTruth:
    listing = Listing(run.truth())
    return StoredTruth(
        run, listing.classes, listing.clips, listing.videos, listing.truth(), listing
    )


def _stored(run: Run) -> StoredTruth:
    arrays, facts = run.truth_arrays()
    clips: list[dict[str, NDArray[Any]]] = [{} for _ in facts["clips"]]
    for name, array in arrays.items():
        part, _, own = name.partition("/")
        clips[int(part)][own] = array
    classes, names, videos = (_names(facts[name]) for name in ("classes", "clips", "videos"))
    if len(names) != len(videos):
        raise ValueError("not every clip has a video")
    return StoredTruth(run, classes, names, videos, clips)


def _names(words: list[Any]) -> list[str]:
    if not all(isinstance(word, str) for word in words):
        raise ValueError("a name is no text")
    return words
