"""mAP of a detector: on single frames with every token computed, or beside a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskvd_cli.core.types import Clip
from maskvd_cli.tasks.base import Arrays
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.detections import Detections
from maskvd_cli.training.frames import FrameList
from maskvd_cli.training.geometry import Geometry
from maskvd_cli.training.learning import Beside
from maskvd_cli.training.loading import PlacedFrames, PlacedSequences, batches
from maskvd_cli.training.setup import Training


@dataclass(frozen=True)
class Accuracy:
    """mAP at IoU 0.5 and over 0.5:0.95 in percent, mean over classes that have an object.

    `map50_by_class` leaves the other classes out.
    """

    map50: float
    map: float
    map50_by_class: dict[str, float]
    frames: int


@torch.no_grad()
def evaluate(  # noqa: PLR0913 - what is evaluated, and how it is loaded
    detector: Callable[[Any], Sequence[Detections]],
    listed: FrameList,
    geometry: Geometry,
    *,
    batch: int = 8,
    workers: int = 0,
    frames: int | None = None,
    on_frames: Callable[[int], object] = lambda done: None,
) -> Accuracy:
    """Detect in every frame and compare with all of its objects, ignore regions honoured.

    `frames`: the detector gets so many frames of the clip up to each, None: single frames alone.
    `on_frames` is told how many frames are done. `listed` must hold an object. Raises what the
    dataset and the detector raise.
    """
    task, classes = Detection(), listed.dataset.classes
    matches: list[Arrays] = []
    placed_frames: Any = PlacedFrames(listed, geometry)
    if frames is not None:
        placed_frames = PlacedSequences(placed_frames, frames)
    loaded = batches(placed_frames, range(len(listed)), batch, workers=workers)
    for pixels in loaded:
        for found in detector(pixels):
            # Frames may differ in size, so each is a clip of its own.
            frame = listed.frames[len(matches)]
            placed = geometry.placed(frame.size)
            outputs = task.encode([found.to("cpu")], placed, range(len(classes)))
            truth = task.truth(Clip(listed.dataset.split, (frame,)), classes)
            matches.append(task.match(truth, outputs, classes))
        on_frames(len(matches))
    ages = [np.zeros(1, dtype=np.int64) for _ in matches]
    evaluation = task.evaluation(matches, ages, classes)
    overall, by_class = evaluation.overall, evaluation.by_class
    assert overall.map50 is not None and overall.map is not None
    present = {name: found.map50 for name, found in by_class.items() if found.map50 is not None}
    return Accuracy(overall.map50, overall.map, present, len(matches))


def evaluated(training: Training) -> tuple[Accuracy, list[float]]:
    """Return the accuracy of a training's weights, and what share of tokens each block computed.

    With a method each frame is the last of as many as are learnt together; without one no share is
    told.
    """
    listed, geometry, workers = training.evaluated, training.geometry, training.recipe.workers
    if (learner := training.learner) is None:
        return evaluate(training.result, listed, geometry, workers=workers), []
    with_method = learner.running(training.own_result.eval(), training.result.backbone)
    detect = Beside(with_method, training.result)
    found = evaluate(detect, listed, geometry, workers=workers, frames=learner.frames)
    return found, detect.kept()
