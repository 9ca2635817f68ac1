"""What the measured passes found, as columns beside a point's counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.measured import (
    PASSES,
    Accuracy,
    Latency,
    MeasuredRecord,
    Memory,
    StoredEstimate,
)
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan

COLUMNS = (
    "map", "map50_change", "map50_change_low", "map50_change_high", "latency_mean_ms",
    "latency_p90_ms", "latency_full_ms", "latency_masked_ms", "mask_ms", "embed_ms", "backbone_ms",
    "head_ms", "speedup", "speedup_low", "speedup_high", "latency_session", "peak_measured_by",
    "device", "precision", "subset", "energy_mj",
)  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; the bounds are None where there was too little to resample."""

    value: float
    low: float | None = None
    high: float | None = None

    def excludes(self, value: float) -> bool | None:
        """Tell whether a value lies outside the interval; None without one."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= value <= self.high

    def text(self, form: str) -> str:
        """Return `value [low, high]`, or the value alone where it has no interval."""
        return interval_text(self.value, self.low, self.high, form)


@dataclass(frozen=True)
class MeasuredPoint:
    """The records of one point by pass, and why files of it cannot be read.

    `known`: the passes of which a file is there, sound or damaged.
    """

    records: tuple[MeasuredRecord, ...]
    damaged: tuple[ResultError, ...]
    known: frozenset[str] = frozenset()

    def columns(self) -> dict[str, Any]:
        """Return what was measured, by column; what was not has none."""
        found: dict[str, Any] = {}
        for record in self.records:
            if record.accuracy is not None:
                found |= _accuracy(record.accuracy)
            if record.latency is not None:
                found |= _latency(record.latency)
            if record.memory is not None:
                found |= _memory(record.memory)
            if record.energy is not None:
                found["energy_mj"] = record.energy.mj_per_frame
        return found

    def error(self) -> str | None:
        """Return which passes failed and why, None where none did."""
        failed = [f"{r.of}: {r.failure.message}" for r in self.records if r.failure is not None]
        failed += [f"damaged file: {error.message}" for error in self.damaged]
        return "; ".join(failed) or None


def read_measured(run: Run, plan: Plan, key: str) -> MeasuredPoint:
    """Read what the passes of the plan found of a point."""
    records: list[MeasuredRecord] = []
    damaged: list[ResultError] = []
    known: set[str] = set()
    for of in PASSES if plan.measure else ():
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
    """Return of how many of the points that ran each pass of the plan has not run.

    Passes that failed, and files that are damaged, are told in their rows.
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
    found = {name: measured[name] for name in ("device", "precision") if name in measured}
    text = subset_text(setting)
    return found if text is None else {**found, "subset": text}


def subset_text(setting: dict[str, Any]) -> str | None:
    """Return which part of the data was run, None for all of it."""
    subset: dict[str, Any] | None = setting.get("subset")
    if not subset:
        return None
    clips, frames = subset.get("clips"), subset.get("frames")
    parts = [f"first {clips} clip{'s' if clips > 1 else ''}"] if clips else []
    parts += [f"first {frames} frame{'s' if frames > 1 else ''} of each clip"] if frames else []
    return ("smoke: " if subset.get("smoke") else "") + ", ".join(parts)


def session_controls(points: list[MeasuredPoint]) -> dict[str, Interval]:
    """Return for each latency session what dense against itself gave, by session."""
    sessions: dict[str, Interval] = {}
    for latency in _latencies(points):
        if (control := latency.control) is not None:
            found = Interval(control.value, control.low, control.high)
            sessions.setdefault(latency.session, found)
    return sessions


def disturbance_warnings(points: list[MeasuredPoint]) -> Iterator[str]:
    """Yield for each latency session what disturbed it, if anything was seen."""
    sessions = {latency.session: latency.disturbances for latency in _latencies(points)}
    for number, disturbances in enumerate(sessions.values(), 1):
        if disturbances:
            which = f" (session {number} of {len(sessions)})" if len(sessions) > 1 else ""
            yield (
                f"Latency was disturbed{which}: {'; '.join(disturbances)}. Times are longer and "
                "less certain than the machine's own; maskvd doctor says what to do."
            )


def _latencies(points: list[MeasuredPoint]) -> Iterator[Latency]:
    for point in points:
        for record in point.records:
            if record.latency is not None:
                yield record.latency


def control_notes(controls: dict[str, Interval]) -> Iterator[str]:
    """Yield how much of a speed-up is noise, by what each latency session showed."""
    if not controls:
        return
    ratios = " and ".join(control.text(".3f") for control in controls.values())
    several = f" in {len(controls)} sessions" if len(controls) > 1 else ""
    yield (
        "Dense measured twice, interleaved with all points (A/A control): ratio "
        f"{ratios}{several}; speed-ups that deviate from 1 by no more than this are noise."
    )
    if several:
        yield "Each speed-up stands on the dense of its own latency session."


def interval_text(value: float, low: float | None, high: float | None, form: str) -> str:
    """Return `value [low, high]`, or the value alone."""
    text = format(value, form)
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{format(low, form)}, {format(high, form)}]"


def _accuracy(found: Accuracy) -> dict[str, Any]:
    scores = {"map50": found.map50, "map": found.map}
    return {**scores, **_interval("map50_change", found.map50_change)}


def _latency(found: Latency) -> dict[str, Any]:
    total, full, masked = found.parts["total"], found.full, found.masked
    means = {part: spread.mean for part, spread in found.parts.items() if part != "total"}
    parts = {f"{part}_ms": mean for part, mean in (means | found.expected_parts_ms).items()}
    return {
        "latency_ms": total.median,
        "latency_mean_ms": total.mean if found.expected_ms is None else found.expected_ms,
        "latency_p90_ms": total.p90,
        "latency_full_ms": None if full is None else full.median,
        "latency_masked_ms": None if masked is None else masked.median,
        "latency_session": found.session,
        **parts,
        **_interval("speedup", found.speedup),
    }


def _memory(found: Memory) -> dict[str, Any]:
    return {
        "peak_mib": found.peak_mib,
        "peak_measured_by": found.measured_by,
        "state_mb": found.state_bytes / 1e6,
    }


def _interval(name: str, estimate: StoredEstimate | None) -> dict[str, Any]:
    if estimate is None:
        return {}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
