"""Pooling of regions, and how the box head's outputs become detections."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.box_head import BoxHead, BoxOutput
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.roi_pooling import level_of, pool
from maskvd_cli.tasks.detections import Detections

HEADS = HeadArch(classes=2, channels=4, hidden=8)
INPUT = Size(100, 200)
NEAR, FAR = (0.0, 0.0, 40.0, 40.0), (100.0, 0.0, 160.0, 60.0)


def detect(
    probabilities: list[tuple[float, float]],
    boxes: list[tuple[float, ...]],
    deltas: Tensor | None = None,
    heads: HeadArch = HEADS,
) -> Detections:
    """Class probabilities of two classes per box; background has the rest."""
    full = torch.tensor([(*each, 1 - sum(each)) for each in probabilities])
    shift = torch.zeros(len(boxes), 2, 4) if deltas is None else deltas
    output = BoxOutput(full.clamp(min=1e-6).log(), shift)
    return BoxHead(heads).detections(output, [torch.tensor(boxes)], INPUT)[0]


def test_boxes_belong_to_the_level_of_their_size() -> None:
    sides = torch.tensor([10.0, 111.9, 112.1, 223.9, 224.1, 447.9, 448.1, 5000.0])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides * 2, sides / 2], dim=1)
    assert level_of(boxes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_pooling_reads_each_box_from_its_image_and_level() -> None:
    sizes = [Size(512 // int(stride), 512 // int(stride)) for stride in HEADS.strides]
    levels = [
        torch.stack([torch.full((1, *size), 10.0 * image + level) for image in range(2)])
        for level, size in enumerate(sizes)
    ]
    large, small = [0.0, 0.0, 500.0, 500.0], [8.0, 8.0, 40.0, 40.0]
    middle = [0.0, 0.0, 120.0, 120.0]
    boxes = [torch.tensor([large, small]), torch.tensor([small, middle, large])]
    pooled = pool(levels, boxes, HEADS)
    assert pooled.shape == (5, 1, 7, 7)
    assert pooled.mean((1, 2, 3)).tolist() == [3.0, 0.0, 10.0, 11.0, 13.0]


def test_pooling_aligns_pixel_centres() -> None:
    ramp = torch.arange(50.0).expand(1, 1, 50, 50)
    empty = [torch.zeros(1, 1, 2, 2)] * 4
    pooled = pool([ramp, *empty], [torch.tensor([[20.0, 20.0, 76.0, 76.0]])], HEADS)
    # Bins of 8 pixels = 2 cells from x = 5 cells on; cell i has its centre at i + 0.5.
    expected = torch.arange(7.0) * 2 + 6 - 0.5
    torch.testing.assert_close(pooled[0, 0], expected.expand(7, 7))


def test_no_boxes_pool_to_nothing() -> None:
    levels = [torch.zeros(1, 4, 2, 2)] * 5
    output = BoxHead(HEADS)(levels, [torch.zeros(0, 4)])
    assert output.logits.shape == (0, 3) and output.deltas.shape == (0, 2, 4)
    found = BoxHead(HEADS).detections(output, [torch.zeros(0, 4)], INPUT)[0]
    assert len(found) == 0 and found.xyxy.shape == (0, 4) and found.labels.dtype == torch.int64


def test_every_class_above_the_floor_is_a_detection_best_first() -> None:
    found = detect([(0.2, 0.7), (0.04, 0.06)], [NEAR, FAR])
    assert found.labels.tolist() == [1, 0, 1]
    assert found.xyxy.tolist() == [list(NEAR), list(NEAR), list(FAR)]
    torch.testing.assert_close(found.scores, torch.tensor([0.7, 0.2, 0.06]))


def test_the_floor_itself_is_no_detection() -> None:
    logits = torch.zeros(1, 3)
    third = float(logits.softmax(1)[0, 0])
    output = BoxOutput(logits, torch.zeros(1, 2, 4))
    for floor, count in ((third, 0), (third - 1e-6, 2)):
        head = BoxHead(replace(HEADS, score_floor=floor))
        assert len(head.detections(output, [torch.tensor([NEAR])], INPUT)[0]) == count


def test_overlapping_boxes_are_thinned_within_a_class_only() -> None:
    inside = (0.0, 0.0, 40.0, 21.0)  # IoU 0.525 with NEAR
    below = (0.0, 0.0, 40.0, 19.0)  # IoU 0.475
    scores = [(0.9, 0.0), (0.8, 0.0)]
    assert len(detect(scores, [NEAR, inside])) == 1
    assert len(detect(scores, [NEAR, below])) == 2
    assert detect([(0.9, 0.0), (0.0, 0.8)], [NEAR, inside]).labels.tolist() == [0, 1]


def test_each_class_moves_the_box_its_own_way() -> None:
    deltas = torch.zeros(1, 2, 4)
    deltas[0, 0, 0], deltas[0, 1, 3] = 5.0, 5 * math.log(2)
    found = detect([(0.5, 0.4)], [FAR], deltas)
    expected = torch.tensor([[130.0, 0.0, 190.0, 60.0], [100.0, 0.0, 160.0, 90.0]])
    torch.testing.assert_close(found.xyxy, expected)


def test_detections_are_clipped_to_the_padded_input() -> None:
    found = detect([(0.5, 0.0)], [(150.0, 50.0, 300.0, 300.0)])
    assert found.xyxy.tolist() == [[150.0, 50.0, 200.0, 100.0]]


def test_the_best_hundred_remain() -> None:
    boxes = [
        (float(x), float(y), x + 5.0, y + 5.0) for x in range(0, 190, 10) for y in range(0, 90, 10)
    ]
    scores = [(0.1 + 0.004 * i, 0.0) for i in range(len(boxes))]
    found = detect(scores, boxes)
    assert len(boxes) == 171 and len(found) == 100
    assert found.scores[-1] == pytest.approx(scores[71][0], abs=1e-5)
    assert len(detect(scores, boxes, heads=replace(HEADS, detections=7))) == 7


def test_images_keep_their_own_detections() -> None:
    logits = torch.tensor([(0.9, 0.05, 0.05), (0.02, 0.9, 0.08), (0.02, 0.03, 0.95)]).log()
    boxes = [torch.tensor([NEAR]), torch.tensor([FAR, NEAR])]
    found = BoxHead(HEADS).detections(BoxOutput(logits, torch.zeros(3, 2, 4)), boxes, INPUT)
    assert [each.labels.tolist() for each in found] == [[0], [1]]
    assert found[1].xyxy.tolist() == [list(FAR)]


def test_outputs_that_are_not_finite_are_refused() -> None:
    output = BoxOutput(torch.full((1, 3), math.nan), torch.zeros(1, 2, 4))
    with pytest.raises(MaskvdError, match="box head hold NaN"):
        BoxHead(HEADS).detections(output, [torch.tensor([NEAR])], INPUT)


def test_detections_move_to_another_device() -> None:
    moved = detect([(0.5, 0.0)], [NEAR]).to("meta")
    assert {moved.xyxy.device.type, moved.scores.device.type, moved.labels.device.type} == {"meta"}
