"""A process that stood still is told: stopped, suspended with its machine, or frozen."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from maskvd_cli.machine.standstill import Moment, Standstill


class Clock:
    """Moments that the test sets."""

    def __init__(self) -> None:
        self.clock = self.worked = self.awake = 0.0

    def __call__(self) -> Moment:
        return Moment(self.clock, self.worked, self.awake)

    def pass_by(self, seconds: float, worked: float, awake: float | None = None) -> None:
        self.clock += seconds
        self.worked += worked
        self.awake += seconds if awake is None else awake


def after(*steps: tuple[float, ...]) -> Standstill:
    clock = Clock()
    still = Standstill(clock)
    still.begin()
    for step in steps:
        clock.pass_by(*step)
        still.mark()
    return still


def test_steady_work_is_no_standstill() -> None:
    assert not after(*[(0.1, 0.1)] * 10).stood


def test_a_slow_machine_is_no_standstill() -> None:
    # Others take most of the processor's time: each step waits, and none far longer than others.
    assert not after(*[(2.0, 0.2)] * 10, (6.0, 0.2)).stood


def test_a_wait_far_longer_than_all_others_is_one() -> None:
    assert after(*[(0.1, 0.1)] * 5, (3.0, 0.1)).stood
    assert not after(*[(0.1, 0.1)] * 5, (3.0, 2.9)).stood


def test_a_machine_that_slept_is_one() -> None:
    assert after((60.0, 0.1, 0.2)).stood


def test_the_next_piece_of_work_begins_anew() -> None:
    clock = Clock()
    still = Standstill(clock)
    for _ in range(5):
        clock.pass_by(0.1, 0.1)
        still.mark()
    clock.pass_by(9.0, 0.1)
    still.mark()
    assert still.stood
    still.begin()
    assert not still.stood


def test_work_between_steps_is_left_out() -> None:
    clock = Clock()
    still = Standstill(clock)
    for _ in range(5):
        clock.pass_by(0.1, 0.1)
        still.mark()
    clock.pass_by(9.0, 0.1)
    still.skip()
    clock.pass_by(0.1, 0.1)
    still.mark()
    assert not still.stood


STOPS_ITSELF = """
import os, signal
from maskvd_cli.machine.standstill import Standstill
still = Standstill()
still.begin()
with still.listening():
    os.kill(os.getpid(), signal.SIGSTOP)
print(still.stood)
still.begin()
print(still.stood, signal.getsignal(signal.SIGCONT) == signal.SIG_DFL)
"""


def test_a_process_that_was_stopped_hears_of_it() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", STOPS_ITSELF], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child.pid, os.WUNTRACED | os.WNOHANG)
        if pid and os.WIFSTOPPED(status):
            break
        time.sleep(0.05)
    child.send_signal(18)
    out, _ = child.communicate(timeout=60)
    assert out.split() == ["True", "False", "True"]
