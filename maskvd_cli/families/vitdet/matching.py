"""Which boxes a head learns from: matched to the objects of an image, then sampled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskvd_cli.families.vitdet.head_arch import SamplingRule
from maskvd_cli.families.vitdet.operators import box_area, box_iou
from maskvd_cli.tasks.detections import Targets


@dataclass(frozen=True)
class BoxMatches:
    """Of n boxes: `positive` and `negative` (n,) bool, `nearest` (n,) index of the best object."""

    positive: Tensor
    negative: Tensor
    nearest: Tensor


def match(
    boxes: Tensor, targets: Targets, rule: SamplingRule, *, ignore_overlap: float
) -> BoxMatches:
    """Match boxes (n, 4) to the objects by IoU.

    A box of which `ignore_overlap` or more lies in one ignore region is neither positive nor
    negative. Without objects every other box is negative, and `nearest` is 0.
    """
    heard = ~_ignored(boxes, targets.ignore, ignore_overlap)
    if not len(targets.xyxy):
        nothing = torch.zeros_like(heard)
        return BoxMatches(nothing, heard, nothing.long())
    iou = box_iou(targets.xyxy, boxes)
    best, nearest = iou.max(dim=0)
    positive, negative = best >= rule.positive_iou, best < rule.negative_iou
    if rule.keep_best and len(boxes):
        highest = iou.max(dim=1, keepdim=True).values
        # An object that no box touches would otherwise make all boxes positive.
        chosen = ((iou == highest) & (highest > 0)).any(dim=0)
        positive, negative = positive | chosen, negative & ~chosen
    return BoxMatches(positive & heard, negative & heard, nearest)


def sample(
    matches: BoxMatches, rule: SamplingRule, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw indices of positive and of negative boxes, `rule.count` together where there are enough.

    At most `rule.positive_fraction` of the count is positive; negatives fill up the rest.
    """
    positive = _draw(matches.positive, int(rule.count * rule.positive_fraction), generator)
    return positive, _draw(matches.negative, rule.count - len(positive), generator)


def _draw(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    index = mask.nonzero().squeeze(1)
    order = torch.randperm(len(index), generator=generator, device=generator.device)
    return index[order[:count].to(index.device)]


def _ignored(boxes: Tensor, regions: Tensor, overlap: float) -> Tensor:
    if not len(regions):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    corner = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    opposite = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    inside = (opposite - corner).clamp(min=0).prod(dim=2)
    return (inside >= overlap * box_area(boxes)[:, None]).any(dim=1)
