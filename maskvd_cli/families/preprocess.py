"""Pixels as the backbone takes them: normalised, then padded with zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size

# Rises when the same pixels give another input; enters the keys of points above 1.
REVISION = 1

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Pixels:
    """How values 0..255 of each channel are normalised; `padding` in 0..255, None: 0 thereafter."""

    mean: tuple[float, float, float] = PIXEL_MEAN
    std: tuple[float, float, float] = PIXEL_STD
    padding: float | None = None


IMAGENET = Pixels()


def to_input(
    images: Sequence[Tensor], input_size: Size, device: torch.device, pixels: Pixels = IMAGENET
) -> Tensor:
    """Normalise images and pad them at the bottom and right to the input size.

    `images`: one or more (3, rows, cols) uint8 RGB, each of its own size. Returns (B, 3, input
    rows, input cols) float32 on `device`; padding is 0 after normalisation, as in ViTDet, unless
    `pixels` say another. Raises UsageError for an image larger than the input or of another shape
    or type.
    """
    if not images:
        raise UsageError("no image given", remedy="give at least one")
    for image in images:
        _check(image, input_size)
    mean, std = _mean_and_std(device, pixels)
    batch = torch.zeros(len(images), 3, *input_size, device=device)
    if pixels.padding is not None:
        batch += (pixels.padding - mean) / std
    for row, image in zip(batch, images, strict=True):
        _, rows, cols = image.shape
        row[:, :rows, :cols] = (image.to(device).float() - mean) / std
    return batch


@cache
def _mean_and_std(device: torch.device, pixels: Pixels) -> tuple[Tensor, Tensor]:
    # No buffers of a module: `module.half()` would round them. Kept per device, because a copy to
    # a GPU on every frame would wait for it.
    with torch.inference_mode(mode=False):
        mean, std = torch.tensor([pixels.mean, pixels.std], dtype=torch.float32, device=device)
        return mean[:, None, None], std[:, None, None]


def _check(image: Tensor, input_size: Size) -> None:
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        raise UsageError(
            f"an image is {tuple(image.shape)} {image.dtype}",
            remedy="give (3, rows, columns) torch.uint8",
        )
    size = Size(*image.shape[1:])
    if size.rows > input_size.rows or size.cols > input_size.cols:
        raise UsageError(
            f"image {size} does not fit into input {input_size} (rows x columns)",
            remedy="resize the image or make the input larger",
        )
