"""What disturbed a measurement: throttling, other work on the processors, stolen time, swapping."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maskvd_cli.core.errors import UsageError
from maskvd_cli.machine.gpu import slowing
from maskvd_cli.machine.limits import held_back
from maskvd_cli.machine.linux import (
    ROOT,
    CpuTimes,
    busy_between,
    cpu_times,
    swapped_pages,
    thermal_throttles,
)

# Shares of all processors' time, and pages (1 MiB of them), below which nothing is told.
_OTHERS, _STOLEN, _SWAPPED = 0.05, 0.01, 256


@dataclass(frozen=True)
class Reading:
    """Counters since the machine or this process began; None where they are not told.

    `own_seconds`: processor time of this process; `held_back`: periods in which the control group's
    time ran out; `throttles`: events of processors too hot; `pages`: swapped in or out.
    """

    seconds: float
    own_seconds: float
    cpu: CpuTimes | None
    held_back: int | None
    throttles: int | None
    pages: int | None


def read_counters(root: Path = ROOT) -> Reading:
    """Return the counters of now."""
    own = os.times()
    return Reading(
        seconds=time.perf_counter(),
        own_seconds=own.user + own.system,
        cpu=cpu_times(root),
        held_back=held_back(root),
        throttles=thermal_throttles(root),
        pages=swapped_pages(root),
    )


def disturbances_between(before: Reading, after: Reading, cores: int) -> list[str]:
    """Return what disturbed between two readings, worst first; `cores` are those of /proc/stat."""
    found: list[str] = []
    if hot := increase(before.throttles, after.throttles):
        found.append(f"processors were throttled {hot} times, too hot")
    if held := increase(before.held_back, after.held_back):
        found.append(f"the container's processor time ran out {held} times")
    busy = busy_between(before.cpu, after.cpu)
    if busy is not None and busy.stolen >= _STOLEN:
        found.append(f"{busy.stolen:.0%} of the processors' time was stolen by the host")
    if busy is not None and after.seconds > before.seconds:
        own = (after.own_seconds - before.own_seconds) / (after.seconds - before.seconds) / cores
        others = busy.used - busy.stolen - own
        if others >= _OTHERS:
            found.append(f"other work took {others:.0%} of the processors' time")
    if (pages := increase(before.pages, after.pages) or 0) >= _SWAPPED:
        found.append(f"{pages} pages were swapped")
    return found


def increase(before: int | None, after: int | None) -> int | None:
    """Return by how much a counter rose, None where it is not told."""
    return None if before is None or after is None else max(0, after - before)


class Disturbances:
    """Watches over a measurement from its making on.

    `gpu_reasons` returns NVML's mask of why the GPU's clocks are not higher, None where there is no
    GPU; it is asked at every `sample`, since it says only what is now. Where it raises UsageError,
    that its answer is not known is told with what has disturbed.
    """

    def __init__(
        self, gpu_reasons: Callable[[], int | None] = lambda: None, root: Path = ROOT
    ) -> None:
        self._gpu_reasons, self._root = gpu_reasons, root
        self._mask = 0
        self._unknown: str | None = None
        self._before = read_counters(root)

    def sample(self) -> None:
        """Ask the GPU, between two timed pieces of work."""
        try:
            self._mask |= self._gpu_reasons() or 0
        except UsageError as error:
            self._unknown = f"whether the GPU was throttled is not known: {error.message}"

    def found(self) -> list[str]:
        """Return what has disturbed so far."""
        gpu = slowing(self._mask)
        told = [f"the GPU was slowed down: {', '.join(gpu)}"] if gpu else []
        told += [self._unknown] if self._unknown else []
        after = read_counters(self._root)
        return told + disturbances_between(self._before, after, os.cpu_count() or 1)
