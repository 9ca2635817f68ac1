"""A trial from its result files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.point import Point
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Metrics
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial

_PASSES: tuple[str, ...] = ("accuracy", "memory", "latency")


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
    found: dict[str, MeasuredRecord | None] = {
        name: run.measured(name, point.key) for name in _PASSES
    }
    failures = [record.failure, *(r.failure for r in found.values() if r is not None)]
    message = next((f.message for f in failures if f is not None), None)
    accuracy = found["accuracy"]
    change = accuracy.estimate("map50_change") if accuracy else None
    if message is None and goal.max_map_drop is not None and change is None:
        message = "mAP50 is not defined on these frames: they show no object"
    metrics = record.metrics
    return Trial(
        number=number, params=params, label=point.label, key=point.key,
        state="failed" if message else "ok", failure=message,
        cost=None if message or metrics is None else _cost(goal, metrics, found),
        map50=accuracy.value("map50") if accuracy else None, map50_change=change,
        gmacs=metrics.gmacs if metrics else None, tokens=metrics.tokens if metrics else None,
    )  # fmt: skip


def _cost(
    goal: Goal, metrics: Metrics, found: Mapping[str, MeasuredRecord | None]
) -> StoredEstimate | None:
    if goal.objective == "gmacs":
        return exact(metrics.gmacs)
    if goal.objective == "tokens":
        return exact(metrics.tokens)
    record = found["latency" if goal.objective == "latency" else "memory"]
    if record is None:
        return None
    peak = record.value("peak_mib")
    return share_of_dense(record) if peak is None else exact(peak)


def exact(value: float) -> StoredEstimate:
    """Return a value that no chance is in."""
    return StoredEstimate(value=value, low=None, high=None)


def share_of_dense(record: MeasuredRecord) -> StoredEstimate | None:
    """Return a frame's time as a share of dense's in the same session, from the speed-up.

    Milliseconds drift between sessions, the share does much less. Its interval is widened by what
    dense differed from dense in the session, the A/A control.
    """
    speedup, control = record.estimate("speedup"), record.known_details.control
    if speedup is None or speedup.value <= 0:
        return None
    noise = 0.0 if control is None else abs(control.value - 1)
    low, high = speedup.low, speedup.high
    return StoredEstimate(
        value=1 / speedup.value,
        low=None if not high else (1 - noise) / high,
        high=None if not low else (1 + noise) / low,
    )
