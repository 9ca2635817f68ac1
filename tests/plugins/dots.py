"""Dataset plug-in: bright squares that wander over grey, drawn from a seed; clips have labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.size import Size
from maskvd_cli.core.types import BoxTally, Clip, Frame
from maskvd_cli.data.base import Dataset, make_boxes

SIZE, SIDE, FRAMES = Size(32, 48), 8, 6


class Dots(Dataset):
    """Four clips of a square that moves to the right, from a seed per split."""

    name = "dots"
    description = "bright squares on grey, drawn"
    env = "MASKVD_DOTS"
    splits = ("train", "val")
    protocols = ("all",)
    evaluation_split = "val"
    training_split = "train"
    canvas = SIZE

    @classmethod
    def _existing(cls, root: Path | None) -> Path:
        return Path(__file__).parent if root is None else root

    @property
    def classes(self) -> tuple[str, ...]:
        return ("bright", "dark")

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        drawn = np.random.default_rng(self.splits.index(self.split))
        for number in range(4):
            row, label = int(drawn.integers(0, SIZE.rows - SIDE)), number % 2
            frames = tuple(self._frame(index, row, label) for index in range(FRAMES))
            yield Clip(f"{self.split}-{number}", frames, label=label)

    def _frame(self, index: int, row: int, label: int) -> Frame:
        left = 2 + 5 * index
        corners = [[left, row, left + SIDE, row + SIDE]]
        return Frame(index, None, SIZE, make_boxes(corners, [label], [0], [False]))

    def image(self, frame: Frame) -> NDArray[np.uint8]:
        picture = np.full((*SIZE, 3), 96, dtype=np.uint8)
        for (x1, y1, x2, y2), label in zip(frame.boxes.xyxy, frame.boxes.labels, strict=True):
            picture[int(y1) : int(y2), int(x1) : int(x2)] = 0 if label else 255
        return picture
