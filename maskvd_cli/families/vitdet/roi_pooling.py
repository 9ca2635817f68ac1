"""Features of regions, each from the pyramid level that fits its size (FPN, equation 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.operators import roi_align

# A box of this side belongs to p4; the levels p2..p5 are pooled from.
_CANONICAL_SIDE = 224
_CANONICAL_LEVEL, _FIRST_LEVEL, _LAST_LEVEL = 4, 2, 5


def level_of(xyxy: Tensor) -> Tensor:
    """Return the index into p2..p5, (n,) int64 0..3, of boxes (n, 4)."""
    sides = (xyxy[:, 2:] - xyxy[:, :2]).prod(dim=1).sqrt()
    level = torch.floor(_CANONICAL_LEVEL + torch.log2(sides / _CANONICAL_SIDE + 1e-8))
    return level.clamp(_FIRST_LEVEL, _LAST_LEVEL).long() - _FIRST_LEVEL


def pool(
    levels: Sequence[Tensor], boxes: Sequence[Tensor], heads: HeadArch, side: int | None = None
) -> Tensor:
    """Return the features (n, channels, side, side) float32 of all images' boxes.

    `levels` p2.. (B, channels, rows, cols); `boxes` one (n_i, 4) xyxy in input pixels per image;
    `side` is the box head's by default.
    ROIAlign with half-pixel alignment and as many samples per bin as it has pixels, in float32:
    half precision would round the boxes.
    """
    xyxy = torch.cat(list(boxes))
    image_of = torch.cat([xyxy.new_full((len(b), 1), i) for i, b in enumerate(boxes)])
    levels_of = level_of(xyxy)
    order = levels_of.argsort(stable=True)
    counts = levels_of.bincount(minlength=_LAST_LEVEL - _FIRST_LEVEL + 1).tolist()
    chunks = torch.cat([image_of, xyxy], dim=1)[order].split(counts)
    pooled = [
        roi_align(level.float(), regions, side or heads.roi_size, 1 / stride)
        for level, regions, stride in zip(levels, chunks, heads.strides, strict=False)
    ]
    return torch.cat(pooled)[order.argsort()]
