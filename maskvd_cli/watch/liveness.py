"""Whether a sweep is writing to a run, told without touching its lock.

Taking the lock, even for a moment, could make a sweep fail that starts just then. Linux lists who
holds which lock; elsewhere, and for sweeps on other machines, only the age of files is left.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

SweepState = Literal["running", "not running here", "unknown"]
_LOCKS = Path("/proc/locks")


def sweep_state(folder: Path, locks: Path = _LOCKS) -> SweepState:
    """Return whether a process of this machine holds the run's lock, as the system lists it."""
    try:
        held = locks.read_text(encoding="ascii", errors="replace")
    except OSError:
        return "unknown"
    try:
        status = os.stat(folder / ".lock")
    except OSError:
        return "not running here"
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    # 1: FLOCK  ADVISORY  WRITE 8347 fe:00:5505363 0 EOF; a process that waits has `->` before FLOCK
    for line in held.splitlines():
        words = line.split()
        if words[1:2] == ["FLOCK"] and place in words:
            return "running"
    return "not running here"
