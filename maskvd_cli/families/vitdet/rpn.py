"""Region proposal network, shared by all pyramid levels (Faster R-CNN, on five levels)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.anchors import anchors
from maskvd_cli.families.vitdet.box_coding import RPN_WEIGHTS, check_finite, clip, decode
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.operators import batched_nms


@dataclass(frozen=True)
class RpnOutput:
    """Per level, float32: `logits` (B, n), `deltas` (B, n, 4) and `anchors` (n, 4).

    Anchors follow rows, columns, ratios.
    """

    logits: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]
    anchors: tuple[Tensor, ...]


@dataclass(frozen=True)
class Proposals:
    """The proposals of one image, best first: `xyxy` (n, 4) and objectness `logits` (n,)."""

    xyxy: Tensor
    logits: Tensor


class RegionProposalNetwork(nn.Module):
    """Two 3 x 3 convolutions, then objectness and deltas of every anchor."""

    def __init__(self, heads: HeadArch) -> None:
        super().__init__()
        self.heads = heads
        channels, each = heads.channels, heads.anchors_per_cell
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
        self.convs = nn.ModuleList(convs)
        self.objectness = nn.Conv2d(channels, each, 1)
        self.deltas = nn.Conv2d(channels, 4 * each, 1)
        # Small weights throughout, as for pretrained backbones, would leave one that is not almost
        # without gradients: only the last layers begin small.
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        for layer in (self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
        for layer in (*convs, self.objectness, self.deltas):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, levels: Sequence[Tensor]) -> RpnOutput:
        """Return what the RPN says about the anchors of p2..p6, (B, channels, rows, cols) each."""
        logits, deltas = [], []
        for level in levels:
            hidden = level
            for conv in self.convs:
                hidden = F.relu(conv(hidden))
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1).float())
            by_anchor = self.deltas(hidden).unflatten(1, (self.heads.anchors_per_cell, 4))
            deltas.append(by_anchor.permute(0, 3, 4, 1, 2).flatten(1, 3).float())
        sizes = tuple(Size(*level.shape[-2:]) for level in levels)
        references = anchors(self.heads, sizes, levels[0].device)
        return RpnOutput(tuple(logits), tuple(deltas), references)

    @torch.no_grad()
    def proposals(
        self, output: RpnOutput, input_size: Size, *, pre_nms: int, post_nms: int
    ) -> list[Proposals]:
        """Return each image's best boxes.

        The `pre_nms` best anchors of every level are decoded, clipped to the padded input, and
        thinned by NMS within their level; the `post_nms` best remain. Raises MaskvdError where
        outputs are not finite.
        """
        logits, deltas, references, level_of = [], [], [], []
        per_level = zip(output.logits, output.deltas, output.anchors, strict=True)
        for level, (level_logits, level_deltas, level_anchors) in enumerate(per_level):
            best, index = level_logits.topk(min(pre_nms, level_logits.shape[1]), dim=1)
            logits.append(best)
            deltas.append(level_deltas.gather(1, index[..., None].expand(-1, -1, 4)))
            references.append(level_anchors[index])
            level_of.append(torch.full_like(index[0], level))
        scores, chosen, levels = torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(level_of)
        check_finite("region proposal network", scores, chosen)
        boxes = clip(decode(chosen, torch.cat(references, 1), RPN_WEIGHTS), input_size)
        by_image = zip(boxes, scores, strict=True)
        return [self._thinned(xyxy, score, levels, post_nms) for xyxy, score in by_image]

    def _thinned(self, xyxy: Tensor, logits: Tensor, level_of: Tensor, count: int) -> Proposals:
        solid = (xyxy[:, 2:] > xyxy[:, :2]).all(dim=1)
        xyxy, logits, level_of = xyxy[solid], logits[solid], level_of[solid]
        kept = batched_nms(xyxy, logits, level_of, self.heads.rpn_nms_iou)[:count]
        return Proposals(xyxy[kept], logits[kept])
