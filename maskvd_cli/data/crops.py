"""Crops of frames, as a look takes them: resized until the input just fits, float, not rounded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.looks import Looks, enlarged
from maskvd_cli.core.size import Size


def crop(frames: Tensor, looks: Looks, place: int, input_size: Size) -> Tensor:
    """Return crop `place` of frames (T, 3, rows, cols) at the input's size, (T, 3, *input_size).

    Bilinear with antialiasing, aspect kept; frames that fit already keep every value, and uint8
    becomes float32 where it is resized. Eventful Transformers' code for ViViT.
    """
    native = Size(*frames.shape[2:])
    size = enlarged(native, input_size)
    top, left = looks.corners(size, input_size)[place]
    resized = resized_to(frames, size)
    return resized[:, :, top : top + input_size.rows, left : left + input_size.cols]


def resized_to(frames: Tensor, size: Size) -> Tensor:
    """Return frames (T, 3, rows, cols) at another size, uint8 as float32; as they are at theirs."""
    if tuple(frames.shape[2:]) == tuple(size):
        return frames
    wide = frames if frames.is_floating_point() else frames.float()
    return F.interpolate(
        wide, size=tuple(size), mode="bilinear", align_corners=False, antialias=True
    )


def step_pixels(
    images: Sequence[NDArray[np.uint8]], looks: Looks, place: int, input_size: Size
) -> Tensor:
    """Return a step's images (rows, cols, 3) uint8 RGB as `crop` gives them, in 0..255."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(images))).permute(0, 3, 1, 2)
    return crop(stacked, looks, place, input_size).contiguous()
