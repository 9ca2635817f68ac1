"""Which trial to take: what the noise cannot tell apart is decided by mAP50."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskvd_cli.core.quantity import Estimate
from maskvd_cli.judge.pareto import Trade, dominating, is_cheaper
from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial

MOST_FINALISTS = 5


@dataclass(frozen=True)
class Choice:
    """The chosen trial; `equal`: others that the noise does not tell apart from the cheapest."""

    trial: Trial
    equal: tuple[Trial, ...]


def explored_front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats by more than noise (`Trade.beats`), the cheapest first.

    Without mAP50 those that cannot be told from the cheapest. Points that were tried under two
    names stand here once.
    """
    once = {trial.key: trial for trial in reversed(trials) if trial.cost is not None}
    known = list(reversed(once.values()))
    beaten_by = dominating([_trade(trial) for trial in known])
    kept = [trial for trial, by in zip(known, beaten_by, strict=True) if by is None]
    return sorted(kept, key=_cost)


def finalists(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """Return the allowed trials on the front among them, the cheapest first, at most five."""
    return explored_front([trial for trial in trials if goal.allows(trial)])[:MOST_FINALISTS]


def choose(candidates: Sequence[Trial]) -> Choice | None:
    """Return the cheapest, or of those that noise does not tell from it the one of best mAP50."""
    measured = sorted((trial for trial in candidates if trial.cost is not None), key=_cost)
    if not measured:
        return None
    cheapest = measured[0]
    least = _known(cheapest.cost)
    equal = [trial for trial in measured if not is_cheaper(least, _known(trial.cost))]
    chosen = max(equal, key=lambda trial: (trial.map50 or 0.0, -_cost(trial)))
    return Choice(chosen, tuple(trial for trial in equal if trial is not chosen))


def nearest(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial that lost least mAP50, None where no trial ran."""
    ran = [trial for trial in trials if trial.state == "ok" and trial.map50_drop is not None]
    return min(ran, key=lambda trial: trial.map50_drop or 0.0, default=None)


def how_sure(trial: Trial, goal: Goal) -> str:
    """Return a sentence on whether the constraint holds with all of its interval or in the mean."""
    change = trial.map50_change
    if change is None or goal.max_map_drop is None:
        return "No mAP50 was measured, so nothing is known of what this costs in accuracy."
    allowed = f"a drop of {goal.max_map_drop:g} points is allowed"
    if change.low is None or change.high is None:
        return (
            f"The change of mAP50 is {change.value:+.2f} points ({allowed}), without an interval: "
            "one clip gives none. Take more clips to be sure."
        )
    text = f"{change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}] points"
    if -change.low <= goal.max_map_drop:
        return f"The constraint holds with the whole 95 % interval: mAP50 {text}; {allowed}."
    return (
        f"The constraint holds in the mean only: mAP50 {text}; {allowed}, and the 95 % interval "
        "reaches beyond it. Take more clips to be sure."
    )


def _trade(trial: Trial) -> Trade:
    """Return what a trial costs and its mAP50, with the interval of its change against dense."""
    quality, change = trial.map50 or 0.0, _known(trial.map50_change)
    low, high = (change.low or 0.0) - change.value, (change.high or 0.0) - change.value
    return Trade(_known(trial.cost), Estimate(quality, quality + low, quality + high))


def _known(estimate: StoredEstimate | None) -> Estimate:
    """Return an interval; a value without one, as counts have none, is compared as it is."""
    if estimate is None:
        return Estimate(0.0, 0.0, 0.0)
    value, low, high = estimate.value, estimate.low, estimate.high
    return Estimate(value, value if low is None else low, value if high is None else high)


def _cost(trial: Trial) -> float:
    assert trial.cost is not None
    return trial.cost.value


def highest(trial: Trial) -> float:
    """Return the upper bound of a measured trial's cost."""
    assert trial.cost is not None
    return trial.cost.value if trial.cost.high is None else trial.cost.high
