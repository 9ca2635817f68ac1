"""What disturbed a measurement, on planted counters and on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine.disturbance import (
    Disturbances,
    Reading,
    disturbances_between,
    read_counters,
)
from maskvd_cli.machine.linux import CpuTimes, thermal_throttles

from .test_machine import CPU, plant

# 100 ticks a second, 2 processors: 10 s in which this process had 8 of 20 seconds.
BEFORE = Reading(50.0, 30.0, CpuTimes(10_000, 9_000, 100), 4, 7, 1_000)
AFTER = Reading(60.0, 38.0, CpuTimes(12_000, 10_200, 100), 4, 7, 1_000)


def test_what_this_process_uses_disturbs_nothing() -> None:
    assert disturbances_between(BEFORE, AFTER, cores=2) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"throttles": 9}, "processors were throttled 2 times, too hot"),
        ({"held_back": 5}, "the container's processor time ran out 1 times"),
        ({"cpu": CpuTimes(12_000, 10_160, 140)}, "2% of the processors' time was stolen"),
        ({"cpu": CpuTimes(12_000, 9_800, 100)}, "other work took 20% of the processors' time"),
        ({"own_seconds": 34.0}, "other work took 20% of the processors' time"),
        ({"pages": 1_256}, "256 pages were swapped"),
    ],
)
def test_each_disturbance_is_told(changes: dict[str, object], told: str) -> None:
    (found,) = disturbances_between(BEFORE, replace(AFTER, **changes), cores=2)  # type: ignore[arg-type]
    assert found.startswith(told)


def test_little_is_not_told() -> None:
    little = {"cpu": CpuTimes(12_000, 10_110, 110), "pages": 1_200}
    assert disturbances_between(BEFORE, replace(AFTER, **little), cores=2) == []  # type: ignore[arg-type]


def test_what_a_system_does_not_tell_is_left_out(tmp_path: Path) -> None:
    before, after = read_counters(tmp_path), read_counters(tmp_path)
    assert (before.cpu, before.throttles, before.held_back, before.pages) == (None,) * 4
    assert disturbances_between(before, after, cores=2) == []


def test_throttled_cores_of_one_package_count_once(tmp_path: Path) -> None:
    assert thermal_throttles(tmp_path) is None
    counts = {"cpu0": (3, 8), "cpu1": (5, 8)}
    for name, (core, package) in counts.items():
        folder = f"{CPU}/{name}/thermal_throttle"
        files = {"core_throttle_count": f"{core}\n", "package_throttle_count": f"{package}\n"}
        plant(tmp_path, {f"{folder}/{file}": text for file, text in files.items()})
    assert thermal_throttles(tmp_path) == 8


def test_every_reason_that_the_gpu_gave_is_told(tmp_path: Path) -> None:
    answers = iter([0x1, 0x4, None, 0x20])
    watched = Disturbances(lambda: next(answers), tmp_path)
    assert watched.found() == []
    for _ in range(4):
        watched.sample()
    assert watched.found() == ["the GPU was slowed down: power limit, temperature (software)"]


def test_a_gpu_that_cannot_be_asked_is_told_once(tmp_path: Path) -> None:
    def fails() -> int:
        raise UsageError("NVML is not installed")

    watched = Disturbances(fails, tmp_path)
    watched.sample()
    watched.sample()
    told = "whether the GPU was throttled is not known: NVML is not installed"
    assert watched.found() == [told]


@pytest.mark.skipif(read_counters().cpu is None, reason="this system has no /proc/stat")
def test_a_busy_neighbour_is_seen() -> None:
    """The neighbours spin on all processors, so that they are seen however busy the machine is."""
    spin = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
    try:
        watched = Disturbances()
        time.sleep(0.5)
        found = watched.found()
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    assert any("other work took" in text or "stolen" in text for text in found)
