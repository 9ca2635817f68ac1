"""Whether a point became faster or slower between two runs that were not measured side by side.

Between two sessions the machine may drift, and raw milliseconds drift with it. Dense ran
interleaved with every point of its session, so times divided by their own dense decide. Intervals
come from a bootstrap over rounds, or over the frames of a few, apart for each session, since those
of different sessions are not paired in time. What dense against itself showed (the A/A control) is
the least that counts as a change.
"""

from __future__ import annotations

import math
from dataclasses import replace

from maskvd_cli.compare.changes import LATENCY, MEAN_MS, MEDIAN_MS, Change, Metric, Verdict
from maskvd_cli.compare.latency_samples import Timed, Values
from maskvd_cli.compare.pairing import Side
from maskvd_cli.metrics.statistics import percentile_interval
from maskvd_cli.store.measured import Latency, StoredEstimate


def noise_floor(a: Latency, b: Latency) -> float:
    """Return the largest ratio, 1 or more, that dense against itself showed in either session."""
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

    Dense has raw times alone. `comparable`: whether both ran on the same hardware.
    """
    if a.latency is None or b.latency is None:
        return []
    floor = noise_floor(a.latency, b.latency)
    if of_a is None or of_b is None:
        made = _from_summaries(a.latency, b.latency, floor)
    else:
        made = _from_samples(a.latency, b.latency, of_a, of_b, floor)
    return made if comparable else [_not_comparable(change) for change in made]


def _from_samples(a: Latency, b: Latency, of_a: Timed, of_b: Timed, floor: float) -> list[Change]:
    drawn_a, drawn_b = of_a.resampled(0), of_b.resampled(1)
    enough = min(len(of_a.own), len(of_b.own)) > 1
    drawn = f"bootstrap over {of_a.drawn} and {of_b.drawn}"
    raw = f"raw ms of two sessions, {drawn}"
    medians = a.parts["total"].median, b.parts["total"].median
    made = [
        _judged(MEAN_MS, (of_a.mean_ms, of_b.mean_ms), drawn_b.mean / drawn_a.mean, floor, raw),
        _judged(MEDIAN_MS, medians, drawn_b.median / drawn_a.median, floor, raw),
    ]
    if of_a.speedup is not None and of_b.speedup is not None:
        speedups = (of_a.speedup, of_b.speedup)
        basis = f"time / own dense, {drawn}"
        made.insert(0, _judged(LATENCY, speedups, drawn_b.cost / drawn_a.cost, floor, basis))
    return made if enough else [_without_interval(change) for change in made]


def _without_interval(change: Change) -> Change:
    verdict = Verdict.SAME if change.ratio == 1.0 else Verdict.NO_INTERVAL
    return replace(change, verdict=verdict, basis=f"{change.basis}: too few", low=None, high=None)


def _judged(
    metric: Metric, values: tuple[float, float], spread: Values, floor: float, basis: str
) -> Change:
    """Judge a ratio of times by the interval of its resamples and by the noise floor."""
    old, new = values
    ratio = old / new if metric == LATENCY else new / old
    low, high = percentile_interval(spread)
    verdict = Verdict.REGRESSION if ratio > 1 else Verdict.IMPROVEMENT
    if low <= 1.0 <= high or max(ratio, 1 / ratio) <= floor:
        verdict = Verdict.NOISE
    return Change(metric, old, new, new - old, ratio, verdict, basis, low, high)


def _from_summaries(a: Latency, b: Latency, floor: float) -> list[Change]:
    """Compare stored summaries where raw samples are missing: intervals that overlap are noise."""
    means = [x.expected_ms or x.parts["total"].mean for x in (a, b)]
    medians = [x.parts["total"].median for x in (a, b)]
    basis = "raw ms, no raw samples"
    raw = [
        Change(metric, old, new, new - old, new / old if old else None, Verdict.NO_INTERVAL, basis)
        for metric, (old, new) in ((MEAN_MS, means), (MEDIAN_MS, medians))
    ]
    first, second = a.speedup, b.speedup
    if first is None or second is None or min(first.value, second.value) <= 0:
        return raw
    if first.value == second.value == 1.0:
        return raw
    return [_from_speedups(first, second, floor), *raw]


def _from_speedups(a: StoredEstimate, b: StoredEstimate, floor: float) -> Change:
    ratio, verdict = a.value / b.value, Verdict.NO_INTERVAL
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
