"""What a detector returns and what it is trained on. Boxes are xyxy in pixels of its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError


@dataclass(frozen=True)
class Detections:
    """The detections of one image, best first.

    `xyxy` (n, 4) float32 in pixels of the padded input; `scores` (n,) float32; `labels` (n,) int64.
    `proposals`: how many candidates they were chosen from, which some heads' costs depend on; None
    where that is not told.
    """

    xyxy: Tensor
    scores: Tensor
    labels: Tensor
    proposals: int | None = None

    def __len__(self) -> int:
        return len(self.xyxy)

    def to(self, device: torch.device | str) -> Detections:
        """Return the same detections on another device."""
        boxes, scores, labels = (part.to(device) for part in (self.xyxy, self.scores, self.labels))
        return Detections(boxes, scores, labels, self.proposals)

    def at(self, rows: Tensor) -> Detections:
        """Return the detections at `rows`, indices or a mask."""
        return replace(
            self, xyxy=self.xyxy[rows], scores=self.scores[rows], labels=self.labels[rows]
        )


@dataclass(frozen=True)
class Targets:
    """The objects of one training image.

    `xyxy` (m, 4) in pixels of the padded input; `labels` (m,) int64, 0 .. classes - 1; `ignore`
    (k, 4) regions in which nothing is learnt. Raises ValueError for other shapes, and for an object
    that is not finite or has no area.
    """

    xyxy: Tensor
    labels: Tensor
    ignore: Tensor

    def __post_init__(self) -> None:
        if self.xyxy.shape != (len(self.labels), 4) or self.ignore.shape != (len(self.ignore), 4):
            raise ValueError(
                f"boxes {tuple(self.xyxy.shape)}, labels {tuple(self.labels.shape)} and ignore "
                f"regions {tuple(self.ignore.shape)} are not (m, 4), (m,) and (k, 4)"
            )
        sides = self.xyxy[:, 2:] - self.xyxy[:, :2]
        if not (torch.isfinite(self.xyxy).all() and (sides > 0).all()):
            raise ValueError("an object's box is not finite or has no area; leave it out")

    def to(self, device: torch.device | str) -> Targets:
        """Return the same targets on another device, boxes as float32."""
        return Targets(
            self.xyxy.to(device, torch.float32),
            self.labels.to(device),
            self.ignore.to(device, torch.float32),
        )


def check_labels(targets: Sequence[Targets], classes: int) -> None:
    """Raise UsageError for an object of none of so many classes.

    The label `classes` would silently train background; a larger one stops a GPU for good.
    """
    for target in targets:
        if len(target.labels) and not (target.labels.min() >= 0 and target.labels.max() < classes):
            raise UsageError(
                f"labels {target.labels.tolist()} reach outside 0..{classes - 1}",
                remedy="make a detector with as many classes as the dataset has",
            )
