"""Which boxes train the heads, and what their losses are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.families.vitdet.box_coding import BOX_WEIGHTS, RPN_WEIGHTS, encode
from maskvd_cli.families.vitdet.box_head import BoxOutput
from maskvd_cli.families.vitdet.head_arch import HeadArch, SamplingRule
from maskvd_cli.families.vitdet.head_losses import Regions, box_losses, rpn_losses, sample_regions
from maskvd_cli.families.vitdet.matching import BoxMatches, match, sample
from maskvd_cli.families.vitdet.rpn import RpnOutput
from maskvd_cli.tasks.detections import Targets

HEADS = HeadArch(classes=3, channels=4, hidden=8)
RPN, BOX = HEADS.rpn_sampling, HEADS.box_sampling
OBJECT = [0.0, 0.0, 100.0, 100.0]


def targets(
    boxes: list[list[float]], labels: list[int], ignore: list[list[float]] | None = None
) -> Targets:
    return Targets(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(ignore or []).reshape(-1, 4),
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def signs(matches: BoxMatches) -> list[int]:
    return (matches.positive.int() - matches.negative.int()).tolist()


def part_of(share: float) -> list[float]:
    """A box inside OBJECT whose IoU with it is `share`."""
    return [0.0, 0.0, 100.0, 100 * share]


@pytest.mark.parametrize(
    ("rule", "shares", "expected"),
    [
        (RPN, (1.0, 0.70, 0.69, 0.3, 0.29), [1, 1, 0, 0, -1]),
        (BOX, (1.0, 0.5, 0.49, 0.1), [1, 1, -1, -1]),
    ],
)
def test_iou_decides(rule: SamplingRule, shares: tuple[float, ...], expected: list[int]) -> None:
    boxes = torch.tensor([part_of(share) for share in shares])
    matches = match(boxes, targets([OBJECT], [0]), rule, ignore_overlap=0.5)
    assert signs(matches) == expected


def test_the_best_anchors_of_an_object_are_positive_however_bad() -> None:
    boxes = torch.tensor([part_of(0.2), part_of(0.1), part_of(0.2)])
    objects = targets([OBJECT, [500.0, 500.0, 600.0, 600.0]], [0, 1])
    assert signs(match(boxes, objects, RPN, ignore_overlap=0.5)) == [1, -1, 1]
    assert signs(match(boxes, objects, BOX, ignore_overlap=0.5)) == [-1, -1, -1]


def test_a_box_belongs_to_its_nearest_object() -> None:
    objects = targets([OBJECT, [0.0, 0.0, 100.0, 60.0]], [0, 1])
    boxes = torch.tensor([part_of(0.9), part_of(0.65)])
    assert match(boxes, objects, BOX, ignore_overlap=0.5).nearest.tolist() == [0, 1]


def test_boxes_in_ignore_regions_count_neither_way() -> None:
    objects = targets([OBJECT], [0], ignore=[[200.0, 0.0, 300.0, 100.0], [0.0, 0.0, 100.0, 45.0]])
    boxes = torch.tensor(
        [
            [210.0, 10.0, 220.0, 20.0],
            [190.0, 0.0, 210.0, 10.0],
            [189.0, 0.0, 209.0, 10.0],
            OBJECT,
            part_of(0.9),
        ]
    )
    # Share of each inside a region: all, exactly half, less than half; 45 % and half of the rest.
    assert signs(match(boxes, objects, BOX, ignore_overlap=0.5)) == [0, 0, -1, 1, 0]
    assert signs(match(boxes, objects, RPN, ignore_overlap=0.5)) == [0, 0, -1, 1, 0]


def test_without_objects_all_boxes_are_negative() -> None:
    boxes = torch.tensor([part_of(0.5), [200.0, 0.0, 210.0, 10.0]])
    empty = targets([], [], ignore=[[200.0, 0.0, 300.0, 100.0]])
    assert signs(match(boxes, empty, RPN, ignore_overlap=0.5)) == [-1, 0]


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [(300, 900, (128, 128)), (10, 900, (10, 246)), (300, 20, (128, 20)), (0, 0, (0, 0))],
)
def test_samples_hold_the_fraction_and_fill_up(
    positive: int, negative: int, expected: tuple[int, int]
) -> None:
    kinds = torch.tensor([1] * positive + [-1] * negative + [0] * 50, dtype=torch.int64)
    matches = BoxMatches(kinds == 1, kinds == -1, torch.zeros_like(kinds))
    chosen = sample(matches, RPN, generator())
    assert (len(chosen[0]), len(chosen[1])) == expected
    assert (kinds[chosen[0]] == 1).all() and (kinds[chosen[1]] == -1).all()
    assert all(len(set(part.tolist())) == len(part) for part in chosen)


def test_samples_depend_on_the_generator_alone() -> None:
    matches = BoxMatches(torch.ones(500) > 0, torch.ones(500) < 0, torch.zeros(500))
    first, again, other = (sample(matches, RPN, generator(seed))[0] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def rpn_output(boxes: Tensor, images: int = 1) -> RpnOutput:
    logits = torch.linspace(-1, 1, len(boxes)).expand(images, -1).clone().requires_grad_()
    deltas = torch.full((images, len(boxes), 4), 0.1, requires_grad=True)
    half = len(boxes) // 2
    return RpnOutput(
        (logits[:, :half], logits[:, half:]),
        (deltas[:, :half], deltas[:, half:]),
        (boxes[:half], boxes[half:]),
    )


def test_rpn_losses_are_sums_over_samples_by_batch_size() -> None:
    boxes = torch.tensor([OBJECT, part_of(0.8), part_of(0.5), part_of(0.1)])
    output, objects = rpn_output(boxes, images=2), targets([OBJECT], [2])
    losses = rpn_losses(output, [objects, targets([], [])], HEADS, generator())
    logits = torch.cat(output.logits, 1)
    first = F.binary_cross_entropy_with_logits(
        logits[0, [0, 1, 3]], torch.tensor([1.0, 1.0, 0.0]), reduction="sum"
    )
    second = F.softplus(logits[1]).sum()
    torch.testing.assert_close(losses["rpn_objectness"], (first + second) / (256 * 2))
    goal = encode(objects.xyxy.expand(2, 4), boxes[:2], RPN_WEIGHTS)
    torch.testing.assert_close(losses["rpn_deltas"], (goal - 0.1).abs().sum() / (256 * 2))


def test_regions_hold_the_objects_themselves() -> None:
    proposals = torch.tensor([[300.0, 300.0, 400.0, 400.0], [0.0, 0.0, 100.0, 90.0]])
    objects = targets([OBJECT, [50.0, 200.0, 80.0, 260.0]], [2, 1])
    region = sample_regions([proposals], [objects], HEADS, generator())[0]
    found = {
        tuple(box): label
        for box, label in zip(region.xyxy.tolist(), region.labels.tolist(), strict=True)
    }
    assert found == {
        (300.0, 300.0, 400.0, 400.0): 3,
        (0.0, 0.0, 100.0, 90.0): 2,
        tuple(OBJECT): 2,
        (50.0, 200.0, 80.0, 260.0): 1,
    }
    for box, label in zip(region.objects.tolist(), region.labels.tolist(), strict=False):
        assert objects.xyxy[objects.labels == label].tolist() == [box]


def test_regions_hold_a_quarter_of_positives() -> None:
    proposals = torch.tensor([part_of(0.9)] * 600 + [part_of(0.2)] * 1000)
    region = sample_regions([proposals], [targets([OBJECT], [0])], HEADS, generator())[0]
    assert len(region.labels) == 512 and len(region.objects) == 128
    assert (region.labels[:128] == 0).all() and (region.labels[128:] == 3).all()


def test_box_losses_are_means_over_regions_of_all_images() -> None:
    logits = torch.randn(4, 4, generator=generator())
    deltas = torch.randn(4, 3, 4, generator=generator(1))
    regions = [
        Regions(
            torch.tensor([part_of(0.9), part_of(0.1)]),
            torch.tensor([2, 3]),
            torch.tensor([OBJECT]),
            torch.tensor([0]),
        ),
        Regions(
            torch.tensor([part_of(0.1), part_of(0.2)]),
            torch.tensor([3, 3]),
            torch.zeros(0, 4),
            torch.zeros(0, dtype=torch.int64),
        ),
    ]
    losses = box_losses(BoxOutput(logits, deltas), regions)
    expected = F.cross_entropy(logits, torch.tensor([2, 3, 3, 3]))
    torch.testing.assert_close(losses["box_classes"], expected)
    goal = encode(torch.tensor(OBJECT), torch.tensor(part_of(0.9)), BOX_WEIGHTS)
    torch.testing.assert_close(losses["box_deltas"], (deltas[0, 2] - goal).abs().sum() / 4)


def test_box_losses_without_any_region_are_zero_with_a_gradient() -> None:
    output = BoxOutput(
        torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 3, 4, requires_grad=True)
    )
    none = torch.zeros(0, dtype=torch.int64)
    nothing = Regions(torch.zeros(0, 4), none, torch.zeros(0, 4), none)
    losses = box_losses(output, [nothing])
    assert losses["box_classes"] == 0 and losses["box_deltas"] == 0
    sum(losses.values(), torch.zeros(())).backward()


@pytest.mark.parametrize(
    "box", [[0.0, 0.0, 0.0, 10.0], [5.0, 5.0, 10.0, 4.0], [0.0, 0.0, math.nan, 10.0]]
)
def test_objects_without_area_are_refused(box: list[float]) -> None:
    with pytest.raises(ValueError, match="no area"):
        targets([OBJECT, box], [0, 1])


def test_targets_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"boxes \(1, 4\), labels \(2,\)"):
        targets([OBJECT], [0, 1])


def test_rules_can_be_changed() -> None:
    strict = replace(BOX, positive_iou=0.9)
    boxes = torch.tensor([part_of(0.8)])
    assert signs(match(boxes, targets([OBJECT], [0]), strict, ignore_overlap=0.5)) == [0]
