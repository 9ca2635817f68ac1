"""Simulations: 95 % intervals hold the truth as often as they say, from the fewest samples on."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


def _study() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_study", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


study = _study()


@pytest.mark.parametrize("rounds", [2, 3, 5, 10, 20])
def test_intervals_of_speedups_cover_from_two_rounds_on(rounds: int) -> None:
    # A standard error of 0.4 points.
    assert 0.93 <= study.speedup_coverage(rounds, 3000, seed=rounds) <= 0.97


@pytest.mark.parametrize("kind", study.KINDS)
@pytest.mark.parametrize("clips", [8, 16, 21])
def test_intervals_of_changes_of_map50_cover(clips: int, kind: str) -> None:
    # A standard error of 0.9 points.
    assert study.change_coverage(clips, 600, clips, study.KINDS[kind]) >= 0.92


@pytest.mark.parametrize("clips", [2, 8, 16, 21])
def test_intervals_of_gaussian_clips_cover(clips: int) -> None:
    assert 0.93 <= study.gaussian_coverage(clips, 3000, seed=clips) <= 0.97
