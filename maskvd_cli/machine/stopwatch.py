"""Time the parts of a frame: the clock on a CPU, events of the stream on a GPU."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

PARTS = ("mask", "embed", "backbone", "head")
_NS_PER_MS = 1e6


class Stopwatch(ABC):
    """Laps of one frame: each adds the time since the last mark to a part of `PARTS`.

    So the parts add up to the total, and nothing between start and stop is left out.
    """

    @abstractmethod
    def start(self) -> None:
        """Begin a frame; all earlier work is done."""

    @abstractmethod
    def lap(self, part: str) -> None:
        """Give the time since the last mark to `part`."""

    @abstractmethod
    def stop(self) -> dict[str, float]:
        """Return `<part>_ms` of every part, and `total_ms`, of the frame."""

    def abandon(self) -> None:  # noqa: B027 - most have nothing to end
        """End a frame that failed, of which nothing is asked."""


class NoStopwatch(Stopwatch):
    """Measures nothing and costs nothing: for passes that are not about time."""

    def start(self) -> None:
        """Do nothing."""

    def lap(self, part: str) -> None:
        """Do nothing."""

    def stop(self) -> dict[str, float]:
        """Return nothing."""
        return {}


class ClockStopwatch(Stopwatch):
    """Reads a clock of nanoseconds; right where work is done when its call returns."""

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self._spent: dict[str, int] = {}
        self._first = self._last = 0

    def start(self) -> None:
        self._spent = dict.fromkeys(PARTS, 0)
        self._first = self._last = self._clock()

    def lap(self, part: str) -> None:
        now = self._clock()
        self._spent[part] += now - self._last
        self._last = now

    def stop(self) -> dict[str, float]:
        made = {f"{part}_ms": spent / _NS_PER_MS for part, spent in self._spent.items()}
        return {**made, "total_ms": (self._last - self._first) / _NS_PER_MS}


class CudaStopwatch(Stopwatch):
    """Records events in the current stream, and waits for the last one only as the frame stops."""

    def __init__(self) -> None:
        self._marks: list[tuple[str, torch.cuda.Event]] = []

    def start(self) -> None:
        torch.cuda.synchronize()
        self._marks = []
        self.lap("")

    def lap(self, part: str) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((part, event))

    def stop(self) -> dict[str, float]:
        torch.cuda.synchronize()
        made = dict.fromkeys((f"{part}_ms" for part in PARTS), 0.0)
        for (_, before), (part, event) in zip(self._marks, self._marks[1:], strict=False):
            made[f"{part}_ms"] += before.elapsed_time(event)
        return {**made, "total_ms": self._marks[0][1].elapsed_time(self._marks[-1][1])}


def stopwatch_for(device: torch.device) -> Stopwatch:
    """Return the stopwatch that is right for a device."""
    return CudaStopwatch() if device.type == "cuda" else ClockStopwatch()
