"""What a search ends with, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskvd_cli.tuning.bench import Bench
from maskvd_cli.tuning.choice import (
    Choice,
    cheaper_in_the_mean,
    cost_of,
    explored_front,
    highest,
    how_sure,
    nearest,
    points_text,
)
from maskvd_cli.tuning.chosen_recipe import recipe_text
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial
from maskvd_cli.tuning.search import Outcome
from maskvd_cli.tuning.words import MEAN_ONLY, cost_header, cost_text, trial_text

_WITHOUT_HEADLINE = 5
_MOST_NAMED = 2


def shown_trials(goal: Goal, outcome: Outcome) -> list[Trial]:
    """Return the baseline and the front that was explored; without a headline the cheapest five."""
    baseline = outcome.baseline
    if baseline.quality is not None:
        front = explored_front([baseline, *outcome.explored], goal)
        return front if baseline in front else [*front, baseline]
    known = [trial for trial in outcome.explored if trial.cost is not None]
    return [*sorted(known, key=cost_of)[:_WITHOUT_HEADLINE], baseline]


def is_in_the_mean_only(goal: Goal, outcome: Outcome) -> bool:
    """Tell whether the choice holds the limit in the mean, and not with its whole interval."""
    return outcome.choice is not None and not goal.holds(outcome.choice.trial)


def verdict(goal: Goal, outcome: Outcome, subset: str | None = None) -> list[str]:
    """Return the sentences below the table: what was chosen, why, and how sure that is.

    `subset`: which part of the data the search ran on, None for all of it.
    """
    choice = outcome.choice
    if choice is None:
        lines = [_none_allowed(goal, outcome)]
    else:
        lines = [*_chosen(goal, outcome, choice), *_measured_again(goal, outcome, choice)]
    return lines if subset is None else [*lines, f"SUBSET ({subset}): not the whole data."]


def _chosen(goal: Goal, outcome: Outcome, choice: Choice) -> list[str]:
    """Return what was chosen, what it was chosen over, and whether the limit surely holds."""
    mark = f", {MEAN_ONLY.upper()}" if is_in_the_mean_only(goal, outcome) else ""
    lines = [f"Chosen{mark}: {trial_text(goal, choice.trial)}."]
    if choice.equal:
        named = choice.equal[:_MOST_NAMED]
        names = ", ".join(f"{cost_text(goal, other.cost)} of {other.label}" for other in named)
        more = len(choice.equal) - len(named)
        names += f" and {more} more" if more else ""
        better = f"{'higher' if goal.more_is_better else 'lower'} {goal.headline.header}"
        lines.append(
            f"Its {cost_header(goal)} cannot be told apart from {names}: the {better} decided."
        )
    lines.append(how_sure(choice.trial, goal))
    cheaper = cheaper_in_the_mean(outcome.explored, choice.trial, goal)
    if cheaper is not None:
        lines.append(f"Cheaper, but within the limit {MEAN_ONLY}: {trial_text(goal, cheaper)}.")
    cost = outcome.baseline.cost
    if cost is not None and highest(choice.trial) >= cost.value:
        lines.append(f"It is not surely better than {goal.baseline}: keep {goal.baseline}.")
    return lines


def _measured_again(goal: Goal, outcome: Outcome, choice: Choice) -> list[str]:
    """Return what was measured once more, and what was not."""
    lines: list[str] = []
    if outcome.confirmed is not None:
        lines.append(
            f"{len(outcome.finalists)} finalists were measured again, interleaved with "
            f"{goal.baseline}, and the choice was made from that: the best of many noisy "
            "measurements is partly luck."
        )
    if choice.trial.quality is not None:
        lines.append(
            f"{goal.headline.header} was not measured again: it is of the clips that the search "
            "has seen, so look at other clips, too."
        )
    return lines


def as_json(bench: Bench, outcome: Outcome, picture: Path | None) -> dict[str, Any]:
    """Return everything that a search ended with, as JSON values; `picture` where one was drawn."""
    choice, goal, content = outcome.choice, bench.goal, outcome.journal.content
    near = nearest(outcome.trials, goal) if choice is None else None
    return {
        "run": str(outcome.journal.run.folder),
        "confirmed_in": str(outcome.confirmed.folder) if outcome.confirmed else None,
        "objective": goal.objective.word,
        "headline": asdict(goal.headline),
        "max_loss": goal.max_loss,
        "seed": content.settings["seed"],
        "ended": outcome.ended,
        "baseline": outcome.baseline.model_dump(mode="json"),
        "trials": [trial.model_dump(mode="json") for trial in outcome.trials],
        "front": [trial.model_dump(mode="json") for trial in shown_trials(goal, outcome)],
        "finalists": [trial.model_dump(mode="json") for trial in outcome.finalists],
        "chosen": choice.trial.model_dump(mode="json") if choice else None,
        "in_the_mean_only": is_in_the_mean_only(goal, outcome),
        "not_told_apart": [trial.key for trial in choice.equal] if choice else [],
        "nearest": near.model_dump(mode="json") if near else None,
        "verdict": verdict(goal, outcome, bench.subset()),
        "picture": str(picture) if picture else None,
        "recipe": recipe_of(bench, outcome) if choice else None,
    }


def recipe_of(bench: Bench, outcome: Outcome) -> str:
    """Return the chosen point beside the baseline as a recipe."""
    assert outcome.choice is not None
    trial, goal, limit = outcome.choice.trial, bench.goal, ""
    if goal.max_loss is not None:
        limit = f", at most {points_text(goal.max_loss)} of {goal.headline.header}"
        limit += f" {MEAN_ONLY}" if is_in_the_mean_only(goal, outcome) else ""
    text = f"chosen by maskvd tune for {goal.objective.word}{limit}: {trial.label}"
    return recipe_text(bench.loaded.recipe, bench.method.name, [trial.params], text)


def _none_allowed(goal: Goal, outcome: Outcome) -> str:
    near = nearest(outcome.trials, goal)
    if near is None:
        failed = [trial.failure for trial in outcome.trials if trial.failure]
        return f"No trial ran: {failed[0]}" if failed else "No trial ran: give more --trials."
    if goal.max_loss is None or goal.allows(near):
        reasons = [trial.failure for trial in outcome.finalists if trial.failure]
        return f"No finalist could be measured: {reasons[0] if reasons else 'no cost was found'}"
    return (
        f"No trial loses at most {points_text(goal.max_loss)} of {goal.headline.header}. The "
        f"nearest: {trial_text(goal, near)}. Allow more, widen --space, or give more --trials."
    )
