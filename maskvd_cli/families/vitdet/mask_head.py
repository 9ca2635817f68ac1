"""Mask head: which pixels of each detection belong to it (Mask R-CNN, section 3; ViTDet's norms).

Its sizes follow those of the other heads: as many channels as the pyramid, twice the side of the
box head's regions, and masks of twice that: 256, 14 and 28 in ViTDet-B.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.families.vitdet.box_coding import check_finite
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.head_losses import Regions
from maskvd_cli.families.vitdet.operators import roi_align
from maskvd_cli.families.vitdet.region_convs import RegionConvs
from maskvd_cli.families.vitdet.roi_pooling import pool
from maskvd_cli.tasks.detections import Detections
from maskvd_cli.tasks.instances import Instances, InstanceTargets


class MaskHead(RegionConvs):
    """Four 3 x 3 convolutions with norms, a transposed one, and a logit per place and class."""

    def __init__(self, heads: HeadArch) -> None:
        super().__init__(heads.channels)
        self.heads = heads
        channels = heads.channels
        self.upward = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.classes = nn.Conv2d(channels, heads.classes, 1)
        for weight in (*self.convs.parameters(), self.upward.weight):
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classes.weight, std=0.001)
        for layer in (self.upward, self.classes):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Return the logits (n, classes, 2 s, 2 s) float32 of all images' boxes.

        `levels` p2.. (B, channels, rows, cols); `boxes` one (n_i, 4) xyxy per image.
        """
        pooled = pool(levels, boxes, self.heads, self.heads.mask_roi_size)
        return self.predict(pooled.to(self.classes.weight.dtype))

    def predict(self, pooled: Tensor) -> Tensor:
        """Return the logits of pooled features (n, channels, s, s)."""
        return self.classes(F.relu(self.upward(self.convolved(pooled)))).float()

    @torch.no_grad()
    def instances(self, levels: Sequence[Tensor], found: Sequence[Detections]) -> list[Instances]:
        """Return each image's detections with the mask of their own class.

        Raises MaskvdError where outputs are not finite.
        """
        boxes, labels = [one.xyxy for one in found], torch.cat([one.labels for one in found])
        logits = self(levels, boxes)
        check_finite("mask head", logits)
        inside = _of_class(logits, labels).sigmoid().split([len(one) for one in found])
        return [
            Instances(one.xyxy, one.scores, one.labels, one.proposals, own, one.xyxy, len(one))
            for one, own in zip(found, inside, strict=True)
        ]


def mask_loss(
    logits: Tensor, regions: Sequence[Regions], targets: Sequence[InstanceTargets]
) -> dict[str, Tensor]:
    """Return `masks`, the binary cross-entropy of the own class's places, a mean over all of them.

    `logits` (n, classes, side, side) of the positive regions of all images; 0 where there is none.
    """
    side = logits.shape[-1]
    goals = [_goals(region, own, side) for region, own in zip(regions, targets, strict=True)]
    goal = torch.cat(goals)
    if not len(goal):
        return {"masks": 0 * logits.sum()}
    labels = torch.cat([region.labels[: len(region.objects)] for region in regions])
    return {"masks": F.binary_cross_entropy_with_logits(_of_class(logits, labels), goal)}


@torch.no_grad()
def _goals(region: Regions, own: InstanceTargets, side: int) -> Tensor:
    """Return the silhouettes of an image's positive regions as they lie in them: 0 or 1 (n, s, s).

    ROIAlign on the silhouettes, then at least half, as Detectron2 crops its masks.
    """
    boxes = region.xyxy[: len(region.nearest)].float()
    if not len(boxes):
        return boxes.new_zeros(0, side, side)
    place = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)[:, None]
    masks = own.silhouettes[region.nearest].float()[:, None]
    return (roi_align(masks, torch.cat([place, boxes], 1), side, 1.0)[:, 0] >= 0.5).float()


def _of_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the map (n, side, side) of each one's own class."""
    return logits[torch.arange(len(labels), device=logits.device), labels]
