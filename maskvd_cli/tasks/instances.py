"""What a detector with a mask head returns and what it is trained on: silhouettes beside boxes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from maskvd_cli.tasks.detections import Detections, Targets


def _nothing(*shape: int) -> Tensor:
    return torch.zeros(0, *shape)


@dataclass(frozen=True)
class Instances(Detections):
    """Detections of one image, each with the probability that it fills a place of its region.

    `inside` (n, side, side) float32 in 0..1 over `regions` (n, 4) xyxy in pixels of the padded
    input: the boxes as the mask head got them, which stay whole where `xyxy` are cut. `masked`: how
    many regions it computed, which its cost depends on.
    """

    inside: Tensor = field(default_factory=lambda: _nothing(1, 1))
    regions: Tensor = field(default_factory=lambda: _nothing(4))
    masked: int = 0

    def to(self, device: torch.device | str) -> Instances:
        """Return the same on another device."""
        names = ("xyxy", "scores", "labels", "inside", "regions")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def at(self, rows: Tensor) -> Instances:
        """Return those at `rows`, indices or a mask."""
        names = ("xyxy", "scores", "labels", "inside", "regions")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})


@dataclass(frozen=True)
class InstanceTargets(Targets):
    """The objects of one training image with their silhouettes, (m, rows, cols) bool.

    The image lies at the top left of the input, and may be smaller. Raises ValueError where there
    is not one for each object.
    """

    silhouettes: Tensor = field(default_factory=lambda: _nothing(1, 1).bool())

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.silhouettes) != len(self.labels) or self.silhouettes.dim() != 3:
            raise ValueError(
                f"silhouettes {tuple(self.silhouettes.shape)} are not (m, rows, cols) of the "
                f"{len(self.labels)} objects"
            )

    def to(self, device: torch.device | str) -> InstanceTargets:
        """Return the same targets on another device, boxes as float32."""
        moved = super().to(device)
        return InstanceTargets(moved.xyxy, moved.labels, moved.ignore, self.silhouettes.to(device))
