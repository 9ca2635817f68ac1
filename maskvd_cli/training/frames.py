"""Which frames are learnt and evaluated, and in which order: a function of seed and position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.types import Frame
from maskvd_cli.core.words import counted
from maskvd_cli.data.base import Dataset, Fingerprint
from maskvd_cli.data.registry import datasets
from maskvd_cli.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class FrameList:
    """Frames of one split and their `dataset`; `fingerprint` tells other annotations apart.

    `clips`: all frames of every clip; `places`: the clip of each of `frames`, and where in it.
    """

    dataset: Dataset
    frames: tuple[Frame, ...]
    fingerprint: str
    clips: tuple[tuple[Frame, ...], ...] = ()
    places: tuple[tuple[int, int], ...] = ()

    def before(self, index: int, gap: int) -> Frame:
        """Return the frame so many frames before that at `index`; the clip's first at most."""
        clip, place = self.places[index]
        return self.clips[clip][max(place - gap, 0)]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def objects(self) -> int:
        """Number of boxes that are no ignore regions."""
        return sum(len(frame.boxes.objects) for frame in self.frames)


def training_frames(recipe: TrainingRecipe) -> FrameList:
    """Return the frames to learn. Raises DatasetError where there are none, or no objects."""
    section = recipe.dataset
    split = section.split or datasets.load(section.name).training_split
    return _listed(_opened(recipe, split), section.stride)


def evaluation_frames(recipe: TrainingRecipe) -> FrameList:
    """Return the frames to evaluate. Raises DatasetError where there are none, or no objects."""
    section = recipe.evaluation
    split = section.split or datasets.load(recipe.dataset.name).evaluation_split
    return _listed(_opened(recipe, split), section.stride, section.limit)


def frame_at(position: int, frames: int, seed: int) -> int:
    """Return which of `frames` is learnt at `position`: each once an epoch, shuffled anew."""
    epoch, place = divmod(position, frames)
    return int(_permutation(frames, seed, epoch)[place])


@lru_cache(maxsize=2)
def _permutation(frames: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(frames)


def _opened(recipe: TrainingRecipe, split: str) -> Dataset:
    section = recipe.dataset
    root = None if section.root is None else Path(section.root)
    return datasets.load(section.name)(root, split, section.protocol)


def _listed(dataset: Dataset, stride: int, limit: int | None = None) -> FrameList:
    content, clips = Fingerprint(dataset.classes), list[tuple[Frame, ...]]()
    for clip in dataset.clips():
        content.add(clip)
        clips.append(tuple(clip.frames))
    places = [
        (number, place)
        for number, frames in enumerate(clips)
        for place in range(0, len(frames), stride)
    ]
    if limit is not None and len(places) > limit:
        places = [places[index * len(places) // limit] for index in range(limit)]
    frames = tuple(clips[number][place] for number, place in places)
    listed = FrameList(dataset, frames, content.hexdigest(), tuple(clips), tuple(places))
    if not listed.objects:
        raise DatasetError(
            f"split {dataset.split} has no object in its {counted(len(frames), 'frame')}",
            where=dataset.name,
            remedy="choose another split or protocol, or a smaller stride",
        )
    return listed
