from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from maskvd_cli.core.size import Size
from maskvd_cli.data.resize import resized


def test_an_image_of_the_right_size_keeps_every_value() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    assert torch.equal(resized(image, Size(7, 9)), torch.from_numpy(image).permute(2, 0, 1))


def test_resizing_equals_pillows_antialiased_bilinear_to_one_step() -> None:
    image = np.random.default_rng(0).integers(0, 256, (75, 124, 3), dtype=np.uint8)
    found = resized(image, Size(37, 67))
    assert found.dtype == torch.uint8
    theirs = np.array(Image.fromarray(image).resize((67, 37), Image.Resampling.BILINEAR))
    difference = found.permute(1, 2, 0).int() - torch.from_numpy(theirs).int()
    assert difference.abs().max() <= 1


def test_rows_stay_rows() -> None:
    image = np.zeros((8, 4, 3), dtype=np.uint8)
    image[4:] = 200
    found = resized(image, Size(4, 8))
    assert found.shape == (3, 4, 8)
    assert int(found[0, 0].max()) == 0
    assert int(found[0, 3].min()) == 200
