"""How far a sweep is, from its files alone: what has ended, what is left, how long it may take."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from maskvd_cli.core.counts import COUNTS
from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.measured import metrics_of
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.runs import PLAN, TRUTH, NewerResultError, Run
from maskvd_cli.store.schema import Plan, PlannedPoint, PointRecord, StoredQuantity
from maskvd_cli.watch.begun import Begun, begun_points, begun_sessions, clips_of
from maskvd_cli.watch.liveness import SweepState, sweep_state

# `point`, or the name of a metric.
StepName = str
POINT: StepName = "point"
_MOST_SPARE, _MOST_SHOWN = 4, 2
_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """One file that a sweep has written: a point, or one pass over one.

    `values` by column; `written`: seconds since 1970; `frames` and `seconds`: of points alone.
    `taken_over`: copied from an earlier run, which says nothing of how fast this one is.
    """

    of: StepName
    key: str
    label: str
    status: Literal["ok", "failed", "damaged"]
    reason: str | None
    written: float
    taken_over: bool
    values: dict[str, float | None] = field(default_factory=dict[str, float | None])
    seconds: float | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment.

    `steps` by kind and key; `new`: those that the last look did not see; `begun`: what has pieces
    and no record.
    """

    run: Run
    plan: Plan
    steps: dict[tuple[StepName, str], Step]
    new: tuple[Step, ...]
    sweep: SweepState
    now: float
    begun: tuple[Begun, ...] = ()

    @property
    def passes(self) -> tuple[StepName, ...]:
        """The metrics that follow the points, in the order of their runs."""
        wanted = (self.plan.measure or {}).get("metrics", ())
        return tuple(of for of in metrics_of(self.plan) if of in wanted)

    def step(self, of: StepName, key: str) -> Step | None:
        """Return the step of a point, None where it has not ended or its file is damaged."""
        one = self.steps.get((of, key))
        return None if one is None or one.status == "damaged" else one

    def expected(self, of: StepName) -> list[PlannedPoint]:
        """Return the points that have or will have such a step: points that failed have no pass."""
        if of == "point":
            return list(self.plan.points)
        points = ((point, self.step("point", point.key)) for point in self.plan.points)
        return [point for point, step in points if step is None or step.status == "ok"]

    def left(self, of: StepName) -> list[PlannedPoint]:
        """Return the points of which a step is still to come."""
        return [point for point in self.expected(of) if self.step(of, point.key) is None]

    @property
    def kinds(self) -> tuple[StepName, ...]:
        """Points first, then the passes."""
        return ("point", *self.passes)

    @property
    def total(self) -> int:
        """How many steps the sweep has in all."""
        return sum(len(self.expected(of)) for of in self.kinds)

    @property
    def done(self) -> int:
        """How many of them have ended, well or not."""
        return self.total - sum(len(self.left(of)) for of in self.kinds)

    @property
    def failed(self) -> list[Step]:
        """The steps that failed."""
        return [step for step in self.steps.values() if step.status == "failed"]

    @property
    def has_ended(self) -> bool:
        """Tell whether nothing is left, and no sweep is at work, as with --retry-failed."""
        return self.done == self.total and self.sweep != "running"

    @property
    def current(self) -> tuple[StepName, PlannedPoint] | None:
        """The first step that is missing: a sweep goes in the plan's order, pass by pass."""
        return next(((of, left[0]) for of in self.kinds if (left := self.left(of))), None)

    @property
    def created(self) -> float:
        """When the plan was made."""
        return datetime.fromisoformat(self.plan.created).timestamp()

    @property
    def last_written(self) -> float:
        """When the newest file was written; without any, when the plan was made."""
        ended = [step.written for step in self.steps.values()]
        pieces = [one.written[-1] for one in self.begun if one.written]
        return max([*ended, *pieces], default=self.created)

    @property
    def elapsed(self) -> float:
        """Seconds since the plan was made, pauses included; of an ended run, to its last file."""
        return max(0.0, (self.last_written if self.has_ended else self.now) - self.created)


class Follower:
    """Looks at a run again and again; reads a file only when it is new or has changed."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._plan: tuple[_Stamp, Plan] | None = None
        self._read: dict[tuple[StepName, str], tuple[_Stamp, Step]] = {}
        self._clips: tuple[_Stamp, int | None] | None = None

    def look(self) -> Snapshot:
        """Return the run as it is now. Raises ResultError where its plan cannot be read."""
        # Before the files: a sweep that has let go of the lock has written all of them.
        sweep = sweep_state(self._run.folder)
        plan = self._read_plan()
        new = tuple(self._changed(plan))
        steps = {name: step for name, (_, step) in self._read.items()}
        seen = Snapshot(self._run, plan, steps, new, sweep, time.time())
        return replace(seen, begun=tuple(self._begun(seen)))

    def _begun(self, seen: Snapshot) -> Iterator[Begun]:
        """Yield what has pieces and no record, of the points and then of the metrics."""
        keys = [point.key for point in seen.left(POINT)]
        yield from begun_points(self._run, keys, self._number_of_clips)
        for of in seen.passes:
            if seen.left(of):
                yield from begun_sessions(self._run, seen.plan, of)

    def _number_of_clips(self) -> int | None:
        """Return how many clips a point has; the truth is read once."""
        stamp = _stamp(self._run.folder / TRUTH)
        if self._clips is None or (stamp is not None and stamp != self._clips[0]):
            self._clips = (stamp or (0, 0, 0), clips_of(self._run))
        return self._clips[1]

    def _read_plan(self) -> Plan:
        stamp = _stamp(self._run.folder / PLAN)
        if self._plan is None or (stamp is not None and stamp != self._plan[0]):
            self._plan = (stamp or (0, 0, 0), self._run.plan())
        return self._plan[1]

    def _changed(self, plan: Plan) -> Iterator[Step]:
        kinds: tuple[StepName, ...] = ("point", *metrics_of(plan))
        for of in kinds:
            for point in plan.points:
                place = _place(self._run.folder, of, point.key)
                stamp = _stamp(place)
                known = self._read.get((of, point.key))
                if stamp is None:
                    self._read.pop((of, point.key), None)
                elif known is None or known[0] != stamp:
                    step = _read_step(self._run, plan, of, point, stamp[0] / 1e9)
                    if step is not None:
                        self._read[of, point.key] = (stamp, step)
                        yield step


def _place(folder: Path, of: StepName, key: str) -> Path:
    below = Path("points") if of == "point" else Path("measured") / of
    return folder / below / f"{key}.json"


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_step(
    run: Run, plan: Plan, of: StepName, point: PlannedPoint, written: float
) -> Step | None:
    try:
        record = run.point(point.key) if of == "point" else run.measured(of, point.key)
    except NewerResultError:
        raise
    except ResultError as error:
        return Step(of, point.key, point.label, "damaged", error.message, written, False)
    if record is None:
        return None
    extra: dict[str, Any] = {}
    if isinstance(record, PointRecord) and record.metrics is not None:
        extra = {"seconds": record.seconds, "frames": record.metrics.frames}
    reason = None if record.failure is None else " ".join(record.failure.message.split())
    taken_over = record.finished < plan.created
    return Step(
        of, point.key, point.label, record.status, reason, written, taken_over,
        _values(record, plan), **extra,
    )  # fmt: skip


def _values(record: PointRecord | MeasuredRecord, plan: Plan) -> dict[str, float | None]:
    """Return what a step shows, by quantity; None where it is not known."""
    names = (quantity.name for quantity in shown_quantities(plan, _kind_of(record)))
    if isinstance(record, MeasuredRecord):
        return {name: record.value(name) for name in names} if record.status == "ok" else {}
    if record.metrics is None:
        return {}
    counts = {**record.metrics.model_dump(), "state_mb": record.metrics.state_bytes / 1e6}
    return {name: counts.get(name) for name in names}


def _kind_of(record: PointRecord | MeasuredRecord) -> StepName:
    return record.of if isinstance(record, MeasuredRecord) else POINT


def shown_quantities(plan: Plan, of: StepName) -> list[StoredQuantity]:
    """Return the quantities of a kind of step that say most, at most two, in the plan's order."""
    source = COUNTS if of == POINT else of
    change = Legend(plan).change
    own = [one for one in plan.quantities if one.of == source and one.name != change]
    ranked = sorted(own, key=lambda quantity: quantity.spare)
    chosen = [one for one in ranked if one.spare <= _MOST_SPARE][:_MOST_SHOWN] or ranked[:1]
    return [quantity for quantity in own if quantity in chosen]
