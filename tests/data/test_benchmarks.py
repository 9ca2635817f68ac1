from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.data.base import fingerprint
from maskvd_cli.data.benchmarks import FINGERPRINTS, is_benchmark
from maskvd_cli.data.kitti import Kitti
from maskvd_cli.data.synthetic import write_labels


def setting(root: Path, split: str, protocol: str) -> dict[str, str]:
    dataset = Kitti(root, split, protocol)
    digest = fingerprint(dataset.classes, dataset.clips())
    return {"name": "kitti", "split": split, "protocol": protocol, "fingerprint": digest}


@pytest.mark.parametrize(("name", "split", "protocol"), FINGERPRINTS)
def test_the_real_labels_are_the_benchmark(
    name: str, split: str, protocol: str, kitti_root: Path
) -> None:
    assert name == "kitti"
    assert is_benchmark(setting(kitti_root, split, protocol)) is True


def test_other_data_in_the_same_layout_are_not(tmp_path: Path) -> None:
    write_labels(tmp_path / "drawn", clips=2, frames=4, seed=0)
    assert is_benchmark(setting(tmp_path / "drawn", "val-half", "maskvd-paper")) is False


def test_what_is_not_known_is_neither() -> None:
    other = {"name": "imagenet-vid", "split": "val", "protocol": "imagenet-vid"}
    assert is_benchmark({**other, "fingerprint": "0"}) is None
    stated = {"name": "kitti", "split": "val-half", "protocol": "maskvd-paper"}
    assert is_benchmark({**stated, "statistics": {"clips": 1}}) is None
