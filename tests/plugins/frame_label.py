"""Task plug-in: one class per frame, scored by the share of frames that are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.placement import Placement
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.core.types import Clip
from maskvd_cli.tasks.base import Arrays, Evaluation, Scores, Task

TOP1 = Quantity("top1", "top-1", "%", 1, True, "frames whose class is right", "difference")


@dataclass(frozen=True)
class FrameClass:
    """The logits (classes,) of one frame."""

    logits: Tensor

    def to(self, device: Any) -> FrameClass:
        return FrameClass(self.logits.to(device))


@dataclass(frozen=True)
class FrameEvaluation(Evaluation):
    """How many frames of each clip are right, and how many there are."""

    right: NDArray[np.float64]
    frames: NDArray[np.float64]

    def headline(self, weights: NDArray[Any]) -> float:
        return float(100.0 * (weights @ self.right) / (weights @ self.frames))

    def scores(self) -> Scores:
        top1 = self.headline(np.ones(len(self.right)))
        return Scores({"top1": top1}, {"frames": int(self.frames.sum())})


class FrameLabel(Task):
    """Every frame has the label of its clip."""

    name = "frame-label"
    description = "one class per frame"
    quantities = (TOP1,)

    def truth(self, clip: Clip, classes: Sequence[str]) -> Arrays:
        index = np.array([frame.index for frame in clip.frames])
        return {"index": index, "label": np.full(len(clip), int(clip.label or 0))}

    def hints(self, output: FrameClass) -> None:
        return None

    def encode(
        self, outputs: Sequence[FrameClass], placed: Placement, label_of: Sequence[int | None]
    ) -> Arrays:
        return {"label": np.array([int(output.logits.argmax()) for output in outputs])}

    def match(self, truth: Arrays, outputs: Arrays, classes: Sequence[str]) -> Arrays:
        return {"right": truth["label"] == outputs["label"]}

    def evaluation(
        self, matches: Sequence[Arrays], ages: Sequence[NDArray[np.int64]], classes: Sequence[str]
    ) -> FrameEvaluation:
        right = np.array([float(found["right"].sum()) for found in matches])
        return FrameEvaluation(right, np.array([float(len(m["right"])) for m in matches]))
