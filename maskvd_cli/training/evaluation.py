"""mAP of a detector on single frames, every token computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskvd_cli.core.types import Clip
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.tasks.base import Arrays
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.training.frames import FrameList, LookList
from maskvd_cli.training.geometry import Geometry
from maskvd_cli.training.loading import PlacedFrames, PlacedLooks, batches
from maskvd_cli.training.looks import VideoAccuracy, VideoScores


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
    detector: Detector,
    listed: FrameList,
    geometry: Geometry,
    *,
    batch: int = 8,
    workers: int = 0,
    on_frames: Callable[[int], object] = lambda done: None,
) -> Any:
    """Detect in every frame and compare with all of its objects, ignore regions honoured.

    `on_frames` is told how many frames are done. `listed` must hold an object. Raises what the
    dataset and the detector raise. A recogniser looks at videos, and has a `VideoAccuracy`.
    """
    if isinstance(listed, LookList):
        return _on_videos(detector, listed, geometry, workers)
    task, classes = Detection(), listed.dataset.classes
    matches: list[Arrays] = []
    loaded = batches(PlacedFrames(listed, geometry), range(len(listed)), batch, workers=workers)
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


def _on_videos(
    recogniser: Callable[[Any], Any], listed: LookList, geometry: Geometry, workers: int
) -> VideoAccuracy:
    """Score what a recogniser says of all looks at every video, every token computed."""
    scores = VideoScores(listed)
    loaded = batches(PlacedLooks(listed, geometry), range(len(listed)), 1, workers=workers)
    for (looks,) in loaded:
        scores.add(recogniser(list(looks)).float().cpu())
    return scores.accuracy()
