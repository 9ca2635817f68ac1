"""Trials in words: values as their quantities say, one line on each trial."""

from __future__ import annotations

from maskvd_cli.core.counts import SHARE
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.judge.measured import interval_text
from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial

NONE = "-"
MEAN_ONLY = "in the mean only"


def cost_header(goal: Goal) -> str:
    """Return what the objective is called above a column."""
    return goal.objective.shown.header


def cost_text(goal: Goal, cost: StoredEstimate | None) -> str:
    """Return the objective's value with its interval, or that there is none."""
    return _text(goal.objective.shown, cost)


def quality_text(goal: Goal, trial: Trial) -> str:
    """Return the headline, or that there is none."""
    return NONE if trial.quality is None else f"{trial.quality:.{goal.headline.digits}f}"


def change_text(goal: Goal, trial: Trial) -> str:
    """Return the change of the headline with its interval."""
    return _text(goal.change, trial.change, sign="+")


def axis_title(quantity: Quantity) -> str:
    """Return a quantity's header and unit, as they stand at an axis."""
    header, unit = quantity.header, quantity.unit
    return header if unit in ("", SHARE) or unit in header else f"{header} ({unit})"


def scale_of(quantity: Quantity) -> float:
    """Return what values are multiplied with to be read by people: shares are in per cent."""
    return 100.0 if quantity.unit == SHARE else 1.0


def note_of(goal: Goal, trial: Trial) -> str:
    """Return how a trial stands to the limit; nothing where all of its interval is within."""
    if trial.state == "failed" or goal.holds(trial):
        return ""
    if goal.allows(trial):
        return MEAN_ONLY
    return "over the limit" + (", not measured further" if trial.cost is None else "")


def noted_text(goal: Goal, trial: Trial) -> str:
    """Return one line on a trial, and how it stands to the limit."""
    note = note_of(goal, trial) if trial.number else ""
    return trial_text(goal, trial) + (note and f", {note}")


def trial_text(goal: Goal, trial: Trial) -> str:
    """Return one line on a trial."""
    if trial.state == "failed":
        return f"{trial.label}: failed: {trial.failure}"
    parts: list[str] = []
    if trial.quality is not None:
        header = goal.headline.header
        parts.append(f"{header} {quality_text(goal, trial)} ({change_text(goal, trial)})")
    if trial.cost is not None:
        parts.append(f"{cost_header(goal)} {cost_text(goal, trial.cost)}")
    return f"{trial.label}: {', '.join(parts)}"


def _text(quantity: Quantity, estimate: StoredEstimate | None, sign: str = "") -> str:
    if estimate is None:
        return NONE
    scale = scale_of(quantity)
    low, high = (None if end is None else scale * end for end in (estimate.low, estimate.high))
    return interval_text(scale * estimate.value, low, high, f"{sign}.{quantity.digits}f")
