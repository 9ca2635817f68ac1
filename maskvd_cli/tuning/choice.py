"""Which trial to take: what the noise cannot tell apart is decided by the headline.

A trial that holds the limit with the whole interval of its loss is preferred to all that do so in
the mean only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskvd_cli.core.quantity import Estimate
from maskvd_cli.judge.measured import estimate_text
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


def explored_front(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """Return the trials that no other beats by more than noise (`Trade.beats`), the cheapest first.

    Without a headline those that cannot be told from the cheapest. Points that were tried under two
    names stand here once.
    """
    once = {trial.key: trial for trial in reversed(trials) if trial.cost is not None}
    known = list(reversed(once.values()))
    beaten_by = dominating([_trade(trial, goal) for trial in known])
    kept = [trial for trial, by in zip(known, beaten_by, strict=True) if by is None]
    return sorted(kept, key=cost_of)


def finalists(trials: Sequence[Trial], goal: Goal) -> list[Trial]:
    """Return the accepted trials on the front among them, the cheapest first, at most five."""
    measured = [trial for trial in trials if trial.cost is not None]
    return explored_front(goal.accepted(measured), goal)[:MOST_FINALISTS]


def choose(candidates: Sequence[Trial], goal: Goal) -> Choice | None:
    """Return the cheapest of the accepted, or of those that noise does not tell from it the one
    of the best headline."""
    known = goal.accepted([trial for trial in candidates if trial.cost is not None])
    if not known:
        return None
    measured = sorted(known, key=cost_of)
    least = _known(measured[0].cost)
    equal = [trial for trial in measured if not is_cheaper(least, _known(trial.cost))]
    chosen = max(equal, key=lambda trial: (goal.worth(trial), -cost_of(trial)))
    return Choice(chosen, tuple(trial for trial in equal if trial is not chosen))


def nearest(trials: Sequence[Trial], goal: Goal) -> Trial | None:
    """Return the trial that lost least of the headline, None where no trial ran."""
    lost = [(goal.loss(trial), trial) for trial in trials if trial.state == "ok"]
    known = [(loss.value, trial) for loss, trial in lost if loss is not None]
    return min(known, key=lambda pair: pair[0])[1] if known else None


def cheaper_in_the_mean(trials: Sequence[Trial], chosen: Trial, goal: Goal) -> Trial | None:
    """Return the cheapest trial that holds the limit in the mean only and costs less than what was
    chosen, by more than noise; None where there is none, or where the choice holds it no better."""
    if not goal.holds(chosen):
        return None
    rest = [trial for trial in trials if goal.allows(trial) and not goal.holds(trial)]
    cheaper = [trial for trial in rest if is_cheaper(_known(trial.cost), _known(chosen.cost))]
    return min((t for t in cheaper if t.cost is not None), key=cost_of, default=None)


def how_sure(trial: Trial, goal: Goal) -> str:
    """Return a sentence on whether the limit holds with all of its interval or in the mean."""
    change, quantity, name = trial.change, goal.change, goal.headline.header
    if change is None or goal.max_loss is None:
        return f"No {name} was measured, so nothing is known of what this loses."
    allowed = f"a loss of {points_text(goal.max_loss)} is allowed"
    text = f"{name} {estimate_text(change, f'+.{quantity.digits}f')} {quantity.unit}"
    if goal.holds(trial):
        return f"The limit holds with the whole 95 % interval: {text}; {allowed}."
    if change.low is None or change.high is None:
        return (
            f"The limit holds IN THE MEAN ONLY: {text} without an interval, since one clip gives "
            f"none; {allowed}. Take more clips to be sure."
        )
    return (
        f"The limit holds IN THE MEAN ONLY: {text}; {allowed}, and the 95 % interval reaches "
        "beyond it. No trial holds it with the whole interval. Take more clips to be sure."
    )


def points_text(value: float) -> str:
    """Return a number of points of the headline."""
    return f"{value:g} point" if value == 1 else f"{value:g} points"


def _trade(trial: Trial, goal: Goal) -> Trade:
    """Return what a trial costs and its headline, higher is better, with the loss's interval."""
    loss, worth = goal.loss(trial), 0.0 if trial.quality is None else goal.worth(trial)
    if loss is None:
        return Trade(_known(trial.cost), Estimate(worth, worth, worth))
    if loss.low is None or loss.high is None:
        return Trade(_known(trial.cost), Estimate(worth))
    low, high = worth + loss.value - loss.high, worth + loss.value - loss.low
    return Trade(_known(trial.cost), Estimate(worth, low, high))


def _known(estimate: StoredEstimate | None) -> Estimate:
    """Return an interval; a value without one, as counts have none, is compared as it is."""
    if estimate is None:
        return Estimate(0.0, 0.0, 0.0)
    value, low, high = estimate.value, estimate.low, estimate.high
    return Estimate(value, value if low is None else low, value if high is None else high)


def cost_of(trial: Trial) -> float:
    """Return the cost of a measured trial."""
    assert trial.cost is not None
    return trial.cost.value


def highest(trial: Trial) -> float:
    """Return the upper bound of a measured trial's cost."""
    assert trial.cost is not None
    return trial.cost.value if trial.cost.high is None else trial.cost.high
