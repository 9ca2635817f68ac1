"""What the metrics yielded, as columns beside a point's counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.counts import COUNTS
from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.quantity import Estimate
from maskvd_cli.judge.installed import order_of
from maskvd_cli.store.details import KnownDetails
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan

# What is said beside the values, by metric: the detail, and the column that it has.
_DETAILS = {
    "latency": ("session", "latency_session"),
    "memory": ("measured_by", "peak_measured_by"),
}
# What everything else of a session stands in: control, disturbances.
_SESSIONS = "latency"


@dataclass(frozen=True)
class MeasuredPoint:
    """The records of one point by metric, and why files of it cannot be read.

    `known`: the metrics of which a file is there, sound or damaged.
    """

    records: tuple[MeasuredRecord, ...]
    damaged: tuple[ResultError, ...]
    known: frozenset[str] = frozenset()

    def columns(self) -> dict[str, Any]:
        """Return the measured values by column."""
        columns: dict[str, Any] = {}
        for record in self.records:
            for name, estimate in record.values.items():
                columns |= _estimate(name, estimate)
            if record.of in _DETAILS and record.status == "ok":
                detail, column = _DETAILS[record.of]
                columns[column] = record.details.get(detail)
        return columns

    def error(self) -> str | None:
        """Return which metrics failed and why, None where none did."""
        failed = [f"{r.of}: {r.failure.message}" for r in self.records if r.failure is not None]
        failed += [f"damaged file: {error.message}" for error in self.damaged]
        return "; ".join(failed) or None


def metrics_of(plan: Plan) -> list[str]:
    """Return the metrics that a plan's points may have records of, in the order of their runs."""
    if not plan.measure:
        return []
    named = [quantity.of for quantity in plan.quantities if quantity.of != COUNTS]
    return sorted(dict.fromkeys([*named, *plan.measure["metrics"]]), key=order_of)


def read_measured(run: Run, plan: Plan, key: str) -> MeasuredPoint:
    """Read what the metrics of the plan yielded of a point."""
    records: list[MeasuredRecord] = []
    damaged: list[ResultError] = []
    known: set[str] = set()
    for of in metrics_of(plan):
        try:
            record = run.measured(of, key)
        except ResultError as error:
            damaged.append(error)
            known.add(of)
            continue
        if record is not None:
            records.append(record)
            known.add(of)
    return MeasuredPoint(tuple(records), tuple(damaged), frozenset(known))


def missing_passes(plan: Plan, ran: Sequence[MeasuredPoint]) -> dict[str, int]:
    """Return by metric how many of the points that ran it has not measured.

    Failures and damaged files are not among them: they stand in their rows.
    """
    wanted: list[str] = (plan.measure or {}).get("metrics", [])
    missing: dict[str, int] = {}
    for of in wanted:
        count = sum(of not in point.known for point in ran)
        if count:
            missing[of] = count
    return missing


def setting_columns(setting: dict[str, Any]) -> dict[str, Any]:
    """Return device, precision and the part of the data that a point stands on."""
    measured: dict[str, Any] = setting.get("measured") or {}
    columns = {name: measured[name] for name in ("device", "precision") if name in measured}
    text = subset_text(setting)
    return columns if text is None else {**columns, "subset": text}


def subset_text(setting: dict[str, Any]) -> str | None:
    """Return which part of the data was run, None for all of it."""
    subset: dict[str, Any] | None = setting.get("subset")
    if not subset:
        return None
    clips, frames = subset.get("clips"), subset.get("frames")
    parts = [f"first {clips} clip{'s' if clips > 1 else ''}"] if clips else []
    parts += [f"first {frames} frame{'s' if frames > 1 else ''} of each clip"] if frames else []
    return ("smoke: " if subset.get("smoke") else "") + ", ".join(parts)


def session_controls(points: Iterable[MeasuredPoint]) -> dict[str, Estimate]:
    """Return by latency session the ratio of the baseline to itself."""
    sessions: dict[str, Estimate] = {}
    for details in _sessions(points):
        if (control := details.control) is not None:
            ends = Estimate(control.value, control.low, control.high)
            sessions.setdefault(str(details.session), ends)
    return sessions


def disturbance_warnings(points: Iterable[MeasuredPoint]) -> Iterator[str]:
    """Yield for each latency session what disturbed it, if anything was seen."""
    sessions = {str(details.session): details.disturbances for details in _sessions(points)}
    for number, disturbances in enumerate(sessions.values(), 1):
        if disturbances:
            which = f" (session {number} of {len(sessions)})" if len(sessions) > 1 else ""
            yield (
                f"Latency was disturbed{which}: {'; '.join(disturbances)}. Times are longer and "
                "less certain than the machine's own; maskvd doctor says what to do."
            )


def _sessions(points: Iterable[MeasuredPoint]) -> Iterator[KnownDetails]:
    for point in points:
        for record in point.records:
            if record.of == _SESSIONS and record.status == "ok":
                yield record.known_details


def control_notes(controls: Mapping[str, Estimate], baseline: str) -> Iterator[str]:
    """Yield how much of a speed-up is noise, by what each latency session showed."""
    if not controls:
        return
    ratios = " and ".join(estimate_text(control, ".3f") for control in controls.values())
    several = f" in {len(controls)} sessions" if len(controls) > 1 else ""
    yield (
        f"{baseline[:1].upper()}{baseline[1:]} measured twice, interleaved with all points (A/A "
        f"control): ratio {ratios}{several}; speed-ups that deviate from 1 by no more than this "
        "are noise."
    )
    if several:
        yield f"Each speed-up stands on {baseline} of its own latency session."


def estimate_text(estimate: Estimate | StoredEstimate, form: str) -> str:
    """Return `value [low, high]`, or the value alone where it has no interval."""
    return interval_text(estimate.value, estimate.low, estimate.high, form)


def interval_text(value: float, low: float | None, high: float | None, form: str) -> str:
    """Return `value [low, high]`, or the value alone."""
    text = format(value, form)
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{format(low, form)}, {format(high, form)}]"


def _estimate(name: str, estimate: StoredEstimate) -> dict[str, Any]:
    if estimate.low is None and estimate.high is None:
        return {name: estimate.value}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
