"""Boxes as deltas from reference boxes and back (R-CNN, appendix C). All boxes are xyxy pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size

Weights = tuple[float, float, float, float]

RPN_WEIGHTS: Weights = (1.0, 1.0, 1.0, 1.0)
BOX_WEIGHTS: Weights = (10.0, 10.0, 5.0, 5.0)
# A box grows by no more than this factor, so that exp never overflows.
_LARGEST_LOG_SCALE = math.log(1000 / 16)


def encode(boxes: Tensor, references: Tensor, weights: Weights) -> Tensor:
    """Return the deltas (..., 4) that lead from `references` to `boxes`, both (..., 4)."""
    x, y, width, height = _centres(references).unbind(-1)
    to_x, to_y, to_width, to_height = _centres(boxes).unbind(-1)
    deltas = (
        (to_x - x) / width,
        (to_y - y) / height,
        (to_width / width).log(),
        (to_height / height).log(),
    )
    return torch.stack([weight * d for weight, d in zip(weights, deltas, strict=True)], dim=-1)


def decode(deltas: Tensor, references: Tensor, weights: Weights) -> Tensor:
    """Apply deltas (..., 4) to `references` (..., 4); sides grow by at most 1000 / 16."""
    x, y, width, height = _centres(references).unbind(-1)
    dx, dy, dw, dh = (d / weight for d, weight in zip(deltas.unbind(-1), weights, strict=True))
    x, y = x + dx * width, y + dy * height
    half_width = 0.5 * width * dw.clamp(max=_LARGEST_LOG_SCALE).exp()
    half_height = 0.5 * height * dh.clamp(max=_LARGEST_LOG_SCALE).exp()
    corners = (x - half_width, y - half_height, x + half_width, y + half_height)
    return torch.stack(corners, dim=-1)


def clip(boxes: Tensor, size: Size) -> Tensor:
    """Cut boxes (..., 4) at the border of an image of this size."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    x1, x2 = x1.clamp(0, size.cols), x2.clamp(0, size.cols)
    y1, y2 = y1.clamp(0, size.rows), y2.clamp(0, size.rows)
    return torch.stack((x1, y1, x2, y2), dim=-1)


def check_finite(part: str, *values: Tensor) -> None:
    """Raise MaskvdError where a head's outputs hold NaN or infinity: no box could be trusted."""
    if not torch.stack([torch.isfinite(value).all() for value in values]).all():
        raise MaskvdError(
            f"the outputs of the {part} hold NaN or infinity",
            remedy="use float32 or bfloat16, and check the weights",
        )


def _centres(boxes: Tensor) -> Tensor:
    """Return (..., 4) centre x, centre y, width, height."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.cat([boxes[..., :2] + 0.5 * sides, sides], dim=-1)
