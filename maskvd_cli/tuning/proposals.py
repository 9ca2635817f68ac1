"""What to try next: Optuna's TPE over the trials so far, the same for the same trials and seed."""

# Optuna's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType
from typing import Any

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.extras import imported
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial
from maskvd_cli.tuning.space import Place, Space

# Drawn at random before a model of the space is made.
STARTUP_TRIALS = 10
_ATTEMPTS = 8
_MOST_LISTED = 100_000


def optuna_version() -> str:
    """Return Optuna's version. Raises UsageError where it is not installed."""
    _optuna()
    return version("optuna")


def propose(space: Space, trials: Sequence[Trial], goal: Goal, seed: int) -> dict[str, Any] | None:
    """Return parameters that no trial has had, None where all were tried.

    The sampler is made anew with a seed of its own for each trial, so that what comes next depends
    on the trials and the seed alone, and a search that was killed goes on as if it had not been.
    """
    tried = {space.place(trial.params) for trial in trials}
    if len(tried) >= space.size:
        return None
    optuna = _optuna()
    distributions = {
        name: optuna.distributions.IntDistribution(0, len(values) - 1)
        if space.is_ordered(name)
        else optuna.distributions.CategoricalDistribution(list(range(len(values))))
        for name, values in space.axes.items()
    }
    study = optuna.create_study(direction="minimize")
    # What the choice prefers is looked for: once it exists, a limit held by the whole interval.
    whole = any(goal.holds(trial) for trial in trials)
    over = [goal.excess(trial, whole=whole) for trial in trials]
    study.add_trials(
        _told(optuna, space, distributions, trial, excess)
        for trial, excess in zip(trials, over, strict=True)
    )
    for attempt in range(_ATTEMPTS):
        own_seed = _mixed(seed, len(trials), attempt)
        study.sampler = optuna.samplers.TPESampler(seed=own_seed, n_startup_trials=STARTUP_TRIALS)
        asked = study.ask(distributions)
        place = tuple(int(asked.params[name]) for name in space.axes)
        if place not in tried:
            return space.params(place)
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
    return space.params(_untried(space, tried, random.Random(_mixed(seed, len(trials), -1))))


def _told(
    optuna: ModuleType,
    space: Space,
    distributions: dict[str, Any],
    trial: Trial,
    excess: float | None,
) -> Any:
    """Return a trial as Optuna takes it: indices on the axes, and how far over the limit it is."""
    place = dict(zip(space.axes, space.place(trial.params), strict=True))
    states = optuna.trial.TrialState
    if trial.state == "failed":
        return optuna.trial.create_trial(
            state=states.FAIL, params=place, distributions=distributions
        )
    over = None if excess is None else {"loss": excess}
    # TPE ranks trials over the limit by how far over they are, and does not look at their value.
    value = 0.0 if trial.cost is None else trial.cost.value
    return optuna.trial.create_trial(
        params=place, distributions=distributions, value=value, constraints=over
    )


def _untried(space: Space, tried: set[Place], draw: random.Random) -> Place:
    sizes = [range(len(values)) for values in space.axes.values()]
    if space.size <= _MOST_LISTED:
        return draw.choice([p for p in itertools.product(*sizes) if p not in tried])
    while True:
        place = tuple(draw.choice(size) for size in sizes)
        if place not in tried:
            return place


def _mixed(seed: int, number: int, attempt: int) -> int:
    digest = hashlib.sha256(f"{seed}/{number}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _optuna() -> ModuleType:
    optuna = imported("optuna", "tuning needs Optuna", "tune", UsageError)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
