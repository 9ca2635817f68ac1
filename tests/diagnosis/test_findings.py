"""Each check on planted facts: what is found, how bad it is, and that it has a remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from maskvd_cli.data.kitti import Kitti
from maskvd_cli.data.synthetic_clips import Synthetic
from maskvd_cli.diagnosis.cuda import (
    TorchCuda,
    cuda_finding,
    nvidia_boards,
    of_readings,
)
from maskvd_cli.diagnosis.datasets import dataset_finding
from maskvd_cli.diagnosis.finding import Checkup, worst
from maskvd_cli.diagnosis.load import Sample, memory_finding, other_load, stolen_time, swap_finding
from maskvd_cli.diagnosis.noise import noise_finding
from maskvd_cli.diagnosis.noise_floor import NoiseFloor
from maskvd_cli.diagnosis.processor import (
    clock_findings,
    cores_finding,
    processor_findings,
    siblings_finding,
    threads_finding,
)
from maskvd_cli.diagnosis.software import (
    NEWEST_TESTED,
    package_findings,
    python_finding,
    torch_finding,
    torchvision_finding,
)
from maskvd_cli.diagnosis.weights import card_finding, own_weights
from maskvd_cli.families.checkpoints import sha256_of
from maskvd_cli.machine.gpu import GpuFacts, nvidia_driver
from maskvd_cli.machine.limits import MachineMemory
from maskvd_cli.machine.linux import Busy, Clocks
from maskvd_cli.metrics.statistics import Estimate, Spread

GIB = 1 << 30


def test_the_worst_state_wins_and_a_remedy_goes_with_it() -> None:
    made = [
        Checkup("a", "ok", "x"),
        Checkup("b", "warning", "x", "y"),
        Checkup("c", "note", "x", "y"),
    ]
    assert (worst(made), worst([])) == ("warning", "ok")
    with pytest.raises(AssertionError):
        Checkup("a", "warning", "no remedy")


def test_versions() -> None:
    tested = ["Programming Language :: Python :: 3.11", "Topic :: X"]
    assert python_finding("3.11.7", tested).state == "ok"
    assert python_finding("3.19.0", tested).state == "note"
    assert torch_finding("2.6.0+cu124", ["torch>=2.6", "torchvision>=9"]).state == "ok"
    assert torch_finding("2.10.1", ["torch>=2.6"]).state == "ok"
    assert torch_finding("2.5.1", ["torch>=2.6"]).state == "problem"
    assert torchvision_finding("0.1", []).state == "ok"
    assert torchvision_finding("0.1", ["numpy", "torch==1.0.0"]).state == "problem"


def test_versions_newer_than_the_tested_ones_are_told() -> None:
    newest = NEWEST_TESTED["torch"]
    for found in (newest, f"{newest}.9", f"{newest}.0+cu132"):
        assert torch_finding(found, ["torch>=2.6"]).state == "ok"
    for found in ("2.99.0+cu190", "3.0"):
        finding = torch_finding(found, ["torch>=2.6"])
        assert finding.state == "note"
        assert f"{found}, newer than {newest}, the newest that was tested" in finding.found


def test_packages_outside_of_their_range_are_told_and_the_others_are_not() -> None:
    here = {
        "numpy": "2.0.0",
        "pandas": "2.1.0",
        "pyyaml": "99.1",
        "pydantic": "99.1",
        "rich": "15.0",
        "torch": "1.0",
        "optuna": "4.9",
        "torchvision": "0.28",
    }
    needed = [
        "numpy>=2.0",
        "pandas>=2.2.2",
        "PyYAML>=6.0.1",
        "pydantic>=2.9",
        "rich>=13.7",
        "torch>=2.6",
        "torchvision>=0.21",
        "typer>=0.20",
        "types-x",
        "pandas-stubs; extra == 'dev'",
        "optuna<6,>=5.0; extra == 'tune'",
        "av>=14; extra == 'film'",
        "maskvd[film]; extra == 'dev'",
    ]
    findings = {each.name: (each.state, each.found) for each in package_findings(needed, here.get)}
    assert findings == {
        "pandas": ("problem", "2.1.0, older than 2.2.2"),
        "pydantic": (
            "note",
            f"99.1, newer than {NEWEST_TESTED['pydantic']}, the newest that was tested",
        ),
        "typer": ("problem", "is not installed"),
        "types-x": ("problem", "is not installed"),
        "optuna": ("problem", "4.9, older than 5.0"),
    }


def test_the_pinned_versions_are_tested_ones() -> None:
    """What development and CI run with is within what doctor calls tested."""
    lock = (Path(__file__).parents[2] / "requirements/dev.lock").read_text("utf-8")
    for name, newest in NEWEST_TESTED.items():
        pins = re.findall(rf"^{name}==([\d.]+)", lock, re.MULTILINE)
        assert pins, name
        parts = [int(part) for part in newest.split(".")]
        for pin in pins:
            assert [int(part) for part in pin.split(".")][: len(parts)] <= parts, (name, pin)


@pytest.mark.parametrize(
    ("found", "driver", "boards", "state", "word"),
    [
        (TorchCuda("13.0", ("H100 (79 GiB)",)), "580.1", 1, "ok", "H100"),
        (TorchCuda("13.0"), None, 0, "note", "no NVIDIA GPU"),
        (TorchCuda(None), None, 0, "note", "torch for CPUs"),
        (TorchCuda(None), "580.1", 1, "warning", "driver 580.1 is loaded"),
        (TorchCuda("13.0"), None, 2, "warning", "2 NVIDIA boards"),
        (TorchCuda("13.0", reason="driver too old"), "470.1", 1, "problem", "driver too old"),
        (TorchCuda("13.0", hidden=True), "580.1", 1, "warning", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_cuda(found: TorchCuda, driver: str | None, boards: int, state: str, word: str) -> None:
    made = cuda_finding(found, driver, boards)
    assert made.state == state
    assert word in made.found


def test_driver_and_boards_are_read(tmp_path: Path) -> None:
    assert (nvidia_driver(tmp_path), nvidia_boards(tmp_path)) == (None, 0)
    driver = tmp_path / "proc/driver/nvidia"
    driver.mkdir(parents=True)
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"
    (driver / "version").write_text(line)
    for name, vendor, kind in (("a", "0x10de", "0x030200"), ("b", "0x10de", "0x040300"),
                               ("c", "0x1002", "0x030000")):  # fmt: skip
        folder = tmp_path / f"sys/bus/pci/devices/{name}"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(vendor)
        (folder / "class").write_text(kind)
    assert (nvidia_driver(tmp_path), nvidia_boards(tmp_path)) == ("570.86.15", 1)


GOOD = GpuFacts(
    "H100", "570.86", "12.8", sm_mhz=1980, sm_most_mhz=1980, memory_mhz=2619, memory_most_mhz=2619,
    power_w=300.0, power_limit_w=700.0, power_default_w=700.0, reasons=0, celsius=50, ecc=True,
    persistence=True, mig=False,
)  # fmt: skip


def gpu_states(*readings: GpuFacts, working: bool = True) -> dict[str, str]:
    return {f.name: f.state for f in of_readings(readings, working=working)}


def test_a_good_gpu_is_ok_and_a_silent_one_breaks_nothing() -> None:
    assert set(gpu_states(GOOD).values()) == {"ok"}
    silent = gpu_states(GpuFacts("x", "1"))
    assert set(silent.values()) == {"ok", "note"}


@pytest.mark.parametrize(
    ("change", "name", "state"),
    [
        ({"reasons": 0x4}, "GPU throttling", "warning"),
        ({"reasons": 0x1}, "GPU throttling", "ok"),
        ({"celsius": 85}, "GPU throttling", "note"),
        ({"power_limit_w": 450.0}, "GPU power limit", "warning"),
        ({"sm_mhz": 900}, "GPU clocks", "note"),
        ({"persistence": False}, "GPU modes", "note"),
        ({"mig": True}, "GPU modes", "warning"),
        ({"others": (("train", 1 << 30),)}, "GPU load", "warning"),
    ],
)
def test_what_is_wrong_with_a_gpu(change: dict[str, object], name: str, state: str) -> None:
    states = gpu_states(replace(GOOD, **change))  # type: ignore[arg-type]
    assert states[name] == state
    assert {s for n, s in states.items() if n != name} == {"ok"}


def test_throttling_in_any_reading_counts_and_clocks_at_rest_do_not() -> None:
    assert gpu_states(replace(GOOD, reasons=0x40), GOOD)["GPU throttling"] == "warning"
    assert gpu_states(replace(GOOD, sm_mhz=300), working=False)["GPU clocks"] == "ok"


def test_cores_threads_and_their_limits() -> None:
    assert cores_finding("x", 4, [0, 1, 2, 3], None).state == "ok"
    assert cores_finding("x", 4, [0, 1], 2.0).state == "note"
    limited = cores_finding("x", 4, [0, 1, 2, 3], 1.5)
    assert limited.state == "warning" and "1.5" in limited.found
    shared = siblings_finding([0, 1, 2, 4], [[0, 4], [1, 5], [2, 6]])
    assert shared.state == "note" and "taskset -c 0,1,2 " in (shared.remedy or "")
    assert siblings_finding([0, 1], [[0, 4], [1, 5]]).state == "ok"
    assert threads_finding(2, 2, {}).state == "ok"
    assert threads_finding(1, 2, {"OMP_NUM_THREADS": "1"}).state == "note"
    many = threads_finding(8, 1.5, {"HOME": "secret"})
    assert (many.state, many.remedy) == ("warning", "export OMP_NUM_THREADS=1")
    assert "secret" not in many.found


def test_clocks() -> None:
    def states(found: Clocks) -> dict[str, str]:
        return {finding.name: finding.state for finding in clock_findings(found)}

    steady = Clocks(("performance",), 3400, 3500, 3500, 3500, False)
    assert states(steady) == {"frequency": "ok", "turbo": "ok"}
    assert states(replace(steady, governors=("powersave",)))["frequency"] == "warning"
    assert states(replace(steady, allowed_mhz=2000))["frequency"] == "note"
    assert states(replace(steady, turbo=True))["turbo"] == "note"
    assert states(Clocks((), None, None, None, None, None)) == {"frequency": "note"}


def test_a_machine_that_tells_nothing_gives_notes(tmp_path: Path) -> None:
    found = {finding.name: finding.state for finding in processor_findings("x", tmp_path)}
    assert found["hyper-threads"] == found["frequency"] == "note"


def test_load_memory_and_swap() -> None:
    quiet = Sample(Busy(0.01, 0.0), [], 0, 0)
    assert other_load(quiet, (0.1, 0.1, 0.1), 4).state == "ok"
    busy = other_load(replace(quiet, busy=Busy(0.5, 0), shares=[("train", 1.98)]), None, 4)
    assert busy.state == "warning"
    assert "2.0 of 4 cores" in busy.found and "train 198%" in busy.found
    assert other_load(quiet, (9.0, 9.0, 1.0), 4).state == "warning"
    assert other_load(Sample(None, [("x", 0.4)], None, None), None, 4).state == "note"
    states = [stolen_time(Busy(0, share)).state for share in (0.0, 0.005, 0.2)]
    assert [*states, stolen_time(None).state] == ["ok", "note", "warning", "note"]
    roomy = MachineMemory(16 * GIB, 8 * GIB, None, 0)
    assert memory_finding(roomy).state == "ok"
    assert memory_finding(replace(roomy, available=GIB)).state == "warning"
    assert "limit is 4.0" in memory_finding(replace(roomy, limit=4 * GIB)).found
    assert memory_finding(None).state == "note"
    swaps = [(roomy, 0), (replace(roomy, swap_used=GIB), 0), (roomy, 7), (None, None)]
    assert [swap_finding(*given).state for given in swaps] == ["ok", "note", "warning", "ok"]


def test_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(Kitti.env, raising=False)
    assert dataset_finding(Kitti).state == "note"
    monkeypatch.setenv(Kitti.env, str(tmp_path / "nowhere"))
    assert dataset_finding(Kitti).state == "problem"
    monkeypatch.setenv(Kitti.env, str(tmp_path))
    assert "no KITTI tracking labels" in dataset_finding(Kitti).found
    labels = tmp_path / "training/label_02"
    labels.mkdir(parents=True)
    row = "3 0 Car 0 0 0 10 10 50 50" + " 0" * 7
    (labels / "0000.txt").write_text(f"{row}\n")
    found = dataset_finding(Kitti)
    assert found.state == "note"
    assert "2 frames, 1 box" in found.found and "no images" in found.found
    (labels / "0000.txt").write_text("nonsense\n")
    assert dataset_finding(Kitti).state == "problem"
    assert dataset_finding(Synthetic).state == "ok"


def test_weights_are_held_against_their_cards(tmp_path: Path) -> None:
    file, card = tmp_path / "w.safetensors", tmp_path / "w.md"
    file.write_bytes(b"tensors")
    card.write_text(f"# w\n| file | `w.safetensors`, 7 MB |\n| sha256 | `{sha256_of(file)}` |\n")
    assert card_finding(card).state == "ok"
    file.write_bytes(b"other")
    assert "card says" in card_finding(card).found
    file.unlink()
    assert card_finding(card).state == "problem"
    card.write_text("| file | `../../etc/passwd` |")
    assert card_finding(card).state == "warning"


def test_the_folder_of_own_weights(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model:\n  weights: $MASKVD_WEIGHTS/b.pth\n")
    recipes = {"r": recipe}
    assert own_weights(None, recipes).state == "note"
    assert own_weights(str(tmp_path / "no"), recipes).state == "problem"
    assert "not b.pth" in own_weights(str(tmp_path), recipes).found
    (tmp_path / "b.pth").write_bytes(b"")
    assert own_weights(str(tmp_path), recipes).state == "ok"


@pytest.mark.parametrize(("floor", "state"), [(0.004, "ok"), (0.03, "note"), (0.2, "warning")])
def test_noise_is_translated(floor: float, state: str) -> None:
    ratio = Estimate(1.001, 1 - floor, 1 + floor)
    made = noise_finding(NoiseFloor("cpu", ratio, Spread(10, 11, 13, 80), 10, 80, floor))
    assert made.state == state
    assert f"differences under {floor:.1%} cannot be told" in made.found
    assert "p90/median 1.30" in made.found
    few = noise_finding(NoiseFloor("cpu", ratio, Spread(10, 11, 13, 4), 2, 4, floor))
    assert few.state == "warning" and "too few" in few.found
