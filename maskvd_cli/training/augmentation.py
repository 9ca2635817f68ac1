"""From a native frame to what is learnt: placed, zoomed, cropped into the input, mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes
from maskvd_cli.data.resize import resized
from maskvd_cli.tasks.detections import Targets
from maskvd_cli.training.geometry import TrainingInput
from maskvd_cli.training.recipe import AugmentationSection

# An object of which a crop leaves less is neither learnt nor background.
_LEAST_VISIBLE = 0.3
_LEAST_SIDE_PX = 1.0


@dataclass(frozen=True)
class Draw:
    """Changes of a frame: mirrored or not, `zoom` of the placed frame, where a crop lies (0..1)."""

    flip: bool = False
    zoom: float = 1.0
    row: float = 0.0
    col: float = 0.0


def drawn(section: AugmentationSection, seed: int, position: int) -> Draw:
    """Draw the changes of the frame at `position` of the training; zooms are log-uniform."""
    # The word keeps these numbers apart from those that order the frames.
    chance, zoom, row, col = np.random.default_rng([seed, position, 0xA06]).random(4).tolist()
    smallest, largest = section.scale
    return Draw(chance < section.flip, smallest * (largest / smallest) ** zoom, row, col)


def augmented(
    image: NDArray[np.uint8], boxes: Boxes, geometry: TrainingInput, draw: Draw
) -> tuple[Tensor, Targets]:
    """Return pixels (3, rows, cols) uint8, at most as large as the input, and what is on them.

    A frame zoomed beyond the input is cropped; a smaller one leaves padding at the bottom and
    right, as at test. Objects that a crop leaves less than 30 % of, and those narrower than a
    pixel, become ignore regions.
    """
    placed = geometry.placed(Size(*image.shape[:2]))
    rows, cols = (max(round(side * draw.zoom), 1) for side in placed.content)
    window = Size(min(rows, geometry.input.rows), min(cols, geometry.input.cols))
    top = int(draw.row * (rows - window.rows + 1))
    left = int(draw.col * (cols - window.cols + 1))
    pixels = resized(image, Size(rows, cols))
    pixels = pixels[:, top : top + window.rows, left : left + window.cols]
    zoom = np.array([cols / placed.content.cols, rows / placed.content.rows] * 2)
    corners = placed.place(boxes.xyxy) * zoom - np.array([left, top, left, top])
    if draw.flip:
        pixels = pixels.flip(2)
        corners[:, [0, 2]] = window.cols - corners[:, [2, 0]]
    return pixels.contiguous(), _targets(corners, boxes, window)


def _targets(corners: NDArray[np.float64], boxes: Boxes, window: Size) -> Targets:
    limits = np.array([window.cols, window.rows] * 2, dtype=np.float64)
    seen = np.clip(corners, 0.0, limits)
    sides, whole = seen[:, 2:] - seen[:, :2], corners[:, 2:] - corners[:, :2]
    present = (sides > 0).all(axis=1)
    visible = sides.prod(axis=1) >= _LEAST_VISIBLE * whole.prod(axis=1)
    learnt = present & visible & (sides >= _LEAST_SIDE_PX).all(axis=1) & ~boxes.ignore
    return Targets(
        torch.from_numpy(seen[learnt]).float(),
        torch.from_numpy(boxes.labels[learnt]),
        torch.from_numpy(seen[present & ~learnt]).float(),
    )
