"""Anchors, and how the RPN's outputs become proposals."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.vitdet.anchors import anchors
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.rpn import Proposals, RegionProposalNetwork, RpnOutput

HEADS = HeadArch(classes=2, channels=4, hidden=8)
CPU = torch.device("cpu")


def outputs(*levels: list[tuple[float, tuple[float, float, float, float]]]) -> RpnOutput:
    """One image; per level the logits and boxes, as anchors with zero deltas."""
    logits = tuple(torch.tensor([[logit for logit, _ in level]]) for level in levels)
    boxes = tuple(torch.tensor([box for _, box in level]) for level in levels)
    return RpnOutput(logits, tuple(torch.zeros_like(b)[None] for b in boxes), boxes)


def proposals(output: RpnOutput, pre_nms: int = 10, post_nms: int = 10) -> Proposals:
    rpn = RegionProposalNetwork(HEADS)
    return rpn.proposals(output, Size(100, 200), pre_nms=pre_nms, post_nms=post_nms)[0]


def test_anchors_lie_by_rows_columns_and_ratios() -> None:
    sizes = (Size(8, 12), Size(4, 6), Size(2, 3), Size(1, 2), Size(1, 1))
    levels = anchors(HEADS, sizes, CPU)
    assert [len(level) for level in levels] == [3 * size.area for size in sizes]
    root = math.sqrt(2)
    for level, (row, col, ratio), expected in (
        (0, (0, 0, 1), (-16, -16, 16, 16)),
        (0, (7, 5, 1), (20 - 16, 28 - 16, 20 + 16, 28 + 16)),
        (1, (0, 1, 0), (8 - 32 * root, -16 * root, 8 + 32 * root, 16 * root)),
        (2, (1, 2, 2), (32 - 32 * root, 16 - 64 * root, 32 + 32 * root, 16 + 64 * root)),
        (4, (0, 0, 1), (-256, -256, 256, 256)),
    ):
        anchor = levels[level].unflatten(0, (*sizes[level], 3))[row, col, ratio]
        torch.testing.assert_close(anchor, torch.tensor(expected, dtype=torch.float32))


def test_outputs_follow_the_order_of_the_anchors() -> None:
    rpn = RegionProposalNetwork(HEADS)
    generator = torch.Generator().manual_seed(0)
    for parameter in rpn.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    sizes = [Size(4, 6), Size(2, 3), Size(1, 2), Size(1, 1), Size(1, 1)]
    levels = [torch.randn(2, 4, *size, generator=generator) for size in sizes]
    output = rpn(levels)
    hidden = levels[0]
    for conv in rpn.convs:
        hidden = conv(hidden).relu()
    logits, deltas = rpn.objectness(hidden), rpn.deltas(hidden)
    for row, col, ratio in ((0, 0, 0), (3, 1, 2), (2, 5, 1)):
        place = (row * 6 + col) * 3 + ratio
        torch.testing.assert_close(output.logits[0][1, place], logits[1, ratio, row, col])
        expected = deltas[1, 4 * ratio : 4 * ratio + 4, row, col]
        torch.testing.assert_close(output.deltas[0][1, place], expected)
    assert [len(a) for a in output.anchors] == [3 * size.area for size in sizes]


def test_overlapping_boxes_of_one_level_are_thinned_and_sorted() -> None:
    near, far = (0.0, 0.0, 50.0, 50.0), (100.0, 0.0, 150.0, 50.0)
    inside = (0.0, 0.0, 50.0, 36.0)  # IoU 0.72
    below = (0.0, 0.0, 50.0, 34.0)  # IoU 0.68
    found = proposals(outputs([(1.0, inside), (2.0, near), (3.0, far), (0.5, below)]))
    assert found.logits.tolist() == [3.0, 2.0, 0.5]
    assert found.xyxy.tolist() == [list(far), list(near), list(below)]


def test_levels_do_not_thin_each_other() -> None:
    box = (0.0, 0.0, 50.0, 50.0)
    found = proposals(outputs([(1.0, box)], [(2.0, box)]))
    assert found.logits.tolist() == [2.0, 1.0]


def test_boxes_are_clipped_to_the_input_and_empty_ones_dropped() -> None:
    found = proposals(
        outputs([(3.0, (-10.0, -10.0, 300.0, 300.0)), (2.0, (201.0, 0.0, 250.0, 50.0))])
    )
    assert found.xyxy.tolist() == [[0.0, 0.0, 200.0, 100.0]]


def test_the_best_of_each_level_and_then_of_all_remain() -> None:
    boxes = [(20.0 * i, 0.0, 20.0 * i + 10, 10.0) for i in range(5)]
    many = [(float(i), box) for i, box in enumerate(boxes)]
    few = [(-1.0, (0.0, 50.0, 10.0, 60.0)), (-2.0, (0.0, 70.0, 10.0, 80.0))]
    assert proposals(outputs(many, few), pre_nms=2).logits.tolist() == [4.0, 3.0, -1.0, -2.0]
    assert proposals(outputs(many, few), pre_nms=2, post_nms=3).logits.tolist() == [4.0, 3.0, -1.0]


def test_images_of_a_batch_do_not_mix() -> None:
    one = outputs([(1.0, (0.0, 0.0, 50.0, 50.0)), (0.0, (60.0, 0.0, 90.0, 50.0))])
    logits = torch.cat([one.logits[0], one.logits[0].flip(1)])
    batch = RpnOutput((logits,), (one.deltas[0].expand(2, -1, -1),), one.anchors)
    found = RegionProposalNetwork(HEADS).proposals(batch, Size(100, 200), pre_nms=1, post_nms=1)
    assert found[0].xyxy.tolist() == [[0.0, 0.0, 50.0, 50.0]]
    assert found[1].xyxy.tolist() == [[60.0, 0.0, 90.0, 50.0]]


@pytest.mark.parametrize("part", ["logits", "deltas"])
def test_outputs_that_are_not_finite_are_refused(part: str) -> None:
    output = outputs([(1.0, (0.0, 0.0, 50.0, 50.0))])
    wrong: tuple[Tensor, ...] = tuple(t * math.nan for t in getattr(output, part))
    with pytest.raises(MaskvdError, match="region proposal network hold NaN"):
        proposals(replace(output, **{part: wrong}))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"strides": (4, 8, 16, 32)}, "five levels"),
        ({"strides": (4, 8, 16, 32, 48)}, "do not double"),
        ({"anchor_sizes": (32.0,)}, "five levels"),
        ({"classes": 0}, "at least one"),
    ],
)
def test_numbers_that_do_not_belong_together_are_refused(
    changed: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(HEADS, **changed)
