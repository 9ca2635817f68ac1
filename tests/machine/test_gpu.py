"""What NVML's numbers mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine import gpu
from maskvd_cli.machine.gpu import cuda_version, others_of, process_name, resting, slowing


def test_reasons_are_decoded_bit_by_bit() -> None:
    assert slowing(0) == resting(0) == []
    assert (slowing(0x1), resting(0x1)) == ([], ["idle"])
    assert slowing(0x4 | 0x20 | 0x40) == [
        "power limit", "temperature (software)", "temperature (hardware)",
    ]  # fmt: skip
    assert resting(0x2 | 0x4) == ["application clocks are set"]
    assert slowing(0x4000 | 0x8) == ["hardware slowdown", "unknown reason 0x4000"]


@pytest.mark.parametrize(("number", "text"), [(12040, "12.4"), (13000, "13.0"), (11080, "11.8")])
def test_cuda_versions(number: int, text: str) -> None:
    assert cuda_version(number) == text


def test_this_process_is_not_another() -> None:
    names = {7: "train", 8: "x"}
    assert others_of({7: 5, 8: None, 9: 3}, own=9, name_of=names.get) == (("train", 5), ("x", None))
    # In a container: the number that is not known here is taken for this process.
    assert others_of({7: 5, 4711: 9}, own=1, name_of=names.get) == (("train", 5),)
    assert others_of({4711: 9, 4712: 8}, own=1, name_of=names.get) == (("another process", 8),)
    assert others_of({}, own=1) == ()


def test_names_cannot_steer_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "proc/3").mkdir(parents=True)
    (tmp_path / "proc/3/comm").write_text("a\x1b[31mb\n")
    assert process_name(3, tmp_path) == "a[31mb"
    assert process_name(4, tmp_path) is None


@pytest.mark.skipif(gpu.pynvml is not None, reason="nvidia-ml-py is installed")
def test_without_the_package_the_remedy_is_told() -> None:
    with pytest.raises(UsageError, match="pip install"):
        gpu.read_gpu("00000000-0000-0000-0000-000000000000")
