"""Each unit in a fresh process, which may crash, hang or fill the memory alone."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from typing import IO, ClassVar

import psutil

from maskvd_cli.machine.environment import tidy_path
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.schema import Failure
from maskvd_cli.work.executors.messages import Incoming, send
from maskvd_cli.work.failures import TRACEBACK_CHARS
from maskvd_cli.work.unit import Executor, Limits, Lost, OnTalk, Unit

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


# Yields what a child gives; returns kind and message of what went wrong, None where nothing did.
_Received = Generator[Piece | Lost, None, tuple[str, str] | None]


class Process(Executor):
    """Performs units in children, one after the other; this process sleeps meanwhile."""

    name: ClassVar[str] = "process"
    description: ClassVar[str] = "each unit in a process of its own, with limits of time and memory"
    keeps_limits: ClassVar[bool] = True

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        """Perform the units one after the other."""
        for unit in units:
            for piece in perform_in_child(unit, self.limits, self.on_talk):
                yield unit, piece


def perform_in_child(
    unit: Unit, limits: Limits, on_talk: OnTalk = lambda text: None
) -> Iterator[Piece | Lost]:
    """Perform a unit in a fresh process with a session of its own, and end it with its group.

    Yields what the child gives as it comes. A child that ends in another way than it should, or
    goes beyond a limit, yields a `Lost` with the last lines of its stderr. It also ends with this
    process, and where the iterator is closed.
    """
    with tempfile.TemporaryFile() as errors, _Child(unit, errors) as child:
        failure = yield from child.pieces(limits, on_talk)
        if failure is not None:
            child.end()
            kind, message = failure
            last = _last_lines(errors)
            yield Lost(Failure(kind=kind, message=message, traceback=last or None))


class _Child:
    """A child process with the pipes to it."""

    def __init__(self, unit: Unit, errors: IO[bytes]) -> None:
        self._answers, write = os.pipe()
        os.set_blocking(self._answers, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "maskvd_cli.work.child", str(write)],
                stdin=subprocess.PIPE, stdout=errors, stderr=errors, pass_fds=(write,),
                start_new_session=True, env=_environment(),
            )  # fmt: skip
        except BaseException:
            os.close(self._answers)
            raise
        finally:
            os.close(write)
        # The pipe stays open as long as this process wants the child to live.
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            send(self._process.stdin.fileno(), pickle.dumps(unit))

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
        os.close(self._answers)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def end(self) -> None:
        """Kill the child and all that it started, and wait for it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def pieces(self, limits: Limits, on_talk: OnTalk) -> _Received:
        """Yield what comes until the unit, the child or its time ends."""
        with contextlib.closing(Incoming(self._answers, self._process.pid)) as incoming:
            return (yield from self._received(incoming, limits, on_talk))

    def _received(self, incoming: Incoming, limits: Limits, on_talk: OnTalk) -> _Received:
        end = None if limits.seconds is None else time.monotonic() + limits.seconds
        while True:
            left = None if end is None else max(end - time.monotonic(), 0.0)
            wait = left
            if limits.mebibytes is not None:
                wait = _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)
            # Bytes are unpickled as our own child wrote them.
            for message in incoming.wait(wait):
                content = pickle.loads(message)
                if content is None:
                    return None
                if isinstance(content, str):
                    on_talk(content)
                else:
                    yield content
            if incoming.ended:
                return self._death()
            if end is not None and time.monotonic() >= end:
                return "TimedOut", f"ran longer than {limits.seconds:g} s (--unit-timeout)"
            if limits.mebibytes is not None:
                held = _resident_mebibytes(self._process.pid)
                if held > limits.mebibytes:
                    reason = f"held {held} MiB, more than {limits.mebibytes} MiB (--unit-memory)"
                    return "OutOfMemory", reason

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


def _last_lines(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(size - TRACEBACK_CHARS, 0))
    return tidy_path(errors.read().decode(errors="replace"))
