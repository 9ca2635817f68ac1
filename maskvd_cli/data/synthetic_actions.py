"""Drawn actions of figures, one a clip: no folder, no download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.looks import Lazy
from maskvd_cli.core.types import NO_BOXES, BoxTally, Clip, Frame
from maskvd_cli.data.drawn import DrawnDataset
from maskvd_cli.data.rendering.actions import ACTIONS, FRAMES_PER_S, SIZE, build_scene

# Rises when the same seed gives other pictures or classes, so that results of both stay apart.
REVISION = 1
# Seed, clips and frames of each.
SPLITS = {"train": (2, 1320, 48), "val": (3, 264, 48)}


@dataclass(frozen=True)
class ActionFrame(Frame):
    """A frame that is drawn from these: seed and number of its clip, the clip's length."""

    seed: tuple[int, ...] = (0,)
    number: int = 0
    frames: int = 1


class SyntheticActions(DrawnDataset[ActionFrame]):
    """Eleven actions of drawn figures before a camera that stands still, 48 frames at 25 fps.

    Actions take turns, so that classes are equally frequent. The splits are drawn from different
    seeds: 1320 clips to train on, 264 to evaluate.
    """

    name = "synthetic-actions"
    description = "drawn actions of figures (walking, waving, crossing, ...), one a clip"
    env = "MASKVD_SYNTHETIC_ACTIONS"
    splits = ("train", "val")
    protocols = ("actions",)
    evaluation_split = "val"
    training_split = "train"
    frame_type = ActionFrame
    revision = REVISION

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(ACTIONS)

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        seed, clips, count = SPLITS[self.split]
        for number in range(clips):
            yield self._clip(seed, number, count)

    def draw(self, frame: ActionFrame) -> NDArray[np.uint8]:
        return build_scene(frame.seed, frame.number, frame.frames).image(frame.index)

    def frames_per_s(self, clip: Clip) -> float:
        del clip
        return FRAMES_PER_S

    def _clip(self, seed: int, number: int, count: int) -> Clip:
        def make(index: int) -> Frame:
            return ActionFrame(
                index, None, SIZE, NO_BOXES, "the drawing", None, (seed,), number, count
            )

        name = f"r{REVISION}-{self.split}-{number:04d}"
        return Clip(name, Lazy(count, make), label=number % len(ACTIONS))
