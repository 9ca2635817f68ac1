"""Whether this process stood still while the clock went on: stopped, frozen, or suspended."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

# A frame that waits longer than this without computing, and far longer than others take, did not
# wait for the processor or the GPU.
_LONG, _TIMES = 1.0, 10.0


@dataclass(frozen=True)
class Moment:
    """Seconds of the clock, of this process's own work, and of the clock that suspension stops."""

    clock: float
    worked: float
    awake: float


def now() -> Moment:
    """Return this moment."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    clock = time.clock_gettime(boot) if boot is not None else time.monotonic()
    return Moment(clock, time.process_time(), time.monotonic())


class Standstill:
    """Tells whether the process stood still since `begin`.

    A process that was stopped is told by the signal that lets it go on (in the main thread), a
    suspended machine by its clocks, and what is frozen from outside by a wait that is far longer
    than all others and in which nothing was computed.
    """

    def __init__(self, moment: Callable[[], Moment] = now) -> None:
        self._moment = moment
        self._continued = False
        self._usual: list[float] = []
        self._last = moment()
        self._stood = False

    @contextmanager
    def listening(self) -> Generator[None]:
        """Hear of being continued while the block runs; elsewhere than in the main thread, not."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def hear(*_: object) -> None:
            self._continued = True

        before = signal.signal(signal.SIGCONT, hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGCONT, before)

    def begin(self) -> None:
        """Begin a piece of work."""
        self._continued = self._stood = False
        self._last = self._moment()

    def skip(self) -> None:
        """Leave out what was done since the last step; it is unlike the others."""
        self._last = self._moment()

    def mark(self) -> None:
        """Note that a step of the work, one of many alike, has ended."""
        moment = self._moment()
        wall = moment.clock - self._last.clock
        idle = wall - (moment.worked - self._last.worked)
        asleep = wall - (moment.awake - self._last.awake)
        usual = sorted(self._usual)[len(self._usual) // 2] if self._usual else 0.0
        far = idle > max(_LONG, _TIMES * usual) and len(self._usual) >= 3
        if asleep > _LONG or far:
            self._stood = True
        else:
            self._usual.append(wall)
        self._last = moment

    @property
    def stood(self) -> bool:
        """Whether the process stood still since `begin`."""
        return self._stood or self._continued
