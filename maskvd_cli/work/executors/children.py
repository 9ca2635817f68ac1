"""A child process that performs units, and what is said where it does not end as it should."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator

import psutil

from maskvd_cli.machine.environment import tidy_path
from maskvd_cli.machine.failures import OUT_OF_MEMORY, TRACEBACK_CHARS
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.schema import Failure
from maskvd_cli.work.executors.messages import Incoming, send
from maskvd_cli.work.unit import Limits, Lost, OnTalk, Unit

TIMED_OUT = "TimedOut"
# How often the memory of a child is looked at, where it has a limit.
_LOOK_SECONDS = 0.5
_EXIT_SECONDS = 10.0
_SIGNALS = {
    signal.SIGSEGV: ("SegmentationFault", "the process was ended by a segmentation fault"),
    signal.SIGBUS: ("BusError", "the process was ended by a bus error"),
    signal.SIGABRT: ("Aborted", "the process aborted itself"),
    signal.SIGILL: ("IllegalInstruction", "the process was ended by an illegal instruction"),
    signal.SIGFPE: ("ArithmeticFault", "the process was ended by an arithmetic fault"),
    signal.SIGKILL: (
        "Killed",
        "the process was killed from outside, most likely by the kernel for want of memory",
    ),
}

# Yields what a child gives; returns why a unit could not be performed, or kind and message of how
# the child ended itself; None where all went well.
_Received = Generator[Piece | Lost, None, Lost | tuple[str, str] | None]


class Child:
    """A process in a session of its own, which performs one unit after the other.

    `lost`: why the last unit could not be performed, None where it was. The process also ends,
    with all that it started, where this one does.
    """

    def __init__(self) -> None:
        self.lost: Lost | None = None
        self._has_ended = False
        # It lives as long as the child, which writes to its end wherever this process reads.
        self._errors = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        units, self._units = os.pipe()
        self._answers, answers = os.pipe()
        os.set_blocking(self._answers, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "maskvd_cli.work.child", str(units), str(answers)],
                stdin=subprocess.PIPE, stdout=self._errors, stderr=self._errors,
                pass_fds=(units, answers), start_new_session=True, env=_environment(),
            )  # fmt: skip
        except BaseException:
            self._close()
            raise
        finally:
            os.close(units)
            os.close(answers)

    @property
    def is_sound(self) -> bool:
        """Tell whether another unit may follow: all went well, or was refused with a reason."""
        refused = self.lost is not None and self.lost.failure.traceback is None
        return not self._has_ended and (self.lost is None or refused)

    def end(self) -> None:
        """Kill the child and all that it started, and wait for it."""
        self._kill()
        # The pipe stays open as long as this process wants the child to live.
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._close()

    def perform(self, unit: Unit, limits: Limits, on_talk: OnTalk) -> Iterator[Piece | Lost]:
        """Yield what comes until the unit, the child or its time ends; `lost` then tells how.

        A child that ends in another way than it should, or goes beyond a limit, is killed; the
        reason holds the last lines of what it wrote to stderr during this unit.
        """
        self.lost = None
        began = self._errors.seek(0, os.SEEK_END)
        with contextlib.suppress(BrokenPipeError):
            send(self._units, pickle.dumps(unit))
        with contextlib.closing(Incoming(self._answers, self._process.pid)) as incoming:
            reason = yield from self._received(incoming, limits, on_talk)
        if isinstance(reason, tuple):
            self._kill()
            kind, message = reason
            last = self._last_lines(began)
            reason = Lost(Failure(kind=kind, message=message, traceback=last or None))
        self.lost = reason

    def _received(self, incoming: Incoming, limits: Limits, on_talk: OnTalk) -> _Received:
        end = None if limits.seconds is None else time.monotonic() + limits.seconds
        lost: Lost | None = None
        while True:
            left = None if end is None else max(end - time.monotonic(), 0.0)
            wait = left
            if limits.mebibytes is not None:
                wait = _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)
            # Bytes are unpickled as our own child wrote them.
            for message in incoming.wait(wait):
                content = pickle.loads(message)
                if content is None:
                    return lost
                if isinstance(content, str):
                    on_talk(content)
                elif isinstance(content, Lost) and content.key is None:
                    lost = content
                else:
                    yield content
            if incoming.ended:
                return self._death()
            if end is not None and time.monotonic() >= end:
                return TIMED_OUT, f"ran longer than {limits.seconds:g} s (--unit-timeout)"
            if limits.mebibytes is not None:
                held = _resident_mebibytes(self._process.pid)
                if held > limits.mebibytes:
                    reason = f"held {held} MiB, more than {limits.mebibytes} MiB (--unit-memory)"
                    return OUT_OF_MEMORY, reason

    def _death(self) -> tuple[str, str]:
        try:
            code = self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return "Ended", "the process closed its pipe and went on without an end"
        if code < 0:
            with contextlib.suppress(ValueError, KeyError):
                return _SIGNALS[signal.Signals(-code)]
            return "Killed", f"the process was ended by signal {-code}"
        return "Ended", f"the process ended too early, with exit code {code}"

    def _kill(self) -> None:
        self._has_ended = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _close(self) -> None:
        self._errors.close()
        os.close(self._units)
        os.close(self._answers)

    def _last_lines(self, began: int) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(size - TRACEBACK_CHARS, began))
        return tidy_path(self._errors.read().decode(errors="replace"))


def _environment() -> dict[str, str]:
    """Return this process's environment, so that the child imports the same code."""
    places = [place or os.getcwd() for place in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def _resident_mebibytes(group: int) -> int:
    """Return the memory of a process and its descendants."""
    total = 0
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(group)
        for process in (leader, *leader.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total >> 20
