"""Which trial to take: what the noise cannot tell apart is decided by mAP50."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskvd_cli.judge.pareto import front
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial

MOST_FINALISTS = 5


@dataclass(frozen=True)
class Choice:
    """The chosen trial; `equal`: others that the noise does not tell apart from the cheapest."""

    trial: Trial
    equal: tuple[Trial, ...]


def explored_front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats in both objective and mAP50, the cheapest first.

    Without mAP50 the cheapest alone. Points that were tried under two names stand here once.
    """
    once = {trial.key: trial for trial in reversed(trials) if trial.cost is not None}
    known = list(reversed(once.values()))
    cost = [trial.cost.value for trial in known if trial.cost is not None]
    quality = [trial.map50 or 0.0 for trial in known]
    kept = [trial for trial, on in zip(known, front(cost, quality), strict=True) if on]
    return sorted(kept, key=_cost)


def finalists(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """Return the allowed trials on the front among them, the cheapest first, at most five."""
    return explored_front([trial for trial in trials if goal.allows(trial)])[:MOST_FINALISTS]


def choose(candidates: Sequence[Trial]) -> Choice | None:
    """Return the cheapest, or of those that lie within its interval the one with the best mAP50."""
    measured = sorted((trial for trial in candidates if trial.cost is not None), key=_cost)
    if not measured:
        return None
    cheapest = measured[0]
    equal = [trial for trial in measured if _cost(trial) <= highest(cheapest)]
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


def _cost(trial: Trial) -> float:
    assert trial.cost is not None
    return trial.cost.value


def highest(trial: Trial) -> float:
    """Return the upper bound of a measured trial's cost."""
    assert trial.cost is not None
    return trial.cost.value if trial.cost.high is None else trial.cost.high
