"""What a session's raw samples come to, and what is not said where they do not stand for all."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from maskvd_cli.work.passes import latency_of


def session(rounds: int, frames: int, *, all_full: bool = False) -> pd.DataFrame:
    """Return samples of dense (100 ms), its control and a point (100 ms full, 25 ms masked)."""
    drawn = np.random.default_rng(0)
    rows = [
        {
            "series": series, "round": number, "frame": frame,
            "is_full": series != "a" or frame == 0 or all_full, "noise": drawn.normal(0, 0.01),
        }
        for number in range(rounds) for frame in range(frames)
        for series in ("dense", "control", "a")
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    total = np.where(table["is_full"], 100.0, 25.0) * np.exp(table.pop("noise"))
    parts = {f"{part}_ms": total / 4 for part in ("mask", "embed", "backbone", "head")}
    return table.assign(total_ms=total, **parts)


def test_speedups_and_times_stand_for_all_of_the_data() -> None:
    made = latency_of(session(3, 4), "a", "s", 0.1)
    assert made.expected_ms == pytest.approx(0.1 * 100 + 0.9 * 25, rel=0.02)
    assert made.speedup is not None and made.speedup.low is not None
    assert made.speedup.high is not None and made.control is not None
    assert made.speedup.value == pytest.approx(100 / 32.5, rel=0.02)
    assert made.speedup.low < made.speedup.value < made.speedup.high
    assert made.control.low is not None and made.control.high is not None
    assert made.control.low < 1 < made.control.high
    assert math.isclose(sum(made.expected_parts_ms.values()), made.expected_ms)


def test_where_full_frames_alone_were_timed_nothing_is_said_of_all_of_the_data() -> None:
    made = latency_of(session(3, 4, all_full=True), "a", "s", 0.1)
    assert (made.expected_ms, made.expected_parts_ms, made.speedup) == (None, {}, None)
    assert made.masked is None and made.full is not None
    assert made.full.mean == pytest.approx(100, rel=0.02)
    assert latency_of(session(3, 4, all_full=True), "a", "s", 1.0).speedup is not None


def test_one_round_gives_values_without_intervals() -> None:
    made = latency_of(session(1, 4), "a", "s", 0.1)
    for estimate in (made.speedup, made.control):
        assert estimate is not None
        assert (estimate.low, estimate.high) == (None, None)


def test_dense_itself_is_the_measure() -> None:
    made = latency_of(session(2, 2), "dense", "s", 1.0)
    assert made.speedup is not None
    assert (made.speedup.value, made.speedup.low) == (1.0, None)
