"""What a search makes small, what that may cost, and what must be measured for it."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.errors import UsageError
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS, Recipe
from maskvd_cli.tuning.journal import Objective, Trial

# The pass that measures an objective; others are counted with every point.
PASS_OF: dict[Objective, str] = {"latency": "latency", "peak": "memory"}


@dataclass(frozen=True)
class Goal:
    """What is made small, and how many points of mAP50 that may cost; None: mAP50 is unknown."""

    objective: Objective
    max_map_drop: float | None

    def allows(self, trial: Trial) -> bool:
        """Tell whether a trial ran and loses no more than allowed, in the mean."""
        if trial.state == "failed":
            return False
        drop = trial.map50_drop
        return self.max_map_drop is None or (drop is not None and drop <= self.max_map_drop)


def goal_of(recipe: Recipe, objective: Objective, max_map_drop: float | None) -> Goal:
    """Check that a recipe can be tuned so; where mAP50 is measured, 1 point may be lost by default.

    Raises UsageError where objective or constraint need what the recipe does not measure.
    """
    weights = recipe.model.weights
    if weights is None and objective in PASS_OF:
        raise UsageError(
            f"objective {objective} needs a model that runs, but the recipe gives no model.weights",
            remedy="give a weights file, or choose gmacs or tokens",
        )
    meaningless = weights == RANDOM_WEIGHTS or recipe.dataset.pixels == "noise"
    if weights is None or meaningless:
        if max_map_drop is not None:
            why = "without model.weights" if weights is None else "of random weights or noise"
            raise UsageError(
                f"there is no mAP50 {why}, so it cannot be held",
                remedy="give a weights file, or leave --max-map-drop out",
            )
        return Goal(objective, None)
    return Goal(objective, 1.0 if max_map_drop is None else max_map_drop)


def passes_of(recipe: Recipe, goal: Goal) -> list[str]:
    """Return the passes of a search, accuracy first."""
    if recipe.model.weights is None:
        return []
    passes: list[str] = [] if goal.max_map_drop is None else ["accuracy"]
    if goal.objective in PASS_OF:
        passes.append(PASS_OF[goal.objective])
    return passes
