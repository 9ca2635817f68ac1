"""A trial from its result files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskvd_cli.core.counts import STATE_MB
from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.point import Point
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Metrics
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial

Found = Mapping[str, MeasuredRecord | None]


def read_trial(
    run: Run,
    goal: Goal,
    number: int,
    params: dict[str, Any],
    point: Point,
) -> Trial:
    """Return what a run holds of a point. Raises ResultError where it holds nothing."""
    record = run.point(point.key)
    if record is None:
        raise ResultError(f"{point.label} is missing", where=run.folder, remedy="tune again")
    found: Found = {name: run.measured(name, point.key) for name in goal.passes}
    metrics, scores = record.metrics, found.get(goal.scored_by)
    cost = None if metrics is None else _cost(goal, metrics, found)
    failures = [record.failure, *(r.failure for r in found.values() if r is not None)]
    message = next((f.message for f in failures if f is not None), None)
    message = message or _unknown(goal, found, cost)
    return Trial(
        number=number, params=params, label=point.label, key=point.key,
        state="failed" if message else "ok", failure=message,
        cost=None if message else cost,
        quality=None if scores is None else scores.value(goal.headline.name),
        change=None if scores is None else scores.values.get(goal.change.name),
        gmacs=metrics.gmacs if metrics else None, tokens=metrics.tokens if metrics else None,
    )  # fmt: skip


def _unknown(goal: Goal, found: Found, cost: StoredEstimate | None) -> str | None:
    """Return what should be known of a point that ran, and is not."""
    if goal.max_loss is not None:
        scores = found.get(goal.scored_by)
        if scores is None or goal.change.name not in scores.values:
            name = goal.headline.header
            return f"{name} is not defined on these frames: they show nothing to score"
    objective = goal.objective
    if cost is None and (objective.of is None or found.get(objective.of) is not None):
        return f"{objective.shown.header} could not be told of this point"
    return None


def _cost(goal: Goal, metrics: Metrics, found: Found) -> StoredEstimate | None:
    """Return the objective's value; None where it was not measured, or could not be told."""
    name, of = goal.objective.quantity, goal.objective.of
    if of is None:
        counts = {**metrics.model_dump(), STATE_MB.name: metrics.state_bytes / 1e6}
        return None if counts.get(name) is None else exact(counts[name])
    record = found[of]
    if record is None or name not in record.values:
        return None
    return share_of_baseline(record, name) if goal.objective.is_share else record.values[name]


def exact(value: float) -> StoredEstimate:
    """Return a value that no chance is in."""
    return StoredEstimate(value=value, low=None, high=None)


def share_of_baseline(record: MeasuredRecord, quantity: str) -> StoredEstimate | None:
    """Return a cost as a share of the baseline's in the same session, from a ratio such as the
    speed-up.

    Its interval is widened by what the baseline differed from itself in the session, the A/A
    control.
    """
    ratio, control = record.values[quantity], record.details.get("control")
    if ratio.value <= 0:
        return None
    noise = 0.0 if control is None else abs(control["value"] - 1)
    low, high = ratio.low, ratio.high
    return StoredEstimate(
        value=1 / ratio.value,
        low=None if not high else (1 - noise) / high,
        high=None if not low else (1 + noise) / low,
    )
