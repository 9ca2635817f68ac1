"""The mask head: what it costs, what it learns, and that it leaves the detector as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.counting import count_macs
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.vitdet import head_costs
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.family import ViTDet
from maskvd_cli.families.vitdet.fitting import matching_archs
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.head_losses import Regions
from maskvd_cli.families.vitdet.mask_detector import MaskDetector
from maskvd_cli.families.vitdet.mask_family import MaskViTDet
from maskvd_cli.families.vitdet.mask_head import MaskHead, mask_loss
from maskvd_cli.families.vitdet.renaming import to_our_names
from maskvd_cli.families.zoo import entry
from maskvd_cli.tasks.detections import Targets
from maskvd_cli.tasks.instances import Instances, InstanceTargets

ARCH = ViTArch(
    name="small", description="", dim=24, heads=2, depth=1, patch=16, global_blocks=(0,),
    window=Size(4, 4), position_table=Size(4, 4), relative_table=None,
)  # fmt: skip
HEADS = HeadArch(
    classes=3, channels=12, hidden=20, post_nms=20, detections=7, training_pre_nms=40,
    training_post_nms=20, box_sampling=replace(HeadArch.box_sampling, count=16),
)  # fmt: skip
INPUT = Size(64, 96)


@pytest.fixture
def detector() -> MaskDetector:
    return MaskDetector(ARCH, HEADS, INPUT, seed=3)


def images(number: int = 2) -> list[torch.Tensor]:
    drawn = torch.Generator().manual_seed(number)
    return [
        torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8, generator=drawn)
        for _ in range(number)
    ]


def targets() -> list[InstanceTargets]:
    """Two objects, the left and the upper half of their boxes; then an image without any."""
    boxes = torch.tensor([[8.0, 8, 40, 40], [50, 10, 82, 58]])
    masks = torch.zeros(2, 60, 90, dtype=torch.bool)
    masks[0, 8:40, 8:24] = True
    masks[1, 10:34, 50:82] = True
    none = torch.zeros(0, 4)
    return [
        InstanceTargets(boxes, torch.tensor([1, 2]), none, masks),
        InstanceTargets(none, torch.zeros(0).long(), none, torch.zeros(0, 60, 90).bool()),
    ]


@pytest.mark.parametrize("regions", [0, 1, 5])
@pytest.mark.parametrize("heads", [HEADS, replace(HEADS, roi_size=3, channels=8, classes=1)])
def test_it_costs_what_is_counted(regions: int, heads: HeadArch) -> None:
    head = MaskHead(heads)
    levels = [torch.zeros(1, heads.channels, 16, 24) for _ in range(5)]
    boxes = [torch.tensor([[0.0, 0.0, 20.0, 20.0]]).repeat(regions, 1)]
    with torch.inference_mode():
        counted = count_macs(lambda: head(levels, boxes))
    assert counted == head_costs.mask_head_macs(heads, regions)


def test_in_full_size_it_costs_what_mask_r_cnn_s_does() -> None:
    # 14 x 14 places of 256 channels, 80 classes: 4 x 462.4 M + 51.4 M + 16.1 M a region.
    assert head_costs.mask_head_macs(HeadArch(classes=80), 1) == 529_858_560


def test_stages_of_a_frame_follow_the_masks_that_were_computed(detector: MaskDetector) -> None:
    with torch.inference_mode():
        tokens = detector.embed(images(1))
        features = detector.backbone(tokens, detector.grid)
        made: list[Any] = []
        counted = count_macs(lambda: made.extend(detector.finish(features)))
    (output,) = made
    assert output.masked == len(output) > 0
    assert counted == detector.around_macs(output, {"head"})
    assert detector.around_macs(None) == detector.around_macs(replace(output, masked=7))
    plain = head_costs.stages_of(ARCH, HEADS, detector.grid)
    assert [stage.name for stage in detector.stages] == [s.name for s in plain] + ["mask_head"]


def test_boxes_are_those_of_the_detector_without_masks(detector: MaskDetector) -> None:
    plain = Detector(ARCH, HEADS, INPUT, seed=3)
    own = detector.state_dict()
    assert all(torch.equal(own[name], value) for name, value in plain.state_dict().items())
    for ours, theirs in zip(detector(images()), plain(images()), strict=True):
        assert isinstance(ours, Instances)
        for name in ("xyxy", "scores", "labels"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
        assert ours.proposals == theirs.proposals
        assert torch.equal(ours.regions, ours.xyxy)
        assert ours.inside.shape == (len(ours), 28, 28)
        assert ((ours.inside >= 0) & (ours.inside <= 1)).all()


def test_masks_are_of_the_detection_s_own_class(detector: MaskDetector) -> None:
    with torch.no_grad():
        tensors = detector.mask_head.classes.state_dict()
        tensors["weight"].zero_()
        tensors["bias"].copy_(torch.tensor([-9.0, 0.0, 9.0]))
    (output,) = detector(images(1))
    expected = torch.tensor([-9.0, 0.0, 9.0])[output.labels].sigmoid()
    torch.testing.assert_close(output.inside.mean((1, 2)), expected)


def test_an_image_without_detections_has_no_masks() -> None:
    nothing = MaskDetector(ARCH, replace(HEADS, score_floor=0.99), INPUT)
    (output,) = nothing(images(1))
    assert len(output) == len(output.inside) == len(output.regions) == output.masked == 0


def test_outputs_that_are_not_finite_are_refused(detector: MaskDetector) -> None:
    with torch.no_grad():
        detector.mask_head.classes.state_dict()["bias"].fill_(float("nan"))
    with pytest.raises(MaskvdError, match="the outputs of the mask head hold NaN"):
        detector(images(1))


def test_the_loss_is_that_of_the_own_class_on_silhouettes_in_their_regions() -> None:
    logits = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    objects, boxes = targets(), targets()[0].xyxy
    nearest = torch.tensor([1, 0])
    background = torch.tensor([[0.0, 0, 9, 9]])
    none = torch.zeros(0, 4)
    regions = [
        Regions(torch.cat([boxes[nearest], background]), torch.tensor([2, 1, 3]), boxes, nearest),
        Regions(background, torch.tensor([3]), none, torch.zeros(0).long()),
    ]
    goal = torch.zeros(2, 28, 28)
    goal[0, :14], goal[1, :, :14] = 1, 1
    own = torch.stack([logits[0, 2], logits[1, 1]])
    expected = F.binary_cross_entropy_with_logits(own, goal)
    torch.testing.assert_close(mask_loss(logits, regions, objects)["masks"], expected)


def test_without_objects_the_loss_is_zero_and_has_a_gradient(detector: MaskDetector) -> None:
    features = detector.backbone(detector.embed(images(1)), detector.grid)
    losses = detector.head_losses(features, targets()[1:], torch.Generator().manual_seed(0))
    assert losses["masks"] == 0
    torch.stack(list(losses.values())).sum().backward()
    assert detector.mask_head.upward.weight.grad is not None


def test_it_learns_silhouettes(detector: MaskDetector) -> None:
    detector.requires_grad_(False)
    detector.mask_head.requires_grad_(True)
    optimiser = torch.optim.AdamW(detector.mask_head.parameters(), lr=1e-2)
    with torch.no_grad():
        features = detector.backbone(detector.embed(images()), detector.grid)
    found: list[float] = []
    for step in range(50):
        generator = torch.Generator().manual_seed(step)
        losses = detector.head_losses(features, targets(), generator)
        assert set(losses) == {
            "rpn_objectness", "rpn_deltas", "box_classes", "box_deltas", "masks"
        }  # fmt: skip
        optimiser.zero_grad()
        losses["masks"].backward()
        optimiser.step()
        found.append(float(losses["masks"].detach()))
    assert found[0] == pytest.approx(0.693, abs=0.01)
    assert max(found[-5:]) < 0.2


def test_targets_without_silhouettes_are_told(detector: MaskDetector) -> None:
    plain = [Targets(own.xyxy, own.labels, own.ignore) for own in targets()]
    with pytest.raises(UsageError, match="no instance masks to learn from; use a dataset that has"):
        detector.losses(images(), plain, torch.Generator())


def test_the_family_is_one_of_its_own_and_leaves_the_other_s_keys() -> None:
    known = entry("vitdet-ti-global-mask")
    assert known.family is MaskViTDet and known.family.task == "instance-masks"
    told = known.family.setting(known.arch)
    assert told["family"] == "vitdet-masks"
    plain = ViTDet.setting(ARCHS["vitdet-ti-global"])
    assert "family" not in plain
    assert {**plain, "name": told["name"]} == {k: v for k, v in told.items() if k != "family"}
    assert [arch.name for arch in ViTDet.archs()] == list(ARCHS)


def test_its_own_files_are_told_by_their_names() -> None:
    arch = entry("vitdet-ti-global-mask").arch
    made = MaskDetector(arch, HEADS, Size(32, 32), seed=1)
    converted = to_our_names(made.state_dict())
    assert converted.naming == "own" and not converted.dropped
    assert [found.name for found in matching_archs(converted)] == [arch.name]
    again = MaskDetector(arch, HEADS, Size(32, 32))
    load_into(again, converted.tensors, "test")
    plain = to_our_names(Detector(arch, HEADS, Size(32, 32)).state_dict())
    assert [found.name for found in matching_archs(plain)] == ["vitdet-ti-global"]
