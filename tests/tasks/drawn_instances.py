"""Clips of drawn blobs with silhouettes, and outputs near them, for tests of instance masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from maskvd_cli.core.placement import Placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip, Frame, Silhouette
from maskvd_cli.data import silhouettes
from maskvd_cli.data.base import make_boxes
from maskvd_cli.tasks.instances import Instances

CLASSES = ("pedestrian", "car", "cyclist")
NATIVE = Size(48, 80)
PLACED = Placement(Size(32, 48), Size(24, 40), 0.5, 0.5, NATIVE)
SIDE = 28


@dataclass(frozen=True)
class BlobFrame(Frame):
    """A frame that holds its silhouettes."""

    made: tuple[Silhouette, ...] = ()

    def silhouettes(self) -> tuple[Silhouette, ...]:
        return self.made


def blob(box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the pixels of the ellipse that touches a box's sides."""
    x1, y1, x2, y2 = box.tolist()
    rows, cols = np.mgrid[: NATIVE.rows, : NATIVE.cols] + 0.5
    across = (cols - (x1 + x2) / 2) / ((x2 - x1) / 2)
    return across**2 + ((rows - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2 <= 1


def drawn_clip(drawn: np.random.Generator, name: str, frames: int) -> Clip:
    made: list[BlobFrame] = []
    for index in range(frames):
        number = int(drawn.integers(0, 5))
        corner = drawn.integers(0, (50, 20), (number, 2)).astype(np.float64)
        boxes = np.concatenate([corner, corner + drawn.integers(8, 25, (number, 2))], axis=1)
        labels = drawn.integers(-1, 3, number).tolist()
        boxes = make_boxes(boxes, labels, range(number), [label < 0 for label in labels])
        own = tuple(silhouettes.encoded(blob(box) for box in boxes.xyxy))
        made.append(BlobFrame(index, None, NATIVE, boxes, made=own))
    return Clip(name, tuple(made))


def drawn_outputs(drawn: np.random.Generator, clip: Clip) -> list[Instances]:
    """Return detections in input pixels: shifted objects and others, some of an unknown class."""
    outputs: list[Instances] = []
    for frame in clip.frames:
        near = frame.boxes.xyxy + drawn.normal(0, 1.5, frame.boxes.xyxy.shape)
        corner = drawn.uniform(0, 40, (3, 2))
        far = np.concatenate([corner, corner + drawn.uniform(6, 20, (3, 2))], axis=1)
        native = torch.from_numpy(np.concatenate([near, far])).float()
        number = len(native)
        labels = np.concatenate([np.maximum(frame.boxes.labels, 0), drawn.integers(0, 4, 3)])
        scores = np.sort(drawn.random(number))[::-1].copy()
        shape = torch.linspace(-1, 1, SIDE) ** 2
        inside = torch.sigmoid(6 * (1 - shape[:, None] - shape[None]))
        outputs.append(
            Instances(
                native * 0.5, torch.from_numpy(scores).float(), torch.from_numpy(labels), 9,
                inside.expand(number, SIDE, SIDE), native * 0.5, number,
            )
        )  # fmt: skip
    return outputs


def case(seed: int) -> tuple[list[Clip], list[list[Instances]]]:
    drawn = np.random.default_rng(seed)
    clips = [drawn_clip(drawn, f"c{number}", 3 + number) for number in range(4)]
    return clips, [drawn_outputs(drawn, clip) for clip in clips]
