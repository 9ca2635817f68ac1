"""The task's scores of a model: with every token computed, some lost, or beside a method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskvd_cli.core.types import Clip
from maskvd_cli.tasks.base import Arrays, Task
from maskvd_cli.training.frames import FrameList, LookList
from maskvd_cli.training.geometry import TrainingInput
from maskvd_cli.training.learning import Beside
from maskvd_cli.training.loading import PlacedFrames, PlacedLooks, PlacedSequences, batches
from maskvd_cli.training.looks import matches_of
from maskvd_cli.training.setup import Training, by_class_of
from maskvd_cli.training.spatial import EVALUATED


@dataclass(frozen=True)
class ModelScores:
    """What a model scores: `values` by quantity; what is not defined is left out.

    `by_class`: the quantity `headline` of every class that has one. `count` frames or videos, as
    `unit` says, were scored.
    """

    headline: str
    values: Mapping[str, float]
    by_class: Mapping[str, float]
    count: int
    unit: str

    def content(self) -> dict[str, Any]:
        """Return the scores as JSON values, as logs and results of trainings hold them."""
        by_class = {by_class_of(self.headline): dict(self.by_class)}
        return {**self.values, **by_class, f"{self.unit}s": self.count}


@torch.no_grad()
def evaluate(  # noqa: PLR0913 - what is evaluated, and how it is loaded
    model: Callable[[Any], Any],
    kind: type[Task],
    listed: FrameList,
    geometry: TrainingInput,
    *,
    batch: int = 8,
    workers: int = 0,
    frames: int | None = None,
    on_frames: Callable[[int], object] = lambda done: None,
) -> ModelScores:
    """Run every frame, or all looks at every video, and score the outputs against the truth.

    `frames`: the model gets so many frames of the clip up to each, None: single frames alone.
    `on_frames` hears how many frames or videos are done. `listed` must hold an object. Raises what
    the dataset and the model raise.
    """
    task = kind()
    if isinstance(listed, LookList):
        matched = _of_videos(model, task, listed, geometry, workers)
    else:
        matched = _of_frames(model, task, listed, geometry, batch, workers, frames)
    return _scored(task, listed, matched, on_frames)


def _scored(
    task: Task,
    listed: FrameList,
    matched: Iterator[tuple[list[Arrays], int]],
    on_frames: Callable[[int], object] = lambda done: None,
) -> ModelScores:
    matches: list[Arrays] = []
    done = 0
    for several, count in matched:
        matches += several
        done += count
        on_frames(done)
    ages = [np.zeros(1, dtype=np.int64) for _ in matches]
    scores = task.evaluation(matches, ages, listed.dataset.classes).scores()
    headline = task.headline().name
    parts: Mapping[str, Mapping[str, float | None]] = scores.details.get("by_class", {})
    return ModelScores(
        headline,
        _known(scores.values),
        _known({label: part.get(headline) for label, part in parts.items()}),
        done,
        listed.unit,
    )


def _of_frames(  # noqa: PLR0913, PLR0917 - what is evaluated, and how it is loaded
    model: Callable[[Any], Any],
    task: Task,
    listed: FrameList,
    geometry: TrainingInput,
    batch: int,
    workers: int,
    frames: int | None,
) -> Iterator[tuple[list[Arrays], int]]:
    """Yield the matches of each batch of frames, and how many frames these are."""
    classes, done = listed.dataset.classes, 0
    placed_frames: Any = PlacedFrames(listed, geometry)
    if frames is not None:
        placed_frames = PlacedSequences(placed_frames, frames)
    loaded = batches(placed_frames, range(len(listed)), batch, workers=workers)
    for pixels in loaded:
        matches: list[Arrays] = []
        for output in model(pixels):
            # Frames may differ in size, so each is a clip of its own.
            frame = listed.frames[done + len(matches)]
            placed = geometry.placed(frame.size)
            outputs = task.encode([output.to("cpu")], placed, range(len(classes)))
            truth = task.truth(Clip(listed.dataset.split, (frame,)), classes)
            matches.append(task.match(truth, outputs, classes))
        done += len(matches)
        yield matches, len(matches)


def _of_videos(
    model: Callable[[Any], Any], task: Task, listed: LookList, geometry: TrainingInput, workers: int
) -> Iterator[tuple[list[Arrays], int]]:
    """Yield the matches of all looks at each video, which is one."""
    loaded = batches(PlacedLooks(listed, geometry), range(len(listed)), 1, workers=workers)
    for index, (looks,) in enumerate(loaded):
        yield matches_of(task, listed, index, model(list(looks))), 1


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def evaluated(training: Training) -> tuple[ModelScores, list[float]]:
    """Return the scores of a training's weights, and what share of tokens each block computed.

    With a method each frame is the last of as many as are learnt together; without one no share is
    told, nor where a method ran the spatial model before. Where tokens were lost in training, they
    are here.
    """
    if training.spatial is not None:
        return from_kept(training, training.result), []
    if (learner := training.learner) is None:
        return _alone(training, training.detecting), []
    with_method = learner.running(training.own_result.eval(), training.result.backbone)
    detect = Beside(with_method, training.result)
    found = evaluate(
        detect,
        training.task,
        training.evaluated,
        training.geometry,
        workers=training.recipe.workers,
        frames=learner.frames,
    )
    return found, detect.kept()


def every_token(training: Training) -> ModelScores:
    """Return the scores of the model alone on frames or videos, every token computed."""
    return _alone(training, training.result)


def _alone(training: Training, model: Callable[[Any], Any]) -> ModelScores:
    return evaluate(
        model,
        training.task,
        training.evaluated,
        training.geometry,
        workers=training.recipe.workers,
    )


@torch.no_grad()
def from_kept(training: Training, model: Any) -> ModelScores:
    """Return the scores of what follows the spatial model, on the features that a method gave."""
    listed, spatial, device = training.evaluated, training.spatial, training.device
    assert isinstance(listed, LookList) and spatial is not None
    kept, task = spatial.kept[EVALUATED], training.task()
    matched = (
        (matches_of(task, listed, index, model.logits(kept.of(index).to(device))), 1)
        for index in range(len(listed))
    )
    return _scored(task, listed, matched)
