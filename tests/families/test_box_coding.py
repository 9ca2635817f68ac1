"""Boxes as deltas, and back."""

from __future__ import annotations

import math

import pytest
import torch

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.box_coding import (
    BOX_WEIGHTS,
    RPN_WEIGHTS,
    Weights,
    check_finite,
    clip,
    decode,
    encode,
)

REFERENCE = torch.tensor([[10.0, 20.0, 30.0, 60.0]])


def test_deltas_are_shifts_in_sides_and_logarithms_of_scales() -> None:
    deltas = torch.tensor([[0.5, -0.25, math.log(2), math.log(0.5)]])
    expected = torch.tensor([[10.0, 20.0, 50.0, 40.0]])
    torch.testing.assert_close(decode(deltas, REFERENCE, RPN_WEIGHTS), expected)
    weighted = deltas * torch.tensor([10.0, 10.0, 5.0, 5.0])
    torch.testing.assert_close(decode(weighted, REFERENCE, BOX_WEIGHTS), expected)
    torch.testing.assert_close(encode(expected, REFERENCE, BOX_WEIGHTS), weighted)


@pytest.mark.parametrize("weights", [RPN_WEIGHTS, BOX_WEIGHTS])
def test_decoding_undoes_encoding(weights: Weights) -> None:
    corners = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(0)) * 100
    sides = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(1)) * 100 + 1
    boxes, references = torch.cat([corners, corners + sides], dim=2)
    there = encode(boxes, references, weights)
    torch.testing.assert_close(decode(there, references, weights), boxes, atol=1e-3, rtol=1e-5)


def test_sides_grow_by_no_more_than_the_largest_scale() -> None:
    huge = decode(torch.tensor([[0.0, 0.0, 100.0, 1e30]]), REFERENCE, BOX_WEIGHTS)
    sides = huge[0, 2:] - huge[0, :2]
    torch.testing.assert_close(sides, torch.tensor([20.0, 40.0]) * 1000 / 16)


def test_boxes_are_cut_at_columns_and_rows() -> None:
    boxes = torch.tensor([[-5.0, -6.0, 50.0, 40.0], [31.0, 1.0, 33.0, 2.0]])
    expected = torch.tensor([[0.0, 0.0, 30.0, 20.0], [30.0, 1.0, 30.0, 2.0]])
    assert torch.equal(clip(boxes, Size(20, 30)), expected)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_not_finite_are_told(value: float) -> None:
    check_finite("box head", torch.ones(3), torch.ones(0))
    with pytest.raises(MaskvdError, match="box head hold NaN or infinity; use float32"):
        check_finite("box head", torch.ones(3), torch.tensor([1.0, value]))
