"""The task's scores of a model on single frames, every token computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskvd_cli.core.types import Clip
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.tasks.base import Arrays
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.training.frames import FrameList
from maskvd_cli.training.geometry import Geometry
from maskvd_cli.training.loading import PlacedFrames, batches


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


def by_class_of(headline: str) -> str:
    """Return the name under which the headline of each class stands."""
    return f"{headline}_by_class"


@torch.no_grad()
def evaluate(  # noqa: PLR0913 - what is evaluated, and how it is loaded
    detector: Detector,
    listed: FrameList,
    geometry: Geometry,
    *,
    batch: int = 8,
    workers: int = 0,
    on_frames: Callable[[int], object] = lambda done: None,
) -> FrameScores:
    """Run every frame and score the outputs against its truth.

    `on_frames` hears how many frames are done. `listed` must hold an object. Raises what the
    dataset and the model raise.
    """
    task, classes = tasks.load(detector.task)(), listed.dataset.classes
    matches: list[Arrays] = []
    loaded = batches(PlacedFrames(listed, geometry), range(len(listed)), batch, workers=workers)
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
