"""Which frames are learnt and evaluated, and in which order: a function of seed and position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError, UsageError
from maskvd_cli.core.looks import Looks
from maskvd_cli.core.types import Clip, Frame
from maskvd_cli.core.words import counted
from maskvd_cli.data.base import Dataset, Fingerprint
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.base import Family, check_trainable
from maskvd_cli.families.zoo import entry
from maskvd_cli.tasks.recognition import label_of
from maskvd_cli.training.recipe import TrainedModel, TrainingRecipe

_EVERY_FRAME = Looks(1)


@dataclass(frozen=True)
class FrameList:
    """Frames of one split and their `dataset`; `fingerprint` tells other annotations apart.

    `unit`: what is counted in it. `clips`: all frames of every clip; `places`: the clip of each of
    `frames`, and where in it.
    """

    unit: ClassVar[str] = "frame"

    dataset: Dataset
    frames: tuple[Frame, ...]
    fingerprint: str
    clips: tuple[tuple[Frame, ...], ...] = ()
    places: tuple[tuple[int, int], ...] = ()

    def before(self, index: int, gap: int) -> Frame:
        """Return the frame so many frames before that at `index`; the clip's first at most."""
        clip, place = self.place_before(index, gap)
        return self.clips[clip][place]

    def place_before(self, index: int, gap: int) -> tuple[int, int]:
        """Return the clip of that frame, and where in it."""
        clip, place = self.places[index]
        return clip, max(place - gap, 0)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def objects(self) -> int:
        """Number of boxes that are no ignore regions."""
        return sum(len(frame.boxes.objects) for frame in self.frames)


@dataclass(frozen=True)
class LookList(FrameList):
    """Videos of one split: `frames` are whole clips here, each with a class; `looks` at them."""

    unit: ClassVar[str] = "video"

    looks: Looks = _EVERY_FRAME

    @property
    def objects(self) -> int:
        """Number of videos, all of which have a class."""
        return len(self.frames)

    @property
    def videos(self) -> Sequence[Clip]:
        """The clips themselves."""
        return cast(Sequence[Clip], self.frames)


def training_frames(recipe: TrainingRecipe) -> FrameList:
    """Return what is to learn. Raises DatasetError where there is nothing, or no objects."""
    section = recipe.dataset
    split = section.split or datasets.load(section.name).training_split
    if (looks := looks_of(recipe)) is not None:
        return listed_looks(_opened(recipe, split), looks)
    return _listed(_opened(recipe, split), section.stride)


def evaluation_frames(recipe: TrainingRecipe) -> FrameList:
    """Return what is to evaluate. Raises DatasetError where there is nothing, or no objects."""
    section = recipe.evaluation
    split = section.split or datasets.load(recipe.dataset.name).evaluation_split
    if (looks := looks_of(recipe)) is not None:
        return listed_looks(_opened(recipe, split), looks, section.limit)
    return _listed(_opened(recipe, split), section.stride, section.limit)


def frame_at(position: int, frames: int, seed: int) -> int:
    """Return which of `frames` is learnt at `position`: each once an epoch, shuffled anew."""
    epoch, place = divmod(position, frames)
    return int(_permutation(frames, seed, epoch)[place])


@lru_cache(maxsize=2)
def _permutation(frames: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(frames)


def looks_of(recipe: TrainingRecipe) -> Looks | None:
    """Return how the recipe's model looks at videos, None where at frames.

    Raises UsageError for sections of a recipe that such a model does not know.
    """
    known = entry(recipe.model.name)
    _check_words(recipe.model, known.family)
    looks = known.family.looks(known.arch)
    if looks is None:
        return None
    given = ["model.frame"] if recipe.model.frame is not None else []
    given += _unknown_to_looks(recipe)
    given += ["mask"] if recipe.mask is not None else []
    given += ["dataset.stride"] if recipe.dataset.stride != 1 else []
    given += ["evaluation.stride"] if recipe.evaluation.stride != 1 else []
    if given:
        raise UsageError(
            f"{given[0]} is not for {recipe.model.name}, which looks at whole videos",
            remedy=f"leave {' and '.join(given)} out",
        )
    return looks


def _check_words(section: TrainedModel, family: type[Family[Any, Any]]) -> None:
    """Raise UsageError for a family that is not trained, and for words that it does not know."""
    check_trainable(family, section.name)
    known = {"name", "input", "frame", *family.trained_with}
    given = [
        f"model.{name}"
        for name, field in TrainedModel.model_fields.items()
        if name not in known and getattr(section, name) != field.default
    ]
    if given:
        raise UsageError(
            f"{given[0]} is not for {section.name}, which is of the family {family.name}",
            remedy=f"leave {' and '.join(given)} out",
        )


def _unknown_to_looks(recipe: TrainingRecipe) -> list[str]:
    """Return what of a method, and beside one, means nothing where its features are kept."""
    section = recipe.method
    if section is None:
        return []
    fields = type(section).model_fields
    given = [
        f"method.{name}"
        for name in ("frozen", "detector_rate")
        if getattr(section, name) != fields[name].default
    ]
    augmented = recipe.augmentation != type(recipe.augmentation)()
    return [*given, *(["augmentation beside method"] if augmented else [])]


def listed_looks(dataset: Dataset, looks: Looks, limit: int | None = None) -> LookList:
    """Return the videos of a split, at most `limit`, always the same ones.

    Raises DatasetError where there is none, UsageError for one without a class.
    """
    content, videos = Fingerprint(dataset.classes), list[Clip]()
    for clip in dataset.clips():
        label_of(clip, dataset.classes)
        content.add(clip)
        videos.append(clip)
    if limit is not None and len(videos) > limit:
        # At even distances they could all be of one class, where classes take turns.
        chosen = np.random.default_rng(0).permutation(len(videos))[:limit]
        videos = [videos[index] for index in sorted(chosen.tolist())]
    if not videos:
        raise DatasetError(
            f"split {dataset.split} has no video", where=dataset.name, remedy="use another split"
        )
    return LookList(dataset, cast(Any, tuple(videos)), content.hexdigest(), looks=looks)


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
