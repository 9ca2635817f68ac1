"""Crops of frames: values that stay, values that are resized, and where they lie."""

from __future__ import annotations

import numpy as np
import torch

from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.data.crops import crop, step_pixels

LOOKS = Looks(frames=2, tubelet=2, across=3)


def frames(rows: int, cols: int) -> np.ndarray:
    drawn = np.random.default_rng(0)
    return drawn.integers(0, 256, (2, rows, cols, 3), dtype=np.uint8)


def test_frames_that_fit_keep_every_value() -> None:
    images = frames(16, 40)
    for place, left in ((0, 0), (1, 12), (2, 24)):
        made = step_pixels(list(images), LOOKS, place, Size(16, 16))
        assert made.dtype == torch.uint8
        expected = images[:, :, left : left + 16].transpose(0, 3, 1, 2)
        assert np.array_equal(made.numpy(), expected)


def test_resized_frames_are_not_rounded_and_keep_their_mean() -> None:
    images = frames(32, 32)
    made = step_pixels(list(images), LOOKS, 1, Size(16, 16))
    assert (made.dtype, made.shape) == (torch.float32, (2, 3, 16, 16))
    assert bool((made != made.round()).any())
    means = images.mean((1, 2)), made.mean((2, 3)).numpy()
    assert np.allclose(*means, atol=1.0)


def test_float64_stays_float64() -> None:
    made = crop(torch.rand(2, 3, 20, 30, dtype=torch.float64), LOOKS, 2, Size(16, 16))
    assert (made.dtype, made.shape) == (torch.float64, (2, 3, 16, 16))
