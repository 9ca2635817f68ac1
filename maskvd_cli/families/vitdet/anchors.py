"""The reference boxes of the RPN."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.head_arch import HeadArch


@lru_cache(maxsize=4)
def anchors(heads: HeadArch, levels: tuple[Size, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Return the anchors of every level as (cells x ratios, 4) float32 xyxy pixels.

    Order: rows, columns, ratios. An anchor of size s and ratio r (height / width) is s / sqrt(r)
    wide and r times as high; it is centred on (column, row) times the level's stride. The last
    results are kept.
    """
    # No buffers of a module: `module.half()` would round them.
    with torch.inference_mode(mode=False):
        return tuple(
            _level(size, heads.anchor_ratios, stride, cells, device)
            for size, stride, cells in zip(heads.anchor_sizes, heads.strides, levels, strict=True)
        )


def _level(
    size: float, ratios: tuple[float, ...], stride: float, cells: Size, device: torch.device
) -> Tensor:
    widths = [size / math.sqrt(ratio) for ratio in ratios]
    sides = [(width, ratio * width) for width, ratio in zip(widths, ratios, strict=True)]
    around = torch.tensor(
        [(-width / 2, -height / 2, width / 2, height / 2) for width, height in sides],
        dtype=torch.float32,
        device=device,
    )
    y = torch.arange(cells.rows, dtype=torch.float32, device=device) * stride
    x = torch.arange(cells.cols, dtype=torch.float32, device=device) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack((x, y, x, y), dim=-1)
    return (centres[:, :, None] + around).flatten(0, 2)
