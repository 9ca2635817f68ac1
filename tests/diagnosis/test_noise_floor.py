"""The noise floor of work that is known, on a fake clock."""

from __future__ import annotations

import pytest
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.diagnosis.noise_floor import measure_noise
from maskvd_cli.machine.stopwatch import ClockStopwatch
from maskvd_cli.methods.dense import Dense

CPU = torch.device("cpu")


class Ticks:
    """Nanoseconds that pass by each reading, in a pattern that repeats."""

    def __init__(self, *steps: int) -> None:
        self.steps, self.read, self.now = steps, 0, 0

    def __call__(self) -> int:
        self.now += self.steps[self.read % len(self.steps)]
        self.read += 1
        return self.now


def test_equal_times_leave_no_noise() -> None:
    rounds: list[int] = []
    seconds = iter([0.0, 0.1] + [9.0] * 9)
    found = measure_noise(
        CPU, 1.0, watch=ClockStopwatch(Ticks(1_000_000)), clock=lambda: next(seconds),
        on_round=rounds.append,
    )  # fmt: skip
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == (1, 1, 1)
    # A tick for each mark: what is known, then embedding, selection and heads from and to.
    assert (found.floor, found.spread.median, found.device) == (0, 7, "cpu")
    assert rounds == [1, 2]
    assert found.frames == 2 * 2, "slow frames make short rounds"


def test_uneven_times_open_an_interval_around_one() -> None:
    seconds = iter([0.0, 0.001, *([9.0] * 9)])
    found = measure_noise(
        CPU, 1.0, watch=ClockStopwatch(Ticks(*range(1_000_000, 2_000_000, 70_001))),
        clock=lambda: next(seconds),
    )  # fmt: skip
    assert found.ratio.low is not None and found.ratio.high is not None
    assert found.ratio.low < 1 < found.ratio.high
    assert 0 < found.floor < 1
    assert found.floor == max(1 - found.ratio.low, found.ratio.high - 1)
    assert found.frames == found.rounds * 4


def test_the_baseline_is_the_registered_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Other(Dense):
        def reset(self) -> None:
            made.append(1)
            super().reset()

    monkeypatch.setattr("maskvd_cli.diagnosis.noise_floor.baseline", lambda: Other)
    seconds = iter([0.0, 0.1] + [9.0] * 9)
    measure_noise(
        CPU, 1.0, watch=ClockStopwatch(Ticks(1_000_000)), clock=lambda: next(seconds)
    )  # fmt: skip
    assert made


def test_a_machine_too_busy_to_measure_is_told_so() -> None:
    seconds = iter([0.0, 7.5])
    with pytest.raises(UsageError, match=r"took 7\.5 s.*OMP_NUM_THREADS"):
        measure_noise(CPU, 10.0, clock=lambda: next(seconds))
