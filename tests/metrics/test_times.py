"""What a session's raw samples come to, and what is not said where they do not stand for all."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from maskvd_cli.metrics.latency import BASELINE, PARTS, Latency, times_of


def session(rounds: int, frames: int, *, all_full: bool = False) -> pd.DataFrame:
    """Return samples of the baseline and its control (100 ms), and a point (25 ms masked)."""
    drawn = np.random.default_rng(0)
    rows = [
        {
            "series": series, "round": number, "frame": frame,
            "is_full": series != "a" or frame == 0 or all_full, "noise": drawn.normal(0, 0.01),
        }
        for number in range(rounds) for frame in range(frames)
        for series in ("baseline", "control", "a")
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    total = np.where(table["is_full"], 100.0, 25.0) * np.exp(table.pop("noise"))
    parts = {f"{part}_ms": total / 4 for part in PARTS}
    return table.assign(total_ms=total, **parts)


def test_speedups_and_times_stand_for_all_of_the_data() -> None:
    values, details = times_of(session(3, 4), "a", 0.1)
    assert values["latency_mean_ms"].value == pytest.approx(0.1 * 100 + 0.9 * 25, rel=0.02)
    speedup, control = values["speedup"], details["control"]
    assert speedup.low is not None and speedup.high is not None
    assert speedup.value == pytest.approx(100 / 32.5, rel=0.02)
    assert speedup.low < speedup.value < speedup.high
    assert control["low"] < 1 < control["high"]
    assert set(Latency.details) == {*details, "session", "rounds", "disturbances"}
    parts = [values[f"{part}_ms"].value for part in PARTS]
    assert math.isclose(sum(parts), values["latency_mean_ms"].value)


def test_where_full_frames_alone_were_timed_nothing_is_said_of_all_of_the_data() -> None:
    values, details = times_of(session(3, 4, all_full=True), "a", 0.1)
    assert not {"speedup", "latency_mean_ms", *(f"{part}_ms" for part in PARTS)} & values.keys()
    assert details["masked"] is None
    assert details["full"]["mean"] == pytest.approx(100, rel=0.02)
    assert "speedup" in times_of(session(3, 4, all_full=True), "a", 1.0)[0]


def test_one_round_gives_values_without_intervals() -> None:
    values, details = times_of(session(1, 4), "a", 0.1)
    assert (values["speedup"].low, values["speedup"].high) == (None, None)
    assert (details["control"]["low"], details["control"]["high"]) == (None, None)


def test_the_baseline_itself_is_the_measure() -> None:
    speedup = times_of(session(2, 2), BASELINE, 1.0)[0]["speedup"]
    assert (speedup.value, speedup.low) == (1.0, None)
