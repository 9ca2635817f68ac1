"""What a search ends with, as text and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskvd_cli.judge.measured import interval_text
from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.tuning.bench import Bench
from maskvd_cli.tuning.choice import explored_front, highest, how_sure, nearest
from maskvd_cli.tuning.chosen_recipe import recipe_text
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Objective, Trial
from maskvd_cli.tuning.search import Outcome

# Header and format of each objective.
_SHOWN: dict[Objective, tuple[str, str]] = {
    "latency": ("time / dense", ".3f"),
    "gmacs": ("GMACs", ".3f"),
    "tokens": ("tokens", ".1f"),
    "peak": ("peak MiB", ".1f"),
}
_WITHOUT_MAP50 = 5
_MOST_NAMED = 2


def cost_header(goal: Goal) -> str:
    """Return what the objective is called above a column."""
    return _SHOWN[goal.objective][0]


def cost_text(goal: Goal, cost: StoredEstimate | None) -> str:
    """Return the objective's value with its interval, or that there is none."""
    if cost is None:
        return "-"
    return interval_text(cost.value, cost.low, cost.high, _SHOWN[goal.objective][1])


def change_text(trial: Trial) -> str:
    """Return the change of mAP50 with its interval."""
    change = trial.map50_change
    return "-" if change is None else interval_text(change.value, change.low, change.high, "+.2f")


def trial_text(goal: Goal, trial: Trial) -> str:
    """Return one line on a trial."""
    if trial.state == "failed":
        return f"{trial.label}: failed: {trial.failure}"
    parts = [] if trial.map50 is None else [f"mAP50 {trial.map50:.2f} ({change_text(trial)})"]
    if trial.cost is not None:
        parts.append(f"{cost_header(goal)} {cost_text(goal, trial.cost)}")
    if not goal.allows(trial):
        parts.append("over the limit" + (", not timed" if trial.cost is None else ""))
    return f"{trial.label}: {', '.join(parts)}"


def shown_trials(outcome: Outcome) -> list[Trial]:
    """Return dense and the front that was explored; without mAP50 dense and the cheapest five."""
    explored = [outcome.dense, *outcome.explored]
    if outcome.dense.map50 is not None:
        front = explored_front(explored)
        return front if outcome.dense in front else [*front, outcome.dense]
    known = [trial for trial in outcome.explored if trial.cost is not None]
    cheapest = sorted(known, key=lambda trial: trial.cost.value if trial.cost else 0.0)
    return [*cheapest[:_WITHOUT_MAP50], outcome.dense]


def verdict(goal: Goal, outcome: Outcome, subset: str | None = None) -> list[str]:
    """Return the sentences below the table: what was chosen, why, and how sure that is.

    `subset`: which part of the data the search ran on, None for all of it.
    """
    lines = _verdict(goal, outcome)
    return lines if subset is None else [*lines, f"SUBSET ({subset}): not the whole data."]


def _verdict(goal: Goal, outcome: Outcome) -> list[str]:
    choice = outcome.choice
    if choice is None:
        return [_none_allowed(goal, outcome)]
    trial = choice.trial
    lines = [f"Chosen: {trial_text(goal, trial)}."]
    if choice.equal:
        named = choice.equal[:_MOST_NAMED]
        names = ", ".join(f"{cost_text(goal, other.cost)} of {other.label}" for other in named)
        more = len(choice.equal) - len(named)
        names += f" and {more} more" if more else ""
        lines.append(
            f"Its {cost_header(goal)} cannot be told apart from {names}: the higher mAP50 decided."
        )
    lines.append(how_sure(trial, goal))
    dense = outcome.dense.cost
    if dense is not None and highest(trial) >= dense.value:
        lines.append("It is not surely better than dense: keep dense.")
    if outcome.confirmed is not None:
        lines.append(
            f"{len(outcome.finalists)} finalists were measured again, interleaved with dense, and "
            "the choice was made from that: the best of many noisy measurements is partly luck."
        )
    if trial.map50 is not None:
        lines.append(
            "mAP50 was not measured again: it is of the clips that the search has seen, so look "
            "at other clips, too."
        )
    return lines


def as_json(bench: Bench, outcome: Outcome, picture: Path | None) -> dict[str, Any]:
    """Return everything that a search ended with, as JSON values; `picture` where one was drawn."""
    choice, goal, content = outcome.choice, bench.goal, outcome.journal.content
    near = nearest(outcome.trials) if choice is None else None
    return {
        "run": str(outcome.journal.run.folder),
        "confirmed_in": str(outcome.confirmed.folder) if outcome.confirmed else None,
        "objective": goal.objective,
        "max_map_drop": goal.max_map_drop,
        "seed": content.settings["seed"],
        "ended": outcome.ended,
        "dense": outcome.dense.model_dump(mode="json"),
        "trials": [trial.model_dump(mode="json") for trial in outcome.trials],
        "front": [trial.model_dump(mode="json") for trial in shown_trials(outcome)],
        "finalists": [trial.model_dump(mode="json") for trial in outcome.finalists],
        "chosen": choice.trial.model_dump(mode="json") if choice else None,
        "not_told_apart": [trial.key for trial in choice.equal] if choice else [],
        "nearest": near.model_dump(mode="json") if near else None,
        "verdict": verdict(goal, outcome, bench.subset()),
        "picture": str(picture) if picture else None,
        "recipe": recipe_of(bench, outcome) if choice else None,
    }


def recipe_of(bench: Bench, outcome: Outcome) -> str:
    """Return the chosen point beside dense as a recipe."""
    assert outcome.choice is not None
    trial, goal = outcome.choice.trial, bench.goal
    limit = "" if goal.max_map_drop is None else f", at most {goal.max_map_drop:g} points of mAP50"
    text = f"chosen by maskvd tune for {goal.objective}{limit}: {trial.label}"
    return recipe_text(bench.loaded.recipe, bench.method.name, [trial.params], text)


def _none_allowed(goal: Goal, outcome: Outcome) -> str:
    near = nearest(outcome.trials)
    if near is None:
        failed = [trial.failure for trial in outcome.trials if trial.failure]
        return f"No trial ran: {failed[0]}" if failed else "No trial ran: give more --trials."
    if goal.allows(near):
        reasons = [trial.failure for trial in outcome.finalists if trial.failure]
        return f"No finalist could be measured: {reasons[0] if reasons else 'no cost was found'}"
    return (
        f"No trial loses at most {goal.max_map_drop:g} points of mAP50. The nearest: "
        f"{trial_text(goal, near)}. Allow more, widen --space, or give more --trials."
    )
