"""Overlaps of boxes, and what the next frame may take from stored ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskvd_cli.core.placement import Placement
from maskvd_cli.core.size import Size
from maskvd_cli.tasks.boxes import overlaps
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.detections import Detections

PLACED = Placement(Size(672, 672), Size(370, 672), 370 / 375, 672 / 1242)


def test_overlaps_are_intersections_over_unions() -> None:
    first = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    second = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]])
    expected = [[1.0, 50 / 150, 0.0], [0.0, 0.0, 0.0]]
    assert overlaps(first, second).tolist() == pytest.approx(np.array(expected))
    assert overlaps(first[:0], second).shape == (0, 3)
    assert overlaps(first, second[:0]).shape == (2, 0)


def test_overlaps_equal_torchvisions() -> None:
    from torchvision.ops import box_iou

    drawn = np.random.default_rng(0)
    corners = drawn.uniform(0, 50, (2, 30, 2))
    first, second = (
        np.concatenate([corner, corner + drawn.uniform(1, 40, (30, 2))], axis=1)
        for corner in corners
    )
    expected = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    np.testing.assert_allclose(overlaps(first, second), expected, atol=1e-12)


def test_stored_hints_are_those_of_the_outputs() -> None:
    task = Detection()
    boxes = torch.tensor([[10.0, 20, 60, 90], [5, 5, 7, 8], [100, 50, 300, 200]])
    frames = [
        Detections(boxes[:2], torch.tensor([0.9, 0.4]), torch.tensor([0, 1])),
        Detections(boxes[:0], torch.zeros(0), torch.zeros(0, dtype=torch.int64)),
        Detections(boxes[2:], torch.tensor([0.7]), torch.tensor([0])),
    ]
    stored = task.encode(frames, PLACED, (0, 1))
    hints = task.stored_hints(stored, PLACED, 3)
    for output, hint in zip(frames, hints, strict=True):
        told = task.hints(output)
        # Stored to a thousandth of a native pixel, corner and sides each.
        np.testing.assert_allclose(hint.boxes, told.boxes.numpy(), atol=2e-3)
        np.testing.assert_allclose(hint.scores, told.scores.numpy(), atol=1e-6)
