"""Steps, epochs and the learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from maskvd_cli.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class Schedule:
    """Everything in optimiser steps; `milestones` empty for the cosine.

    `unit`: steps of the recipe's unit.
    """

    peak: float
    steps: int
    warmup: int
    floor: float
    milestones: tuple[int, ...]
    factor: float
    steps_per_epoch: float
    unit: float = 1.0

    @classmethod
    def of(cls, recipe: TrainingRecipe, frames: int) -> Schedule:
        """Resolve the recipe's schedule for so many frames an epoch."""
        section = recipe.schedule
        steps_per_epoch = frames / (recipe.batch * recipe.accumulate)
        unit = steps_per_epoch if section.unit == "epochs" else 1.0
        return cls(
            recipe.optimiser.learning_rate,
            max(math.ceil(section.length * unit), 1),
            round(section.warmup * unit),
            section.floor,
            tuple(round(milestone * unit) for milestone in section.milestones),
            section.factor,
            steps_per_epoch,
            unit,
        )

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of step 0 .. steps - 1.

        It rises by equal parts to the peak, at the last step of the warm-up, then falls as a cosine
        to the floor at the last step, or by `factor` at each milestone.
        """
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        if self.milestones:
            passed = sum(1 for milestone in self.milestones if step >= milestone)
            return self.peak * self.factor**passed
        done = (step + 1 - self.warmup) / max(self.steps - self.warmup, 1)
        floor = min(self.floor, self.peak)
        return floor + (self.peak - floor) * (1 + math.cos(math.pi * done)) / 2
