"""The backbone in training with a method on that loses tokens with depth.

The share of tokens that stay falls from all to what the method's parameters say, as the keep rate
of arXiv 2202.07800: share(t) = (1 + cos(pi t)) / 2 of what will be lost is still there, t from 0 to
1 between `begin` and `begin + length`. Scores choose tokens and get no gradient; features of tokens
that are gone are zero, as at test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.base import TrainableModel
from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.fit import fitted
from maskvd_cli.methods.reducing import ReducingMethod
from maskvd_cli.methods.registry import methods
from maskvd_cli.tasks.detections import Detections
from maskvd_cli.training.recipe import ReductionSection
from maskvd_cli.training.schedule import Schedule


@dataclass(frozen=True)
class Reduction:
    """A method with its parameters, and the steps from `begin` to `end` in which it sets in."""

    method: type[ReducingMethod[Any]]
    params: Params
    begin: int
    end: int

    @classmethod
    def of(
        cls, section: ReductionSection, detector: TrainableModel, schedule: Schedule
    ) -> Reduction:
        """Resolve a recipe's section. Raises UsageError for a method that does not fit."""
        kind = reducing(methods.load(section.name))
        params = fitted(kind, kind.params_type.model_validate(section.params), detector.arch)
        begin = round(section.begin * schedule.unit)
        return cls(kind, params, begin, begin + round(section.length * schedule.unit))

    def share(self, step: int) -> float:
        """Return which share of what will be lost is still there at step 0, 1, ..."""
        if step >= self.end:
            return 0.0
        if step < self.begin:
            return 1.0
        done = (step - self.begin) / (self.end - self.begin)
        return (1 + math.cos(math.pi * done)) / 2

    def features(
        self, detector: TrainableModel, images: Sequence[Tensor], step: int | None = None
    ) -> Tensor:
        """Return the backbone's features (B, N, D) at a step; None: as the training ends."""
        share = 0.0 if step is None else self.share(step)
        method = self.method(self.method.eased(self.params, share), detector.backbone)
        features, _ = method.dense(detector.embed(images), detector.grid)
        return features


@dataclass(frozen=True)
class ReducedDetector:
    """A detector with the reduction on, as the training ends."""

    detector: TrainableModel
    reduction: Reduction

    def __call__(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return the detections of images (3, rows, cols) uint8."""
        return self.detector.finish(self.reduction.features(self.detector, images))


def reducing(method: type[Method[Any]]) -> type[ReducingMethod[Any]]:
    """Return a method that loses tokens with depth. Raises UsageError for any other."""
    if not issubclass(method, ReducingMethod):
        names = [name for name in methods.names() if issubclass(methods.load(name), ReducingMethod)]
        raise UsageError(
            f"{method.name} loses no tokens with depth", remedy=f"use {', '.join(names)}"
        )
    return method
