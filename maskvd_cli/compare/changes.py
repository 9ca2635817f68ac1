"""What a change between two runs is: old, new, by how much, and whether it is more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from maskvd_cli.core.errors import UsageError, unknown
from maskvd_cli.judge.legend import Legend
from maskvd_cli.store.schema import Plan, StoredQuantity

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
class Compared:
    """A quantity as two runs are compared in it.

    Its name in files, its header for people, digits, whether more is better (None: neither is), and
    whether the ratio or the difference of both values says how much it changed.
    """

    name: str
    header: str
    digits: int
    more_is_better: bool | None = False
    by_ratio: bool = True
    noisy: bool = False


# Times are compared in three ways: as a share of the baseline's, and as they are.
LATENCY = Compared("latency", "latency (speed-up)", 3, noisy=True)
MEAN_MS = Compared("latency_mean_ms", "mean ms", 2, noisy=True)
MEDIAN_MS = Compared("latency_median_ms", "median ms", 2, noisy=True)
TIMES = (LATENCY, MEAN_MS, MEDIAN_MS)
# All quantities of this metric are told by these three.
_TIMES_OF = "latency"
_MOST_SPARE = 6
_DIGITS = {"gmacs": 3, "state_mb": 2, "peak_mib": 1}


def compared(quantity: StoredQuantity) -> Compared:
    """Return how two runs are compared in a quantity of a plan."""
    digits = _DIGITS.get(quantity.name, quantity.digits)
    by_ratio, noisy = quantity.comparison != "difference", quantity.comparison != "exact"
    return Compared(
        quantity.name, quantity.header, digits, quantity.more_is_better, by_ratio, noisy
    )


@dataclass(frozen=True)
class Change:
    """One quantity of one point in both runs.

    `difference`: new minus old. `ratio`: new / old; of latency the time per frame against the
    session's own baseline, where `old` and `new` are speed-ups: 1.2 is 20 % slower. None where old
    is 0 or next to it. `low` and `high`: 95 % interval of the ratio, where the metric goes by
    differences that of the difference. `basis`: what the verdict stands on.
    """

    metric: Compared
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


def ratio_of(old: float, new: float) -> float | None:
    """Return new / old; None where old is 0, or so near to it that the ratio is no number."""
    ratio = new / old if old else math.nan
    return ratio if math.isfinite(ratio) else None


def is_better(metric: Compared, old: float, new: float) -> bool:
    """Tell whether a new value is better; where neither direction is, any other is worse."""
    return metric.more_is_better is not None and (new > old) == metric.more_is_better


def exact_change(metric: Compared, old: float, new: float, basis: str = "exact") -> Change:
    """Return the change of a quantity that has no noise: any difference is real."""
    same = math.isclose(old, new, rel_tol=_FLOAT_NOISE, abs_tol=_FLOAT_NOISE)
    verdict = Verdict.IMPROVEMENT if is_better(metric, old, new) else Verdict.REGRESSION
    ratio = ratio_of(old, new) if old or not same else 1.0
    return Change(metric, old, new, new - old, ratio, Verdict.SAME if same else verdict, basis)


def quantities_of(plans: Sequence[Plan]) -> dict[str, Compared]:
    """Return what points of these plans are compared in, by name: times first, then the headline.

    Left out are quantities that follow from others (the change against the baseline, parts of a
    frame's time), and those that tables leave out early.
    """
    metrics = {metric.name: metric for metric in TIMES}
    legends = [Legend(plan) for plan in plans]
    for legend in legends:
        if legend.headline in legend.quantities:
            metrics.setdefault(legend.headline, compared(legend.quantities[legend.headline]))
    for legend in legends:
        changes = {f"{name}_change" for name in legend.quantities}
        for name, quantity in legend.quantities.items():
            follows = name in changes or quantity.of == _TIMES_OF
            if not follows and quantity.spare <= _MOST_SPARE:
                metrics.setdefault(name, compared(quantity))
    return metrics


# Short names that limits may use beside the quantities' own.
_SHORT = {"latency_ms": "latency_mean_ms", "peak": "peak_mib", "state": "state_mb"}


def limit_names(plans: Sequence[Plan]) -> dict[str, Compared]:
    """Return what limits may be set on, by the names that `--fail-on` takes."""
    metrics = quantities_of(plans)
    short = {name: metrics[of] for name, of in _SHORT.items() if of in metrics}
    return {**metrics, **short}


@dataclass(frozen=True)
class Limit:
    """How much worse a metric may become: in per cent, or in its own unit."""

    metric: Compared
    value: float
    percent: bool
    text: str

    @classmethod
    def parse(cls, text: str, plans: Sequence[Plan]) -> Limit:
        """Read `METRIC:LIMIT` or `METRIC:LIMIT%`, a metric of one of the plans.

        Raises UsageError with examples.
        """
        known = limit_names(plans)
        examples = _examples(plans)
        name, _, amount = text.partition(":")
        if name not in known:
            message = unknown("metric", name, known)
            raise UsageError(message, where=f"--fail-on {text}", remedy=examples)
        try:
            value = float(amount.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            message = f"'{amount}' is no limit, which is a number from 0 on, or one with %"
            raise UsageError(message, where=f"--fail-on {text}", remedy=examples)
        percent = amount.endswith("%")
        if name == LATENCY.name and not percent:
            raise UsageError(
                "speed-ups decide on latency, so its limit is in %",
                where=f"--fail-on {text}",
                remedy="write latency:5%, or latency_ms:2 for milliseconds of raw means",
            )
        return cls(known[name], value, percent, text)

    def is_exceeded(self, change: Change) -> bool:
        """Tell whether a change is a regression beyond noise and beyond the limit."""
        if change.metric != self.metric or change.verdict is not Verdict.REGRESSION:
            return False
        grown = change.percent if self.percent else change.difference
        worse = abs(grown) if self.metric.more_is_better is None else grown
        return (-worse if self.metric.more_is_better else worse) > self.value


def _examples(plans: Sequence[Plan]) -> str:
    headlines = dict.fromkeys(plan.headline for plan in plans if plan.headline)
    own = "".join(f"{name}:0.5, " for name in headlines)
    return f"write METRIC:LIMIT, for instance latency:5%, {own}gmacs:1%, peak:10"
