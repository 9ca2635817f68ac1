"""Box head: what stands in each proposal, and where exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.box_coding import BOX_WEIGHTS, check_finite, clip, decode
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.operators import batched_nms
from maskvd_cli.families.vitdet.region_convs import RegionConvs
from maskvd_cli.families.vitdet.roi_pooling import pool
from maskvd_cli.tasks.detections import Detections


@dataclass(frozen=True)
class BoxOutput:
    """Of n regions, float32: `logits` (n, classes + 1) and `deltas` (n, classes, 4).

    Background is the last class.
    """

    logits: Tensor
    deltas: Tensor


class BoxHead(RegionConvs):
    """Four 3 x 3 convolutions with norms and one hidden layer on the pooled features."""

    def __init__(self, heads: HeadArch) -> None:
        super().__init__(heads.channels)
        self.heads = heads
        channels = heads.channels
        for weight in self.convs.parameters():
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
        self.fc = nn.Linear(channels * heads.roi_size**2, heads.hidden)
        self.classes = nn.Linear(heads.hidden, heads.classes + 1)
        self.deltas = nn.Linear(heads.hidden, 4 * heads.classes)
        nn.init.kaiming_uniform_(self.fc.weight, a=1)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (self.fc, self.classes, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> BoxOutput:
        """Return the outputs for all images' boxes, one (n_i, 4) xyxy tensor per image."""
        return self.predict(pool(levels, boxes, self.heads).to(self.fc.weight.dtype))

    def predict(self, pooled: Tensor) -> BoxOutput:
        """Return the outputs of pooled features (n, channels, roi size, roi size)."""
        hidden = F.relu(self.fc(self.convolved(pooled).flatten(1)))
        deltas = self.deltas(hidden).float().unflatten(1, (self.heads.classes, 4))
        return BoxOutput(self.classes(hidden).float(), deltas)

    @torch.no_grad()
    def detections(
        self, output: BoxOutput, boxes: Sequence[Tensor], input_size: Size
    ) -> list[Detections]:
        """Return each image's detections from the outputs for its boxes.

        Every class of every box above the score floor is decoded and clipped to the padded input;
        NMS within each class; the best remain. Raises MaskvdError where outputs are not finite.
        """
        check_finite("box head", output.logits, output.deltas)
        counts = [len(b) for b in boxes]
        scores = output.logits.softmax(dim=1)[:, :-1].split(counts)
        by_image = zip(scores, output.deltas.split(counts), boxes, strict=True)
        return [self._best(s, d, b, input_size) for s, d, b in by_image]

    def _best(self, scores: Tensor, deltas: Tensor, boxes: Tensor, size: Size) -> Detections:
        row, label = (scores > self.heads.score_floor).nonzero(as_tuple=True)
        xyxy = clip(decode(deltas[row, label], boxes[row], BOX_WEIGHTS), size)
        score = scores[row, label]
        kept = batched_nms(xyxy, score, label, self.heads.nms_iou)[: self.heads.detections]
        return Detections(xyxy[kept], score[kept], label[kept], len(boxes))
