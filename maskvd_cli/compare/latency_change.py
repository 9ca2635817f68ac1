"""Whether a point became faster or slower between two runs that were not measured side by side.

Between two sessions the machine may drift, and raw milliseconds drift with it. The baseline ran
interleaved with every point of its session, so times divided by the baseline's decide. Intervals
are Student's t over rounds of two sessions that are not paired in time (Welch). A change smaller
than the ratio of the baseline to itself (the A/A control) is noise.
"""

from __future__ import annotations

import math
from dataclasses import replace

from maskvd_cli.compare.changes import (
    LATENCY,
    MEAN_MS,
    MEDIAN_MS,
    Change,
    Compared,
    Verdict,
    ratio_of,
)
from maskvd_cli.compare.latency_samples import Timed
from maskvd_cli.compare.pairing import Side
from maskvd_cli.metrics.statistics import Uncertain
from maskvd_cli.store.details import TOTAL, KnownDetails
from maskvd_cli.store.measured import StoredEstimate


def noise_floor(a: KnownDetails, b: KnownDetails) -> float:
    """Return the largest ratio, 1 or more, that the baseline against itself showed."""
    controls = [latency.control for latency in (a, b) if latency.control is not None]
    bounds = [bound for control in controls for bound in _bounds(control)]
    return math.exp(max((abs(math.log(bound)) for bound in bounds if bound > 0), default=0.0))


def _bounds(estimate: StoredEstimate) -> list[float]:
    every = (estimate.value, estimate.low, estimate.high)
    return [value for value in every if value is not None]


def latency_changes(
    a: Side, b: Side, of_a: Timed | None, of_b: Timed | None, *, comparable: bool
) -> list[Change]:
    """Return the changes of latency: by speed-up, of the raw mean and of the raw median.

    The baseline has raw times alone. `comparable`: whether both ran on the same hardware.
    """
    if a.latency is None or b.latency is None:
        return []
    floor = noise_floor(a.latency, b.latency)
    if of_a is None or of_b is None:
        changes = _from_summaries(a, b, floor)
    else:
        changes = _from_samples(a, b, of_a, of_b, floor)
    return changes if comparable else [_not_comparable(change) for change in changes]


def _from_samples(a: Side, b: Side, of_a: Timed, of_b: Timed, floor: float) -> list[Change]:
    over = f"Student's t over {of_a.number} and {of_b.number} rounds"
    raw = f"raw ms of two sessions, {over}"
    pairs = (
        (LATENCY, of_a.log_cost(), of_b.log_cost(), f"time / own baseline, {over}"),
        (MEAN_MS, of_a.log_mean(), of_b.log_mean(), raw),
        (MEDIAN_MS, of_a.log_median(), of_b.log_median(), raw),
    )
    changes = [
        _judged(metric, old, new, floor, basis)
        for metric, old, new, basis in pairs
        if old is not None and new is not None
    ]
    return changes if any(c.metric == MEAN_MS for c in changes) else _from_summaries(a, b, floor)


def _judged(metric: Compared, a: Uncertain, b: Uncertain, floor: float, basis: str) -> Change:
    """Judge a ratio of times by its interval and by the noise floor.

    `a` and `b`: logarithms of times; for latency, of times divided by the baseline's.
    """
    sign = -1.0 if metric == LATENCY else 1.0
    old, new = math.exp(sign * a.value), math.exp(sign * b.value)
    estimate = (b - a).ratio()
    change = Change(metric, old, new, new - old, estimate.value, Verdict.NOISE, basis)
    if estimate.low is None or estimate.high is None:
        verdict = Verdict.SAME if estimate.value == 1.0 else Verdict.NO_INTERVAL
        return replace(change, verdict=verdict, basis=f"{basis}: too few")
    if not estimate.low <= 1.0 <= estimate.high and max(estimate.value, 1 / estimate.value) > floor:
        verdict = Verdict.REGRESSION if estimate.value > 1 else Verdict.IMPROVEMENT
        change = replace(change, verdict=verdict)
    return replace(change, low=estimate.low, high=estimate.high)


def _from_summaries(a: Side, b: Side, floor: float) -> list[Change]:
    """Compare stored summaries where raw samples are missing: intervals that overlap are noise."""
    basis = "raw ms, no raw samples"
    times = (
        (MEAN_MS, _mean_ms(a), _mean_ms(b)),
        (MEDIAN_MS, a.value("latency_ms"), b.value("latency_ms")),
    )
    raw = [
        Change(metric, old, new, new - old, ratio_of(old, new), Verdict.NO_INTERVAL, basis)
        for metric, old, new in times
        if old is not None and new is not None
    ]
    first, second = (side.values.get("speedup") for side in (a, b))
    if first is None or second is None or min(first.value, second.value) <= 0:
        return raw
    if first.value == second.value == 1.0:
        return raw
    if (ratio := ratio_of(second.value, first.value)) is None or not ratio:
        return raw
    return [_from_speedups(first, second, ratio, floor), *raw]


def _mean_ms(side: Side) -> float | None:
    """Return the mean that stands for all data, else that of the frames that were timed."""
    mean = side.value("latency_mean_ms")
    if mean is None and side.latency is not None and side.latency.parts is not None:
        return side.latency.parts[TOTAL].mean
    return mean


def _from_speedups(a: StoredEstimate, b: StoredEstimate, ratio: float, floor: float) -> Change:
    verdict = Verdict.NO_INTERVAL
    if a.low is not None and a.high is not None and b.low is not None and b.high is not None:
        beyond = max(a.low, b.low) > min(a.high, b.high) and max(ratio, 1 / ratio) > floor
        better = Verdict.REGRESSION if ratio > 1 else Verdict.IMPROVEMENT
        verdict = better if beyond else Verdict.NOISE
    basis = "stored speed-ups and whether their intervals overlap; no raw samples"
    return Change(LATENCY, a.value, b.value, b.value - a.value, ratio, verdict, basis)


def _not_comparable(change: Change) -> Change:
    return replace(
        change, verdict=Verdict.NOT_COMPARABLE, basis="other hardware", low=None, high=None
    )
