"""Frames read or rendered by worker processes, in an order that does not depend on them."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.types import Frame
from maskvd_cli.data.resize import resized
from maskvd_cli.families.zoo import entry
from maskvd_cli.tasks.detections import Targets
from maskvd_cli.tasks.recognition import label_of
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.tasks.silhouette_arrays import silhouettes_of
from maskvd_cli.training.augmentation import Draw, augmented, drawn
from maskvd_cli.training.features import StoredFeatures
from maskvd_cli.training.frames import FrameList, LookList, frame_at
from maskvd_cli.training.geometry import TrainingInput
from maskvd_cli.training.kept_images import KeptImages
from maskvd_cli.training.looks import learnt_look, placed_looks
from maskvd_cli.training.recipe import TrainingRecipe

T = TypeVar("T")
Sample = tuple[Tensor, Targets]


class _Frames(Dataset[T | MaskvdError], Generic[T], ABC):
    """A map from positions to frames. An error is handed over, since a worker would wrap it."""

    def __getitem__(self, position: int) -> T | MaskvdError:
        try:
            return self.made(position)
        except MaskvdError as error:
            return error

    @abstractmethod
    def made(self, position: int) -> T:
        """Return what stands at a position."""


class TrainingFrames(_Frames[Sample]):
    """What is learnt at each position of a training, however it is stopped and continued."""

    def __init__(self, listed: FrameList, geometry: TrainingInput, recipe: TrainingRecipe) -> None:
        self.listed, self.geometry, self.recipe = listed, geometry, recipe
        self.images = KeptImages(listed, recipe.keep_mib)
        asked = tasks.load(entry(recipe.model.name).family.task)
        self._with_silhouettes = asked.has_silhouettes

    def made(self, position: int) -> Any:
        """Return pixels (3, rows, cols) uint8 and targets, of videos a look and its class."""
        seed = self.recipe.seed
        draw = drawn(self.recipe.augmentation, seed, position)
        if isinstance(self.listed, LookList):
            return self._look(cast(KeptImages[LookList], self.images), position, draw)
        return self.sample(frame_at(position, len(self.listed), seed), 0, draw)

    def sample(self, index: int, gap: int, draw: Draw) -> Sample:
        """Return the pixels and content of the frame `gap` before `index`, changed as drawn."""
        frame = self.listed.before(index, gap)
        silhouettes = silhouettes_of(frame) if self._with_silhouettes else None
        image = self.images.of(self.listed.place_before(index, gap), frame)
        return augmented(image, frame.boxes, self.geometry, draw, silhouettes)

    def _look(self, images: KeptImages[LookList], position: int, draw: Draw) -> tuple[Tensor, int]:
        seed = self.recipe.seed
        index = frame_at(position, len(images.listed), seed)
        # The word keeps this number apart from those of the changes and of the order.
        chance = float(np.random.default_rng([seed, position, 0x100C]).random())
        return learnt_look(images, index, self.geometry.input, draw, chance)


class KeptLooks(_Frames[Sample]):
    """The features of a look at each position of a training, computed before."""

    def __init__(self, listed: LookList, kept: StoredFeatures, seed: int) -> None:
        self.listed, self.kept, self.seed = listed, kept, seed

    def made(self, position: int) -> Any:
        """Return the features (steps, D) of one of the looks at a video, and its class."""
        index = frame_at(position, len(self.listed), self.seed)
        # The word keeps this number apart from those of the order.
        drawn_look = np.random.default_rng([self.seed, position, 0x100C])
        features = self.kept.of(index)
        look = int(drawn_look.integers(len(features)))
        video = self.listed.videos[index]
        return features[look], label_of(video, self.listed.dataset.classes)


class PlacedLooks(_Frames[Tensor]):
    """All looks at each video of a list, as they are at test."""

    def __init__(self, listed: LookList, geometry: TrainingInput) -> None:
        self.listed, self.geometry = listed, geometry

    def made(self, position: int) -> Tensor:
        """Return the frames (looks, frames, 3, rows, cols)."""
        return placed_looks(self.listed, position, self.geometry.input)


class TrainingSequences(_Frames[list[Sample]]):
    """The same with frames of the clip before each, all changed alike, the earliest first.

    `count` frames, the earlier ones drawn among the `reach` before the last.
    """

    def __init__(self, frames: TrainingFrames, count: int, reach: int) -> None:
        self.of, self.count, self.reach = frames, count, reach

    def made(self, position: int) -> list[Sample]:
        """Return pixels (3, rows, cols) uint8 and targets of each frame."""
        listed, recipe = self.of.listed, self.of.recipe
        index = frame_at(position, len(listed), recipe.seed)
        draw = drawn(recipe.augmentation, recipe.seed, position)
        # The word keeps these numbers apart from those of the changes and of the order.
        chance = np.random.default_rng([recipe.seed, position, 0x5E9])
        gaps = chance.choice(self.reach, self.count - 1, replace=False) + 1
        earlier = sorted(gaps.tolist(), reverse=True)
        return [self.of.sample(index, gap, draw) for gap in (*earlier, 0)]


class PlacedFrames(_Frames[Tensor]):
    """Frames as they are at test, in the order of the list."""

    def __init__(self, listed: FrameList, geometry: TrainingInput) -> None:
        self.listed, self.geometry = listed, geometry

    def made(self, position: int) -> Tensor:
        """Return the pixels (3, rows, cols) uint8."""
        return self.placed(self.listed.frames[position])

    def placed(self, frame: Frame) -> Tensor:
        """Return the pixels of a frame as the detector sees them."""
        return resized(self.listed.dataset.image(frame), self.geometry.placed(frame.size).content)


class PlacedSequences(_Frames[list[Tensor]]):
    """The same with the `count` - 1 frames right before each, the earliest first."""

    def __init__(self, frames: PlacedFrames, count: int) -> None:
        self.of, self.count = frames, count

    def made(self, position: int) -> list[Tensor]:
        """Return the pixels (3, rows, cols) uint8 of each frame."""
        gaps = range(self.count - 1, -1, -1)
        return [self.of.placed(self.of.listed.before(position, gap)) for gap in gaps]


def batches(
    frames: _Frames[T], positions: range, size: int, *, workers: int, seed: int = 0
) -> Iterator[list[T]]:
    """Yield the frames at `positions`, `size` at a time, in that order.

    `workers` processes make them ahead, no more than there are cores; 0: this process. Raises what
    a dataset raises.
    """
    sampled = [list(positions[start : start + size]) for start in range(0, len(positions), size)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    loader = DataLoader(
        frames,
        batch_sampler=sampled,
        num_workers=min(workers, cores or 1),
        collate_fn=_as_list,
        generator=torch.Generator().manual_seed(seed),
    )
    with warnings.catch_warnings():
        # Python warns of forking beside threads; the workers of torch use one thread of their own.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        made = iter(loader)
    try:
        for batch in made:
            yield _without_errors(batch)
    finally:
        # An error holds on to this frame, and processes forked later would inherit the workers.
        del made


def _as_list(batch: list[T]) -> list[T]:
    return batch


def _without_errors(batch: Sequence[T | MaskvdError]) -> list[T]:
    good: list[T] = []
    for item in batch:
        if isinstance(item, MaskvdError):
            raise item
        good.append(item)
    return good
