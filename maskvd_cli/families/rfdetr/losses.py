"""What a set-based detector is trained with: the losses of transformers, on targets of ours.

Every group of queries is matched to the objects one to one (Hungarian matching), after each decoder
layer and after the first stage; matched queries learn class, box and overlap, all others that there
is nothing. Ignore regions are unknown to it: a query in one of them learns that there is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.tasks.detections import Targets

# Our name of a part, by the beginning of the library's, and the library's weight of it.
_PARTS = {
    "loss_ce": ("classes", "class_loss_coefficient"),
    "loss_bbox": ("boxes", "bbox_loss_coefficient"),
    "loss_giou": ("overlaps", "giou_loss_coefficient"),
}


def set_losses(
    detr: nn.Module, features: Tensor, targets: Sequence[Targets], input_size: Size
) -> dict[str, Tensor]:
    """Return the weighted losses `classes`, `boxes`, `overlaps`; the library minimises their sum.

    `features` (B, T D, rows, cols) are what `detr`, the library's detector, has for pixels. Each
    part sums up decoder layers and first stage. Float32 whatever the precision around it: the
    logarithms are of numbers near 0.
    """
    detr.train()
    with torch.autocast(features.device.type, enabled=False):
        found = detr(
            pixel_values=features.float(),
            labels=[labels_of(target.to(features.device), input_size) for target in targets],
        )
    return _weighted(found.loss_dict, detr.config)


def labels_of(target: Targets, input_size: Size) -> dict[str, Tensor]:
    """Return an image's objects as the library has them: `class_labels` (m,), `boxes` (m, 4).

    Boxes are centre and size (x, y, width, height) as shares of the input.
    """
    low, high = target.xyxy[:, :2], target.xyxy[:, 2:]
    boxes = torch.cat([(low + high) / 2, high - low], dim=1)
    sides = boxes.new_tensor([input_size.cols, input_size.rows] * 2)
    return {"class_labels": target.labels, "boxes": boxes / sides}


def _weighted(losses: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
    """Sum the library's losses by part, each times its weight; what has none is for logs alone."""
    made: dict[str, Tensor] = {}
    for start, (part, weight) in _PARTS.items():
        found = [loss for name, loss in losses.items() if name.startswith(start)]
        made[part] = torch.stack(found).sum() * getattr(config, weight)
    return made
