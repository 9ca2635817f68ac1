"""How long the rest of a sweep may take, from the pace of what it has done."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from maskvd_cli.watch.progress import Snapshot, StepName


@dataclass(frozen=True)
class TimeLeft:
    """Seconds left, as far as they can be foretold; `without`: kinds of steps of which they cannot.

    None where nothing can be foretold.
    """

    seconds: float | None
    without: tuple[StepName, ...]


def time_left(snapshot: Snapshot) -> TimeLeft:
    """Foretell how long the rest takes, from the pace of what this run has done so far.

    A step costs the median of its kind; the passes that have not begun are foretold from the time
    that a point took per frame.
    """
    seconds, without = 0.0, list[StepName]()
    foretold = False
    for of in snapshot.kinds:
        left = len(snapshot.left(of))
        if not left:
            continue
        cost = _cost(snapshot, of)
        if cost is None:
            without.append(of)
        else:
            seconds, foretold = seconds + cost * left, True
    current = snapshot.current
    if foretold and current is not None:
        since = max(0.0, snapshot.now - snapshot.last_written)
        seconds -= min(since, _cost(snapshot, current[0]) or 0.0)
    return TimeLeft(max(0.0, seconds) if foretold else None, tuple(without))


def _cost(snapshot: Snapshot, of: StepName) -> float | None:
    """Return the seconds that a step of this kind takes."""
    own = [step for (kind, _), step in snapshot.steps.items() if kind == of and not step.taken_over]
    if of == "point":
        known = [step.seconds for step in own if step.seconds is not None]
        return statistics.median(known) if known else None
    written = sorted(step.written for step in own)
    gaps = [later - earlier for earlier, later in pairwise(written)]
    # All of a latency session are written at once, at its end.
    if gaps and of != "latency":
        return statistics.median(gaps)
    return _foretold(snapshot, of)


def _foretold(snapshot: Snapshot, of: StepName) -> float | None:
    points = (step for (kind, _), step in snapshot.steps.items() if kind == "point")
    pace = [p.seconds / p.frames for p in points if p.seconds and p.frames and not p.taken_over]
    protocol: dict[str, Any] = (snapshot.plan.measure or {}).get(of) or {}
    try:
        if of == "energy":
            return float(protocol["seconds"])
        frames = {
            "memory": lambda: 2 * int(protocol["frames"]),
            "latency": lambda: (
                int(protocol["rounds"]) * int(protocol["frames"]) + int(protocol["warmup"])
            ),
        }.get(of)
        return statistics.median(pace) * frames() if pace and frames else None
    except (KeyError, TypeError, ValueError):
        return None
