"""How long the rest of a sweep may take, from the pace of what it has done."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from maskvd_cli.judge.installed import is_together, seconds_of
from maskvd_cli.watch.begun import Begun
from maskvd_cli.watch.progress import POINT, Snapshot, StepName

# A gap that is so many times as long as usual is a pause of the sweep, not its pace.
_PAUSE = 20


@dataclass(frozen=True)
class TimeLeft:
    """Seconds left, None where nothing is known; `without`: kinds of steps that are not in it."""

    seconds: float | None
    without: tuple[StepName, ...]


def time_left(snapshot: Snapshot) -> TimeLeft:
    """Foretell how long the rest takes, from the pace of what this run has done so far.

    What has begun goes on at the pace of its pieces: clips of a point, rounds of a session. A step
    that has not begun costs the median of its kind; where none has ended, what its metric foretells
    from the time of a frame.
    """
    seconds, without = 0.0, list[StepName]()
    known = False
    for of in snapshot.kinds:
        if not snapshot.left(of):
            continue
        rest = _rest(snapshot, of)
        if rest is None:
            without.append(of)
        else:
            seconds, known = seconds + rest, True
    return TimeLeft(max(0.0, seconds) if known else None, tuple(without))


def _rest(snapshot: Snapshot, of: StepName) -> float | None:
    """Return the seconds that all steps of a kind still take, None where nothing tells."""
    begun = [one for one in snapshot.begun if one.of == of]
    pace, cost = _pace(begun), _cost(snapshot, of)
    waiting, seconds, known = {point.key for point in snapshot.left(of)}, 0.0, False
    for one in begun:
        rest = _rest_of(one, pace, cost)
        if rest is not None:
            seconds, known, waiting = seconds + rest, True, waiting - set(one.keys)
    if waiting:
        each = _from_pieces(begun, pace) if cost is None else cost
        if each is None:
            return None
        seconds, known = seconds + each * len(waiting), True
    if known and snapshot.current is not None and snapshot.current[0] == of:
        # What is at work now has been so since the last file.
        since = max(0.0, snapshot.now - snapshot.last_written)
        seconds -= min(since, (cost if pace is None else pace) or 0.0)
    return seconds if known else None


def _rest_of(begun: Begun, pace: float | None, cost: float | None) -> float | None:
    """Return the seconds that something begun still takes; `cost`: those of a whole point."""
    if begun.left is None or not begun.total:
        return None
    if pace is not None:
        return pace * begun.left
    return None if cost is None else cost * len(begun.keys) * begun.left / begun.total


def _from_pieces(begun: Sequence[Begun], pace: float | None) -> float | None:
    """Return the seconds of a whole point like those that have begun."""
    first = next((one for one in begun if one.total), None)
    if first is None or first.total is None or pace is None:
        return None
    return pace * first.total / len(first.keys)


def _pace(begun: Sequence[Begun]) -> float | None:
    """Return the seconds between two pieces; None before the second, and of copies."""
    gaps = _gaps(sorted(time for one in begun for time in one.written))
    usual = statistics.median(gaps) if gaps else 0.0
    within = [gap for gap in gaps if gap <= _PAUSE * usual]
    return statistics.fmean(within) if usual > 0 else None


def _gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def _cost(snapshot: Snapshot, of: StepName) -> float | None:
    """Return the seconds that a whole step of this kind takes."""
    own = [step for (kind, _), step in snapshot.steps.items() if kind == of and not step.taken_over]
    if of == POINT:
        known = [step.seconds for step in own if step.seconds is not None]
        return statistics.median(known) if known else None
    # All points of one session are written at once, at its end.
    gaps = [] if is_together(of) else _gaps(sorted(step.written for step in own))
    return statistics.median(gaps) if gaps else _foretold(snapshot, of)


def _foretold(snapshot: Snapshot, of: StepName) -> float | None:
    """Return what the metric itself says, by the time that a point took per frame."""
    points = (step for (kind, _), step in snapshot.steps.items() if kind == POINT)
    pace = [p.seconds / p.frames for p in points if p.seconds and p.frames and not p.taken_over]
    protocol: dict[str, Any] = (snapshot.plan.measure or {}).get(of) or {}
    return seconds_of(of, protocol, statistics.median(pace) if pace else None)
