"""Two runs side by side: which point of one is which of the other, and what else differs."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.measured import MeasuredPoint, read_measured
from maskvd_cli.store.details import KnownDetails
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan, PlannedPoint, PointRecord


@dataclass(frozen=True)
class Side:
    """One point of one run: its plan, its records, or why they cannot be read."""

    run: Run
    planned: PlannedPoint
    record: PointRecord | None
    passes: MeasuredPoint
    damaged: ResultError | None = None

    @property
    def status(self) -> str:
        """Return ok, failed (also where the file is damaged) or pending."""
        if self.damaged is not None:
            return "failed"
        return "pending" if self.record is None else self.record.status

    @property
    def model(self) -> str | None:
        """The backbone; plans of before schema 4 do not hold it, records do."""
        return self.planned.model or self._of_model("name")

    @property
    def input(self) -> str | None:
        """Rows x columns; plans of schema 1 do not hold it, records do."""
        return self.planned.input or self._of_model("input")

    def _of_model(self, name: str) -> str | None:
        return None if self.record is None else self.record.setting["model"][name]

    def record_of(self, of: str) -> MeasuredRecord | None:
        """Return what a metric yielded, None where it has not run or failed."""
        records = (record for record in self.passes.records if record.status == "ok")
        return next((record for record in records if record.of == of), None)

    def details(self, of: str) -> KnownDetails | None:
        """Return what a metric says beside its values, None where it has not run or failed."""
        record = self.record_of(of)
        return None if record is None else record.known_details

    @cached_property
    def values(self) -> dict[str, StoredEstimate]:
        """What was counted and measured of the point, by quantity; the measured one wins."""
        counts: dict[str, StoredEstimate] = {}
        if self.record is not None and self.record.metrics is not None:
            metrics = self.record.metrics
            numbers: dict[str, float | None] = metrics.model_dump(
                exclude={"cost_curve", "state_bytes"}
            )
            numbers["state_mb"] = metrics.state_bytes / 1e6
            counts = {
                name: StoredEstimate(value=float(number))
                for name, number in numbers.items()
                if number is not None
            }
        measured = [record.values for record in self.passes.records]
        return {**counts, **{name: one for values in measured for name, one in values.items()}}

    def value(self, quantity: str) -> float | None:
        """Return a quantity's value, None where it is not known."""
        return self.values[quantity].value if quantity in self.values else None

    @cached_property
    def latency(self) -> KnownDetails | None:
        """What the latency session says beside the point's times."""
        return self.details("latency")

    def protocol(self, of: str) -> dict[str, Any]:
        """Return what of the recipe decided a pass; empty where it has not run."""
        for record in self.passes.records:
            if record.of == of:
                return record.protocol
        return {}

    @property
    def environments(self) -> list[dict[str, Any]]:
        """Where the point and its passes ran."""
        own = [] if self.record is None else [self.record.environment]
        return [*own, *(record.environment for record in self.passes.records)]


@dataclass(frozen=True)
class Pair:
    """A point of the old run A and its counterpart in the new run B; None where there is none."""

    a: Side | None
    b: Side | None

    @property
    def some(self) -> Side:
        """The new side, or the old one where there is no new."""
        side = self.b or self.a
        assert side is not None
        return side

    @property
    def label(self) -> str:
        """The name of the point, as the new run calls it."""
        return self.some.planned.label


def read_sides(run: Run, plan: Plan) -> list[Side]:
    """Read all points of a run; damaged files are kept as the reason why."""
    sides: list[Side] = []
    for planned in plan.points:
        record, damaged = None, None
        try:
            record = run.point(planned.key)
        except ResultError as error:
            damaged = error
        passes = read_measured(run, plan, planned.key)
        sides.append(Side(run, planned, record, passes, damaged))
    return sides


def paired(old: Sequence[Side], new: Sequence[Side]) -> list[Pair]:
    """Pair points that a user would call the same, in the old run's order; new ones come last.

    Points with the same key come first, then those with label, model and input alike, then those
    with method, parameters, model and input alike: a label names only what varies in its recipe.
    """
    partner: dict[int, Side] = {}
    left = list(new)
    for identity in (_key, _name, _parameters):
        waiting: defaultdict[Hashable, deque[Side]] = defaultdict(deque)
        for side in left:
            waiting[identity(side)].append(side)
        for position, side in enumerate(old):
            if position not in partner and waiting[identity(side)]:
                partner[position] = waiting[identity(side)].popleft()
        taken = {id(side) for side in partner.values()}
        left = [side for side in left if id(side) not in taken]
    both = [Pair(side, partner.get(position)) for position, side in enumerate(old)]
    return both + [Pair(None, side) for side in left]


def _key(side: Side) -> Hashable:
    return side.planned.key


def _name(side: Side) -> Hashable:
    return side.planned.label, side.model, side.input


def _parameters(side: Side) -> Hashable:
    params = json.dumps(side.planned.params, sort_keys=True)
    return side.planned.method, params, side.model, side.input
