"""What a change between two runs is: old, new, by how much, and whether it is more than noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from maskvd_cli.core.errors import UsageError, unknown

# Two sums of the same products differ by no more than this.
_FLOAT_NOISE = 1e-9


class Verdict(StrEnum):
    """What is said of a change; only IMPROVEMENT and REGRESSION are beyond noise."""

    SAME = "same"
    NOISE = "within noise"
    IMPROVEMENT = "improvement"
    REGRESSION = "regression"
    NO_INTERVAL = "no interval"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Metric:
    """A quantity: its name in files, its header for people, digits, and whether more is better."""

    name: str
    header: str
    digits: int
    more_is_better: bool = False
    by_ratio: bool = True


LATENCY = Metric("latency", "latency (speed-up)", 3)
MEAN_MS = Metric("latency_mean_ms", "mean ms", 2)
MEDIAN_MS = Metric("latency_median_ms", "median ms", 2)
MAP50 = Metric("map50", "mAP50", 2, more_is_better=True, by_ratio=False)
GMACS = Metric("gmacs", "GMACs", 3)
TOKENS = Metric("tokens", "tokens", 1)
STATE = Metric("state_mb", "state MB", 2)
PEAK = Metric("peak_mib", "peak MiB", 1)
METRICS = (LATENCY, MEAN_MS, MEDIAN_MS, MAP50, GMACS, TOKENS, STATE, PEAK)


@dataclass(frozen=True)
class Change:
    """One metric of one point in both runs.

    `difference`: new minus old. `ratio`: new / old; of latency the time per frame against the
    session's own dense, where `old` and `new` are speed-ups: 1.2 is 20 % slower. None where old is
    0. `low` and `high`: 95 % interval of the ratio, of mAP50 that of the difference. `basis`: what
    the verdict stands on.
    """

    metric: Metric
    old: float
    new: float
    difference: float
    ratio: float | None
    verdict: Verdict
    basis: str
    low: float | None = None
    high: float | None = None

    @property
    def percent(self) -> float:
        """By how many per cent the new value is larger; infinite where the old one is 0."""
        return math.inf if self.ratio is None else 100.0 * (self.ratio - 1.0)


def exact_change(metric: Metric, old: float, new: float, basis: str = "exact") -> Change:
    """Return the change of a quantity that has no noise: any difference is real."""
    same = math.isclose(old, new, rel_tol=_FLOAT_NOISE, abs_tol=_FLOAT_NOISE)
    better = (new > old) == metric.more_is_better
    verdict = Verdict.IMPROVEMENT if better else Verdict.REGRESSION
    ratio = new / old if old else (1.0 if same else None)
    return Change(metric, old, new, new - old, ratio, Verdict.SAME if same else verdict, basis)


_METRIC_OF = {
    "latency": LATENCY,
    "latency_ms": MEAN_MS,
    "map50": MAP50,
    "gmacs": GMACS,
    "tokens": TOKENS,
    "peak": PEAK,
    "state": STATE,
}
_EXAMPLES = "write METRIC:LIMIT, for instance latency:5%, map50:0.5, gmacs:1%, peak:10"


@dataclass(frozen=True)
class Limit:
    """How much worse a metric may become: in per cent, or in its own unit."""

    metric: Metric
    value: float
    percent: bool
    text: str

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `METRIC:LIMIT` or `METRIC:LIMIT%`. Raises UsageError with examples."""
        name, _, amount = text.partition(":")
        if name not in _METRIC_OF:
            message = unknown("metric", name, _METRIC_OF)
            raise UsageError(message, where=f"--fail-on {text}", remedy=_EXAMPLES)
        try:
            value = float(amount.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            message = f"'{amount}' is no limit, which is a number from 0 on, or one with %"
            raise UsageError(message, where=f"--fail-on {text}", remedy=_EXAMPLES)
        percent = amount.endswith("%")
        if name == "latency" and not percent:
            raise UsageError(
                "speed-ups decide on latency, so its limit is in %",
                where=f"--fail-on {text}",
                remedy="write latency:5%, or latency_ms:2 for milliseconds of raw means",
            )
        return cls(_METRIC_OF[name], value, percent, text)

    def is_exceeded(self, change: Change) -> bool:
        """Tell whether a change is a regression beyond noise and beyond the limit."""
        if change.metric != self.metric or change.verdict is not Verdict.REGRESSION:
            return False
        grown = change.percent if self.percent else change.difference
        return (-grown if self.metric.more_is_better else grown) > self.value
