"""What a search makes small, what that may cost, and what must be measured for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.quantity import Estimate, Quantity
from maskvd_cli.families.zoo import entry
from maskvd_cli.judge.verdicts import ACCEPTED_LOSS
from maskvd_cli.methods.registry import baseline
from maskvd_cli.metrics.registry import metrics
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS, Recipe
from maskvd_cli.tasks.quantities import change_of
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.tuning.journal import Trial
from maskvd_cli.tuning.objectives import Objective, objective_of, objectives, scores_of


@dataclass(frozen=True)
class Goal:
    """What is made small, and how much of the headline that may cost against the baseline.

    `headline`: of the task; `scored_by`: the metric that measures it. `baseline`: the method's
    name. `max_loss` in points; None: the headline is not measured.
    """

    objective: Objective
    headline: Quantity
    scored_by: str
    baseline: str
    max_loss: float | None

    @property
    def change(self) -> Quantity:
        """The quantity of the headline's change against the baseline."""
        return change_of(self.headline)

    @property
    def more_is_better(self) -> bool:
        """Whether a higher headline is the better one."""
        return self.headline.more_is_better is not False

    @property
    def passes(self) -> list[str]:
        """The metrics of a search, that of the headline first."""
        scores = None if self.max_loss is None else self.scored_by
        return [of for of in (scores, self.objective.of) if of is not None]

    def worth(self, trial: Trial) -> float:
        """Return the headline, turned so that higher is better; the lowest where it is unknown."""
        if trial.quality is None:
            return -math.inf
        return trial.quality if self.more_is_better else -trial.quality

    def loss(self, trial: Trial) -> Estimate | None:
        """Return what a trial loses against the baseline in points, below 0 what it gains."""
        change = trial.change
        if change is None:
            return None
        if not self.more_is_better:
            return Estimate(change.value, change.low, change.high)
        low, high = (None if end is None else -end for end in (change.high, change.low))
        return Estimate(-change.value, low, high)

    def allows(self, trial: Trial) -> bool:
        """Tell whether a trial ran and loses no more than allowed, in the mean."""
        if trial.state == "failed" or self.max_loss is None:
            return trial.state == "ok"
        excess = self.excess(trial)
        return excess is not None and excess <= 0

    def holds(self, trial: Trial) -> bool:
        """Tell whether a trial loses no more than allowed with its whole interval."""
        if trial.state == "failed" or self.max_loss is None:
            return trial.state == "ok"
        loss = self.loss(trial)
        return loss is not None and loss.high is not None and loss.high <= self.max_loss

    def accepted(self, trials: Sequence[Trial]) -> list[Trial]:
        """Return the trials that hold the limit with the whole interval, else those in the mean."""
        sure = [trial for trial in trials if self.holds(trial)]
        return sure or [trial for trial in trials if self.allows(trial)]

    def excess(self, trial: Trial, *, whole: bool = False) -> float | None:
        """Return how many points a loss is over the limit, below 0: within; None: not known.

        `whole`: with the whole interval, where there is one.
        """
        loss = self.loss(trial)
        if loss is None or self.max_loss is None:
            return None
        worst = loss.high if whole and loss.high is not None else loss.value
        return worst - self.max_loss


def goal_of(recipe: Recipe, objective: str, max_loss: float | None) -> Goal:
    """Check that a recipe can be tuned so; where the headline is measured, 1 point may be lost by
    default.

    Raises UsageError for an unknown objective, and where objective or limit need what the recipe
    does not measure.
    """
    if max_loss is not None and not math.isfinite(max_loss):
        raise UsageError(f"a loss of {max_loss} is no limit", remedy="give a number to --max-loss")
    task = tasks.load(entry(recipe.model.name).family.task)
    made_small, weights = objective_of(task, objective), recipe.model.weights
    if weights is None and made_small.of is not None:
        counted = (word for word, known in objectives(task).items() if known.of is None)
        raise UsageError(
            f"objective {objective} needs a model that runs, but the recipe gives no model.weights",
            remedy=f"give a weights file, or choose what is counted: {', '.join(counted)}",
        )
    headline, scored_by = task.headline(), scores_of(task)
    meaningless = weights == RANDOM_WEIGHTS or recipe.dataset.pixels == "noise"
    if weights is None or (meaningless and metrics.load(scored_by).needs_truth):
        if max_loss is not None:
            why = "without model.weights" if weights is None else "of random weights or noise"
            raise UsageError(
                f"there is no {headline.header} {why}, so it cannot be held",
                remedy="give a weights file, or leave --max-loss out",
            )
        return Goal(made_small, headline, scored_by, baseline().name, None)
    allowed = ACCEPTED_LOSS if max_loss is None else max_loss
    return Goal(made_small, headline, scored_by, baseline().name, allowed)
