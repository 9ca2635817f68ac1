"""The whole-detector case: from uint8 images to boxes, every intermediate compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.roi_pooling import pool
from maskvd_cli.verify.cases import TOLERANCE, Agreement, Golden
from maskvd_cli.verify.windowed import windowed_arch


def verify_detector(case: Golden, agreement: Agreement) -> None:
    """Run every image; differences are taken over the largest value of each intermediate.

    Proposals and detections must be as many, and labels the same.
    """
    agreement.method = "whole detector"
    detector = _detector(case)
    for image, pixels in sorted(case.indices("image").items()):
        _verify_image(detector, torch.from_numpy(pixels), _Expected(case, image), agreement)


@dataclass(frozen=True)
class _Expected:
    """The authors' arrays of one image, by their names without its number."""

    case: Golden
    image: int

    def __contains__(self, name: str) -> bool:
        return self.case.has(f"{self.image}/{name}")

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return self.case.arrays[f"{self.image}/{name}"]


def _detector(case: Golden) -> Detector:
    config, tensors = case.config, case.weights.tensors
    input_size = Size(*config["input_shape"][1:])
    patch = tensors["embedding.conv.weight"].shape[-1]
    tokens = [side // patch for side in input_size]
    arch = windowed_arch({**config["backbone_config"], "input_size": tokens}, patch=patch)
    heads = HeadArch.for_patch(
        patch,
        classes=config["classes"],
        channels=config["output_channels"],
        hidden=len(tensors["box_head.fc.bias"]),
    )
    detector = Detector(arch, heads, input_size).eval()
    load_into(detector, {name: tensor.float() for name, tensor in tensors.items()}, case.name)
    return detector


def _verify_image(
    detector: Detector,
    pixels: Tensor,
    expected: _Expected,
    agreement: Agreement,
) -> None:
    def compare(name: str, found: Tensor) -> None:
        if name in expected:
            scale = max(1.0, float(np.abs(expected[name]).max(initial=0)))
            agreement.compare(found.float(), expected[name], scale)

    # What boxes are clipped to: the padded input.
    if "image_sizes" in expected:
        agreement.select(torch.tensor([detector.input_size]), expected["image_sizes"])
    tokens = detector.embed([pixels])
    compare("tokens", tokens[0])
    features = detector.backbone(tokens, detector.grid)
    compare("backbone", features[0])
    levels = detector.pyramid(features.transpose(1, 2).unflatten(2, detector.grid))
    for number, level in enumerate(levels):
        compare(f"p{number + 2}", level[0])
    rpn, heads = detector.rpn(levels), detector.heads
    for number, level in enumerate(levels):
        side = level.shape[-2:]
        logits = rpn.logits[number][0].unflatten(0, (*side, -1))
        deltas = rpn.deltas[number][0].unflatten(0, (*side, -1))
        compare(f"rpn_logits/{number}", logits.permute(2, 0, 1))
        compare(f"rpn_deltas/{number}", deltas.permute(2, 3, 0, 1).flatten(0, 1))
        compare(f"anchors/{number}", rpn.anchors[number])
    proposals = detector.rpn.proposals(
        rpn, detector.input_size, pre_nms=heads.pre_nms, post_nms=heads.post_nms
    )[0]
    order = _order(proposals.xyxy, proposals.logits, expected, "proposal_boxes", "proposal_logits")
    boxes = proposals.xyxy[order]
    compare("proposal_boxes", boxes)
    compare("proposal_logits", proposals.logits[order])
    compare("roi_features_first8", pool(levels, [boxes], heads)[:8])
    output = detector.box_head(levels, [boxes])
    compare("cls_logits", output.logits)
    compare("box_deltas", output.deltas.flatten(1))
    found = detector.box_head.detections(output, [boxes], detector.input_size)[0]
    order = _order(found.xyxy, found.scores, expected, "boxes", "scores")
    compare("boxes", found.xyxy[order])
    compare("scores", found.scores[order])
    if "labels" in expected:
        agreement.select(found.labels[order], expected["labels"])


def _order(
    boxes: Tensor,
    scores: Tensor,
    expected: _Expected,
    boxes_name: str,
    scores_name: str,
) -> Tensor:
    """Return our rows in the order of theirs, where only near-ties of the scores are swapped.

    Rows whose scores differ by less than the tolerance come in either order, whichever way
    rounding falls; among those the nearest box is taken. Otherwise our own order.
    """
    own = torch.arange(len(boxes))
    if boxes_name not in expected or len(expected[boxes_name]) != len(boxes):
        return own
    theirs = torch.from_numpy(expected[boxes_name]), torch.from_numpy(expected[scores_name])
    scale = max(1.0, float(theirs[1].abs().max())) if len(boxes) else 1.0
    distance = (boxes[None] - theirs[0][:, None]).abs().amax(2)
    tied = (scores[None] - theirs[1][:, None]).abs() <= TOLERANCE[torch.float32] * scale
    left = distance.masked_fill(~tied, torch.inf)
    rows: list[int] = []
    for row in range(len(boxes)):
        best = int(left[row].argmin())
        if not torch.isfinite(left[row, best]):
            return own
        rows.append(best)
        left[:, best] = torch.inf
    return torch.tensor(rows, dtype=torch.int64)
