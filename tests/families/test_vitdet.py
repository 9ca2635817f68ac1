"""The whole detector: against the authors' outputs, in all precisions, and in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.checkpoints import load_into, read_tensors
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.renaming import to_our_names
from maskvd_cli.families.vitdet.roi_pooling import pool
from maskvd_cli.tasks.detections import Detections, Targets

CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
)
GOLDEN_ARCH = ViTArch(
    name="golden",
    description="",
    dim=96,
    heads=4,
    depth=3,
    patch=16,
    global_blocks=(1,),
    window=Size(7, 7),
    position_table=Size(7, 7),
    relative_table=Size(14, 14),
)
TINY_ARCH = ViTArch(
    name="tiny",
    description="",
    dim=32,
    heads=2,
    depth=2,
    patch=16,
    global_blocks=(1,),
    window=Size(4, 4),
    position_table=Size(8, 8),
    relative_table=Size(8, 8),
)
TINY_HEADS = HeadArch(
    classes=3,
    channels=32,
    hidden=256,
    pre_nms=100,
    post_nms=30,
    training_pre_nms=100,
    training_post_nms=30,
    rpn_sampling=replace(HeadArch().rpn_sampling, count=32),
    box_sampling=replace(HeadArch().box_sampling, count=32, positive_fraction=0.5),
)
Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden(golden_root: Path) -> Golden:
    """Everything that the authors' pipeline computed for two images."""
    with np.load(golden_root / "pipeline_64.npz", allow_pickle=False) as file:
        return {
            key: torch.from_numpy(file[key])
            for key in file.files
            if key != "config" and not key.startswith("sd/")
        }


@pytest.fixture(scope="module")
def golden_detector(golden_root: Path) -> Detector:
    detector = Detector(GOLDEN_ARCH, HeadArch(channels=64, hidden=128), Size(320, 320))
    file = golden_root / "pipeline_64.npz"
    load_into(detector, to_our_names(read_tensors(file)).tensors, file)
    return detector


def same(found: Tensor, expected: Tensor) -> None:
    """Compare to 2e-4 of the largest value; the reference's own rounding is below that."""
    assert found.shape == expected.shape
    tolerance = 2e-4 * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def same_boxes(found: Tensor, expected: Tensor) -> None:
    """Compare boxes to a thousandth of a pixel."""
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("image", [0, 1])
@torch.inference_mode()
def test_every_step_gives_what_the_authors_code_gives(
    golden_detector: Detector, golden: Golden, image: int
) -> None:
    expected = {k[2:]: v for k, v in golden.items() if k.startswith(f"{image}/")}
    tokens = golden_detector.embed([golden[f"image/{image}"]])
    same(tokens[0], expected["tokens"])
    features = golden_detector.backbone(tokens, golden_detector.grid)
    same(features[0], expected["backbone"])
    levels = golden_detector.pyramid(features.transpose(1, 2).unflatten(2, (20, 20)))
    for number, level in enumerate(levels):
        same(level[0], expected[f"p{number + 2}"])
    rpn = golden_detector.rpn(levels)
    for number in range(5):
        logits = expected[f"rpn_logits/{number}"]
        deltas = expected[f"rpn_deltas/{number}"].unflatten(0, (3, 4))
        same(rpn.logits[number][0], logits.permute(1, 2, 0).flatten())
        same(rpn.deltas[number][0], deltas.permute(2, 3, 0, 1).flatten(0, 2))
        same_boxes(rpn.anchors[number], golden[f"0/anchors/{number}"])
    found = golden_detector.rpn.proposals(rpn, Size(320, 320), pre_nms=1000, post_nms=300)[0]
    same_boxes(found.xyxy, expected["proposal_boxes"])
    same(found.logits, expected["proposal_logits"])
    check_box_head(golden_detector, levels, found.xyxy, expected)


def check_box_head(
    detector: Detector, levels: list[Tensor], proposals: Tensor, expected: Golden
) -> None:
    pooled = pool(levels, [proposals], detector.heads)
    if "roi_features_first8" in expected:
        same(pooled[:8], expected["roi_features_first8"])
    output = detector.box_head(levels, [proposals])
    same(output.logits, expected["cls_logits"])
    same(output.deltas.flatten(1), expected["box_deltas"])
    check_detections(detector.box_head.detections(output, [proposals], Size(320, 320))[0], expected)


def check_detections(found: Detections, expected: Golden) -> None:
    assert torch.equal(found.labels, expected["labels"])
    same_boxes(found.xyxy, expected["boxes"])
    torch.testing.assert_close(found.scores, expected["scores"], atol=2e-4, rtol=0)


@torch.inference_mode()
def test_images_of_different_sizes_in_one_batch_give_the_same(
    golden_detector: Detector, golden: Golden
) -> None:
    found = golden_detector([golden["image/0"], golden["image/1"]])
    assert [len(each) for each in found] == [74, 70]
    for image, each in enumerate(found):
        check_detections(each, {k[2:]: v for k, v in golden.items() if k[:2] == f"{image}/"})


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float16, 0.02), (torch.bfloat16, 0.15)]
)
@torch.inference_mode()
def test_half_precision_keeps_boxes_in_single_precision(
    golden_root: Path, golden: Golden, device: str, dtype: torch.dtype, tolerance: float
) -> None:
    detector = Detector(GOLDEN_ARCH, HeadArch(channels=64, hidden=128), Size(320, 320))
    load_into(detector, to_our_names(read_tensors(golden_root / "pipeline_64.npz")).tensors, "")
    detector = detector.to(device, dtype)
    tokens = detector.embed([golden["image/0"]])
    assert tokens.dtype == dtype and tokens.device.type == device
    levels = detector.pyramid(golden["0/backbone"].T.unflatten(1, (20, 20))[None].to(device, dtype))
    for number, level in enumerate(levels):
        error = (level[0].float().cpu() - golden[f"0/p{number + 2}"]).abs()
        assert level.dtype == dtype and error.mean() < tolerance
    found = detector.finish(golden["0/backbone"][None].to(device, dtype))[0]
    assert found.xyxy.dtype == found.scores.dtype == torch.float32
    assert found.labels.dtype == torch.int64 and found.xyxy.device.type == device
    assert (found.xyxy != found.xyxy.half().float()).float().mean() > 0.5
    best = box_iou(golden["0/boxes"][:5], found.xyxy.cpu()).max(dim=1).values
    assert best.min() > 0.7


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_autocast_finds_the_same_best_box(
    golden_detector: Detector, golden: Golden, dtype: torch.dtype
) -> None:
    with torch.autocast("cpu", dtype):
        found = golden_detector.finish(golden["0/backbone"][None])[0]
    assert found.xyxy.dtype == found.scores.dtype == torch.float32
    assert box_iou(golden["0/boxes"][:1], found.xyxy).max() > 0.9


@pytest.mark.parametrize("size", [Size(336, 336), Size(160, 176), Size(32, 48)])
def test_any_multiple_of_the_patch_is_an_input(size: Size) -> None:
    detector = Detector(TINY_ARCH, TINY_HEADS, size)
    with torch.inference_mode():
        found = detector([noise(Size(size.rows - 5, size.cols)), noise(Size(9, 11))])
    assert len(found) == 2 and all(len(each) for each in found)
    limits = torch.tensor([size.cols, size.rows, size.cols, size.rows])
    assert all((each.xyxy >= 0).all() and (each.xyxy <= limits).all() for each in found)


def noise(size: Size) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)


def test_parameters_do_not_depend_on_the_input() -> None:
    small, large = (
        Detector(TINY_ARCH, TINY_HEADS, size, seed=3) for size in (Size(64, 64), Size(96, 160))
    )
    large.load_state_dict(small.state_dict(), strict=True)
    assert all(
        torch.equal(value, large.state_dict()[name]) for name, value in small.state_dict().items()
    )


def test_new_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (
        Detector(TINY_ARCH, TINY_HEADS, Size(64, 64), seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["box_head.fc.weight"], other["box_head.fc.weight"])
    assert not torch.equal(first["embedding.conv.weight"], other["embedding.conv.weight"])


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="no multiple of the 16 x 16 patch"):
        Detector(TINY_ARCH, TINY_HEADS, Size(100, 128))
    with pytest.raises(UsageError, match="too small for the feature pyramid; use at least 32x32"):
        Detector(TINY_ARCH, TINY_HEADS, Size(16, 128))
    with pytest.raises(ValueError, match="do not belong to patch 8"):
        Detector(replace(TINY_ARCH, patch=8), TINY_HEADS, Size(64, 64))
    with pytest.raises(UsageError, match="image 65x64 does not fit into input 64x64"):
        Detector(TINY_ARCH, TINY_HEADS, Size(64, 64)).embed([noise(Size(65, 64))])


def test_features_that_are_not_finite_are_refused() -> None:
    detector = Detector(TINY_ARCH, TINY_HEADS, Size(64, 64))
    with pytest.raises(MaskvdError, match="NaN or infinity"):
        detector.finish(torch.full((1, 16, 32), torch.nan))


def two_objects() -> tuple[Tensor, Targets]:
    image = noise(Size(112, 128)) // 4
    image[0, 20:52, 10:60] = 220
    image[2, 40:100, 70:120] = 220
    boxes = torch.tensor([[10.0, 20.0, 60.0, 52.0], [70.0, 40.0, 120.0, 100.0]])
    return image, Targets(boxes, torch.tensor([0, 2]), torch.zeros(0, 4))


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_training_overfits_one_image(device: str) -> None:
    image, targets = two_objects()
    # The weights that a seed draws differ between versions of torch; these learn fast in all.
    detector = Detector(TINY_ARCH, TINY_HEADS, Size(128, 128), seed=2).to(device)
    generator, steps, totals = torch.Generator().manual_seed(0), 150, []
    optimizer = torch.optim.AdamW(detector.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps, pct_start=0.1)
    for _ in range(steps):
        losses = detector.losses([image], [targets], generator)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        totals.append(float(total.detach()))
    assert sum(totals[-5:]) < 0.25 * sum(totals[:5])
    found = detector([image])[0].to("cpu")
    sure = found.scores > 0.5
    assert 2 <= sure.sum() <= 4
    right_class = targets.labels[:, None] == found.labels[sure]
    overlap = box_iou(targets.xyxy, found.xyxy[sure]) * right_class
    assert overlap.max(dim=1).values.min() > 0.7


def test_losses_reach_every_parameter_and_are_repeatable() -> None:
    image, targets = two_objects()
    detector = Detector(TINY_ARCH, TINY_HEADS, Size(128, 128))

    def losses(seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return detector.losses([image, image], [targets, targets], generator)

    first, again, other = losses(0), losses(0), losses(1)
    assert set(first) == {"rpn_objectness", "rpn_deltas", "box_classes", "box_deltas"}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    torch.stack(list(first.values())).sum().backward()
    silent = [n for n, p in detector.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_images_without_objects_train_the_background_alone() -> None:
    detector = Detector(TINY_ARCH, TINY_HEADS, Size(128, 128))
    nothing = Targets(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.tensor([[0.0, 0.0, 40.0, 40.0]])
    )
    losses = detector.losses([noise(Size(128, 128))], [nothing], torch.Generator().manual_seed(0))
    assert losses["rpn_deltas"] == 0 and losses["box_deltas"] == 0
    assert losses["rpn_objectness"] > 0 and losses["box_classes"] > 0
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_an_image_that_is_ignored_as_a_whole_trains_nothing() -> None:
    detector = Detector(TINY_ARCH, TINY_HEADS, Size(128, 128))
    image, targets = two_objects()
    everything = replace(targets, ignore=torch.tensor([[-999.0, -999.0, 999.0, 999.0]]))
    losses = detector.losses([image], [everything], torch.Generator().manual_seed(0))
    total = torch.stack(list(losses.values())).sum()
    assert total == 0
    total.backward()


def test_labels_that_are_no_class_and_missing_targets_are_refused() -> None:
    detector = Detector(TINY_ARCH, TINY_HEADS, Size(128, 128))
    image, targets = two_objects()
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(UsageError, match=r"labels \[0, 3\] reach outside 0..2"):
        detector.losses([image], [replace(targets, labels=torch.tensor([0, 3]))], generator)
    with pytest.raises(ValueError, match="2 images, but targets for 1"):
        detector.losses([image, image], [targets], generator)


def test_new_weights_touch_no_generator_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[object] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeded.append)
    before = torch.get_rng_state()
    made = Detector(GOLDEN_ARCH, TINY_HEADS, Size(64, 64), seed=3)
    assert not seeded
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = torch.nn.Conv2d(3, GOLDEN_ARCH.dim, 16, 16).weight
    assert seeded, "torch.manual_seed does touch them"
    assert torch.equal(made.embedding.conv.weight, expected)
