"""From a native frame to what is learnt: placed, zoomed, cropped into the input, mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes
from maskvd_cli.data.resize import resized
from maskvd_cli.tasks.detections import Targets
from maskvd_cli.tasks.instances import InstanceTargets
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


@dataclass(frozen=True)
class _Window:
    """Which part of a frame is learnt: the zoomed size, the crop of it, and whether mirrored."""

    zoomed: Size
    crop: Size
    top: int
    left: int
    flip: bool

    @classmethod
    def of(cls, content: Size, geometry: TrainingInput, draw: Draw) -> _Window:
        rows, cols = (max(round(side * draw.zoom), 1) for side in content)
        crop = Size(min(rows, geometry.input.rows), min(cols, geometry.input.cols))
        top = int(draw.row * (rows - crop.rows + 1))
        left = int(draw.col * (cols - crop.cols + 1))
        return cls(Size(rows, cols), crop, top, left, draw.flip)

    def cut(self, pixels: Tensor) -> Tensor:
        """Return the part of zoomed pixels (..., rows, cols)."""
        rows, cols = slice(self.top, self.top + self.crop.rows), slice(self.left, None)
        part = pixels[..., rows, cols][..., : self.crop.cols]
        return (part.flip(-1) if self.flip else part).contiguous()


def augmented(
    image: NDArray[np.uint8],
    boxes: Boxes,
    geometry: TrainingInput,
    draw: Draw,
    silhouettes: NDArray[np.bool_] | None = None,
) -> tuple[Tensor, Targets]:
    """Return pixels (3, rows, cols) uint8, at most as large as the input, and what is on them.

    `silhouettes` (n, rows, cols) of the boxes go the same way, and make the targets instances.

    A frame zoomed beyond the input is cropped; a smaller one leaves padding at the bottom and
    right, as at test. Objects that a crop leaves less than 30 % of, and those narrower than a
    pixel, become ignore regions.
    """
    placed = geometry.placed(Size(*image.shape[:2]))
    window = _Window.of(placed.content, geometry, draw)
    pixels = window.cut(resized(image, window.zoomed))
    zoom = np.array(
        [window.zoomed.cols / placed.content.cols, window.zoomed.rows / placed.content.rows] * 2
    )
    corners = placed.place(boxes.xyxy) * zoom - np.array([window.left, window.top] * 2)
    if draw.flip:
        corners[:, [0, 2]] = window.crop.cols - corners[:, [2, 0]]
    return pixels, _targets(corners, boxes, window, silhouettes)


def _targets(
    corners: NDArray[np.float64],
    boxes: Boxes,
    window: _Window,
    silhouettes: NDArray[np.bool_] | None,
) -> Targets:
    limits = np.array([window.crop.cols, window.crop.rows] * 2, dtype=np.float64)
    seen = np.clip(corners, 0.0, limits)
    sides, whole = seen[:, 2:] - seen[:, :2], corners[:, 2:] - corners[:, :2]
    present = (sides > 0).all(axis=1)
    visible = sides.prod(axis=1) >= _LEAST_VISIBLE * whole.prod(axis=1)
    learnt = present & visible & (sides >= _LEAST_SIDE_PX).all(axis=1) & ~boxes.ignore
    targets = (
        torch.from_numpy(seen[learnt]).float(),
        torch.from_numpy(boxes.labels[learnt]),
        torch.from_numpy(seen[present & ~learnt]).float(),
    )
    if silhouettes is None:
        return Targets(*targets)
    return InstanceTargets(*targets, _zoomed(silhouettes[learnt], window))


def _zoomed(silhouettes: NDArray[np.bool_], window: _Window) -> Tensor:
    """Return silhouettes (n, rows, cols) as they lie in the window: where at least half is left."""
    if not len(silhouettes):
        return torch.zeros(0, *window.crop, dtype=torch.bool)
    levels = torch.from_numpy(silhouettes)[:, None].float()
    zoomed = F.interpolate(
        levels, size=tuple(window.zoomed), mode="bilinear", align_corners=False, antialias=True
    )
    return window.cut(zoomed[:, 0] >= 0.5)
