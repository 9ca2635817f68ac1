"""Pixels: normalised first, padded afterwards."""

from __future__ import annotations

import pytest
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.preprocess import to_input

CPU = torch.device("cpu")


def image(rows: int, cols: int, colour: tuple[int, int, int] = (10, 20, 30)) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].repeat(1, rows, cols)


def test_pixels_are_normalised_and_padding_is_zero_afterwards() -> None:
    batch = to_input([image(2, 3), image(4, 4)], Size(4, 5), CPU)
    expected = torch.tensor(
        [(10 - 123.675) / 58.395, (20 - 116.28) / 57.12, (30 - 103.53) / 57.375]
    )
    assert batch.shape == (2, 3, 4, 5) and batch.dtype == torch.float32
    torch.testing.assert_close(batch[0, :, :2, :3], expected[:, None, None].expand(3, 2, 3))
    assert batch[0, :, 2:].eq(0).all() and batch[0, :, :, 3:].eq(0).all()
    assert batch[1, :, :, :4].ne(0).all() and batch[1, :, :, 4].eq(0).all()


@pytest.mark.parametrize("size", [Size(5, 4), Size(4, 6)])
def test_an_image_larger_than_the_input_is_refused(size: Size) -> None:
    with pytest.raises(UsageError, match=rf"image {size} does not fit into input 4x5 .*; resize"):
        to_input([image(4, 5), image(*size)], Size(4, 5), CPU)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 4, 4), torch.zeros(4, 4, 3, dtype=torch.uint8), image(4, 4)[0]]
)
def test_other_shapes_and_types_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=r"give \(3, rows, columns\) torch.uint8"):
        to_input([wrong], Size(16, 16), CPU)


def test_no_image_is_refused() -> None:
    with pytest.raises(UsageError, match="no image"):
        to_input([], Size(16, 16), CPU)


def test_constants_made_under_inference_mode_serve_training_too() -> None:
    with torch.inference_mode():
        to_input([image(4, 4)], Size(4, 4), CPU)
    weight = torch.ones(1, 3, 4, 4, requires_grad=True)
    (to_input([image(4, 4)], Size(4, 4), CPU) * weight).sum().backward()
    assert weight.grad is not None and weight.grad.ne(0).all()
