"""What a file says of its detector is checked key by key, and refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import read_metadata, save
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch, strides_of
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.vitdet.stated import (
    detector_heads,
    stated_classes,
    stated_heads,
    states_anchors,
)
from maskvd_cli.families.zoo import get_arch

ARCH = get_arch("vitdet-ti")
TENSORS = {
    "box_head.classes.bias": torch.zeros(4),
    "rpn.convs.0.bias": torch.zeros(16),
    "box_head.fc.bias": torch.zeros(32),
}
SIZES = [16, 24, 32, 64, 128]


def heads(**values: Any) -> dict[str, str]:
    return {"heads": json.dumps(values)}


def test_what_is_stated_holds_and_the_rest_is_vitdets() -> None:
    said = heads(anchor_sizes=SIZES, anchor_ratios=[1], score_floor=0, rpn_sampling={"x": 1})
    made = detector_heads(TENSORS, said, ARCH, "file")
    assert made == HeadArch(
        classes=3, channels=16, hidden=32, anchor_sizes=(16, 24, 32, 64, 128), anchor_ratios=(1,),
        score_floor=0.0,
    )  # fmt: skip
    assert detector_heads(TENSORS, {}, ARCH, "file") == HeadArch(classes=3, channels=16, hidden=32)
    assert states_anchors(said, "file")
    assert not states_anchors(heads(anchor_sizes=SIZES), "file")
    assert not states_anchors({}, "file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "heads is [], expected an object"),
        ("7", "heads is 7"),
        ('"x"', "heads is 'x'"),
        ("{", "heads is no JSON"),
        ("", "heads is no JSON"),
        ("[" * 100_000, "heads is no JSON"),
        ('{"nms_iou": NaN}', "heads is no JSON"),
        ('{"nms_iou": 1e999}', "heads is no JSON"),
        ('{"nms_iou": 1.5}', "heads.nms_iou is 1.5, expected a number in 0..1"),
        ('{"nms_iou": true}', "heads.nms_iou is True"),
        ('{"nms_iou": "0.5"}', "heads.nms_iou is '0.5'"),
        ('{"post_nms": 0}', "heads.post_nms is 0, expected a whole number in 1..1048576"),
        ('{"post_nms": 1e3}', "heads.post_nms is 1000.0"),
        ('{"detections": ' + "9" * 400 + "}", "heads.detections is 999"),
        ('{"anchor_sizes": [1, 2]}', "heads.anchor_sizes is [1, 2], expected 5 numbers above 0"),
        ('{"anchor_sizes": 32}', "heads.anchor_sizes is 32, expected 5"),
        ('{"anchor_sizes": [1, 2, 3, 4, "5"]}', "heads.anchor_sizes"),
        ('{"anchor_sizes": [1, 2, 3, 4, -5]}', "heads.anchor_sizes"),
        ('{"anchor_sizes": [1, 2, 3, 4, ' + "9" * 400 + "]}", "heads.anchor_sizes"),
        ('{"anchor_ratios": []}', "heads.anchor_ratios is [], expected 1 to 64"),
        ('{"anchor_ratios": {"a": 1}}', "heads.anchor_ratios"),
        ('{"classes": 4}', "heads.classes is 4, its tensors need 3"),
        ('{"hidden": 33}', "heads.hidden is 33, its tensors need 32"),
        ('{"strides": [2, 4, 8, 16, 32]}', "heads.strides is (2, 4, 8, 16, 32)"),
        ('{"strides": 4}', "heads.strides is 4"),
        ('{"anchors": [1]}', "heads.anchors is not known"),
    ],
    ids=lambda value: value[:40],
)
def test_heads_that_are_not_so_are_told_with_file_and_key(text: str, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        detector_heads(TENSORS, {"heads": text}, ARCH, "a.safetensors")
    message = str(caught.value)
    assert message.startswith(f"a.safetensors: metadata {said}")
    assert "\n" not in message and len(message) < 300
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "classes is {}, expected a list of names"),
        ("3", "classes is 3"),
        ('"car"', "classes is 'car'"),
        ("[1, 2, 3]", "classes holds something that is no name"),
        ('["a", "b", null]', "classes holds"),
        ('["a", "b", ""]', "classes holds"),
        ('["a", ["b"], {}]', "classes holds"),
        ('["a"]', "classes names 1, the tensors have 3"),
        ("[", "classes is no JSON"),
        ("[" * 100_000, "classes is no JSON"),
        ("[NaN, NaN, NaN]", "classes is no JSON"),
    ],
    ids=lambda value: value[:30],
)
def test_classes_that_are_not_so_are_told_with_file_and_key(text: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=r"^a\.safetensors: metadata ") as caught:
        stated_classes({"classes": text}, 3, "a.safetensors")
    assert f"metadata {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_that_are_stated() -> None:
    assert stated_classes({"classes": '["a", "b"]'}, 2, "f") == ["a", "b"]
    assert stated_classes({}, 2, "f") is None
    assert stated_classes({"classes": "null"}, 2, "f") is None


@pytest.mark.parametrize("shape", [(), (1,), (0,), (4, 4)])
def test_logits_of_no_detector_are_told(shape: tuple[int, ...]) -> None:
    odd = TENSORS | {"box_head.classes.bias": torch.zeros(shape)}
    with pytest.raises(CheckpointError, match=r"box_head\.classes\.bias has the shape"):
        detector_heads(odd, {}, ARCH, "f")
    with pytest.raises(CheckpointError, match="so it is no detector"):
        detector_heads({}, {}, ARCH, "f")


@pytest.mark.parametrize("value", ["[1, 2]", "3", "NaN", "{}", "null"])
def test_metadata_that_are_no_text_are_told(value: str, tmp_path: Path) -> None:
    import safetensors.torch

    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(TENSORS, path, {"maskvd": f'{{"heads": {value}}}'})
    with pytest.raises(CheckpointError) as caught:
        read_metadata(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    nested = '{"a": ' * 100_000
    safetensors.torch.save_file(TENSORS, path, {"maskvd": nested})
    with pytest.raises(CheckpointError, match="nested too deeply"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("patch", "strides"),
    [(16, (4, 8, 16, 32, 64)), (8, (2, 4, 8, 16, 32)), (14, (3.5, 7, 14, 28, 56))],
)
def test_strides_follow_the_patch(patch: int, strides: tuple[float, ...]) -> None:
    assert strides_of(patch) == strides == HeadArch.for_patch(patch, classes=2).strides
    assert json.dumps(strides_of(16)) == "[4, 8, 16, 32, 64]"


def test_trained_heads_come_back_as_they_were(tmp_path: Path) -> None:
    made = HeadArch.for_patch(
        16, classes=3, channels=16, hidden=32, anchor_sizes=(8.0, 16.0, 32.0, 64.0, 128.0),
        anchor_ratios=(0.5, 2.0), roi_size=5, post_nms=50, nms_iou=0.4,
    )  # fmt: skip
    detector = Detector(ARCH, made, Size(64, 128))
    path = tmp_path / "a.safetensors"
    from dataclasses import asdict

    save(path, detector.state_dict(), {"heads": json.dumps(asdict(made))})
    metadata = read_metadata(path)
    assert detector_heads(detector.state_dict(), metadata, ARCH, path) == made
    assert set(stated_heads(metadata, path)) == set(asdict(made)) - {"rpn_sampling", "box_sampling"}
