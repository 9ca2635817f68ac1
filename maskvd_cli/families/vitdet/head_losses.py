"""What RPN and box head are trained with (Faster R-CNN, with the settings of ViTDet)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.families.vitdet.box_coding import BOX_WEIGHTS, RPN_WEIGHTS, encode
from maskvd_cli.families.vitdet.box_head import BoxOutput
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.matching import match, sample
from maskvd_cli.families.vitdet.rpn import RpnOutput
from maskvd_cli.tasks.detections import Targets


@dataclass(frozen=True)
class Regions:
    """The regions of one image that train the box head, positive ones first.

    `xyxy` (n, 4); `labels` (n,) int64, `classes` for background; `objects` (positive, 4), the boxes
    that the first regions shall become, and `nearest` (positive,), which of the image's they are.
    """

    xyxy: Tensor
    labels: Tensor
    objects: Tensor
    nearest: Tensor


def rpn_losses(
    output: RpnOutput, targets: Sequence[Targets], heads: HeadArch, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return `rpn_objectness` (binary cross-entropy) and `rpn_deltas` (L1), summed over anchors.

    Both are divided by anchors sampled per image (`rpn_sampling.count`) times images.
    """
    rule, references = heads.rpn_sampling, torch.cat(output.anchors)
    by_image = zip(torch.cat(output.logits, 1), torch.cat(output.deltas, 1), targets, strict=True)
    objectness, boxes = [], []
    for logits, deltas, objects in by_image:
        matches = match(references, objects, rule, ignore_overlap=heads.ignore_overlap)
        positive, negative = sample(matches, rule, generator)
        drawn = logits[torch.cat([positive, negative])]
        truth = torch.zeros_like(drawn)
        truth[: len(positive)] = 1
        objectness.append(F.binary_cross_entropy_with_logits(drawn, truth, reduction="sum"))
        goal = encode(objects.xyxy[matches.nearest[positive]], references[positive], RPN_WEIGHTS)
        boxes.append(F.l1_loss(deltas[positive], goal, reduction="sum"))
    share = 1 / (rule.count * len(targets))
    return {
        "rpn_objectness": torch.stack(objectness).sum() * share,
        "rpn_deltas": torch.stack(boxes).sum() * share,
    }


@torch.no_grad()
def sample_regions(
    proposals: Sequence[Tensor],
    targets: Sequence[Targets],
    heads: HeadArch,
    generator: torch.Generator,
) -> list[Regions]:
    """Draw each image's training regions from its proposals (n, 4) and its objects' own boxes."""
    rule, sampled = heads.box_sampling, []
    for boxes, objects in zip(proposals, targets, strict=True):
        candidates = torch.cat([boxes, objects.xyxy])
        matches = match(candidates, objects, rule, ignore_overlap=heads.ignore_overlap)
        positive, negative = sample(matches, rule, generator)
        chosen = torch.cat([positive, negative])
        nearest = matches.nearest[positive]
        labels = torch.full_like(chosen, heads.classes)
        labels[: len(positive)] = objects.labels[nearest]
        sampled.append(Regions(candidates[chosen], labels, objects.xyxy[nearest], nearest))
    return sampled


def box_losses(output: BoxOutput, regions: Sequence[Regions]) -> dict[str, Tensor]:
    """Return `box_classes` (cross-entropy) and `box_deltas` (L1 on the deltas of the own class).

    Both are summed over the regions of all images and divided by their number.
    """
    labels = torch.cat([region.labels for region in regions])
    number = max(len(labels), 1)
    classes = F.cross_entropy(output.logits, labels, reduction="sum") / number
    boxes = output.deltas.new_zeros(()) + 0 * output.deltas.sum()
    deltas = output.deltas.split([len(region.labels) for region in regions])
    for predicted, region in zip(deltas, regions, strict=True):
        rows = torch.arange(len(region.objects), device=predicted.device)
        own = predicted[rows, region.labels[rows]]
        goal = encode(region.objects, region.xyxy[rows], BOX_WEIGHTS)
        boxes = boxes + F.l1_loss(own, goal, reduction="sum")
    return {"box_classes": classes, "box_deltas": boxes / number}
