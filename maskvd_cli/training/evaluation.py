"""The task's scores of a model: on single frames with every token computed, or beside a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskvd_cli.core.types import Clip
from maskvd_cli.tasks.base import Arrays, Task
from maskvd_cli.tasks.detections import Detections
from maskvd_cli.training.frames import FrameList
from maskvd_cli.training.geometry import Geometry
from maskvd_cli.training.learning import Beside
from maskvd_cli.training.loading import PlacedFrames, PlacedSequences, batches
from maskvd_cli.training.setup import Training, by_class_of


@dataclass(frozen=True)
class FrameScores:
    """What single frames score: `values` by quantity; what is not defined is left out.

    `by_class`: the quantity `headline` of every class that has one.
    """

    headline: str
    values: Mapping[str, float]
    by_class: Mapping[str, float]
    frames: int

    def content(self) -> dict[str, Any]:
        """Return the scores as JSON values, as logs and results of trainings hold them."""
        by_class = {by_class_of(self.headline): dict(self.by_class)}
        return {**self.values, **by_class, "frames": self.frames}


@torch.no_grad()
def evaluate(  # noqa: PLR0913 - what is evaluated, and how it is loaded
    detector: Callable[[Any], Sequence[Detections]],
    kind: type[Task],
    listed: FrameList,
    geometry: Geometry,
    *,
    batch: int = 8,
    workers: int = 0,
    frames: int | None = None,
    on_frames: Callable[[int], object] = lambda done: None,
) -> FrameScores:
    """Run every frame and score the outputs against its truth.

    `frames`: the model gets so many frames of the clip up to each, None: single frames alone.
    `on_frames` hears how many frames are done. `listed` must hold an object. Raises what the
    dataset and the model raise.
    """
    task, classes = kind(), listed.dataset.classes
    matches: list[Arrays] = []
    placed_frames: Any = PlacedFrames(listed, geometry)
    if frames is not None:
        placed_frames = PlacedSequences(placed_frames, frames)
    loaded = batches(placed_frames, range(len(listed)), batch, workers=workers)
    for pixels in loaded:
        for output in detector(pixels):
            # Frames may differ in size, so each is a clip of its own.
            frame = listed.frames[len(matches)]
            placed = geometry.placed(frame.size)
            outputs = task.encode([output.to("cpu")], placed, range(len(classes)))
            truth = task.truth(Clip(listed.dataset.split, (frame,)), classes)
            matches.append(task.match(truth, outputs, classes))
        on_frames(len(matches))
    ages = [np.zeros(1, dtype=np.int64) for _ in matches]
    scores = task.evaluation(matches, ages, classes).scores()
    headline = task.headline().name
    parts: Mapping[str, Mapping[str, float | None]] = scores.details.get("by_class", {})
    return FrameScores(
        headline,
        _known(scores.values),
        _known({label: part.get(headline) for label, part in parts.items()}),
        len(matches),
    )


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def evaluated(training: Training) -> tuple[FrameScores, list[float]]:
    """Return the scores of a training's weights, and what share of tokens each block computed.

    With a method each frame is the last of as many as are learnt together; without one no share is
    told.
    """
    if (learner := training.learner) is None:
        return every_token(training), []
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


def every_token(training: Training) -> FrameScores:
    """Return the scores of the model alone on single frames, every token computed."""
    return evaluate(
        training.result,
        training.task,
        training.evaluated,
        training.geometry,
        workers=training.recipe.workers,
    )
