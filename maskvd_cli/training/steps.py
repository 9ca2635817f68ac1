"""One optimiser step: a function of the weights, the frames and the step's number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.training.learning import losses_beside
from maskvd_cli.training.masking import features
from maskvd_cli.training.optimiser import set_learning_rate, update_average
from maskvd_cli.training.setup import Training


@dataclass(frozen=True)
class StepReport:
    """What one step did: loss parts, before clipping the norm of all gradients, learning rate.

    `kept`: with a method, what share of the tokens blocks chose.
    """

    losses: dict[str, float]
    gradient_norm: float
    learning_rate: float
    kept: dict[str, float] = field(default_factory=dict[str, float])


def run_step(training: Training, batches: Iterator[list[Any]], step: int) -> StepReport:
    """Learn the next `accumulate` batches in one step: of samples, sequences, or kept features.

    Nothing is drawn but from seeds made of the recipe's seed and `step`, so that a training that
    was stopped goes on as if it had not been. Raises MaskvdError where a gradient is not finite.
    """
    recipe, optimiser = training.recipe, training.optimiser
    optimiser.zero_grad(set_to_none=True)
    summed: dict[str, Tensor] = {}
    kept: dict[str, float] = {}
    for part in range(recipe.accumulate):
        drawn = _generator(recipe.seed, step, part)
        losses, shares = _losses(training, next(batches), drawn, step)
        for name, share in shares.items():
            kept[name] = kept.get(name, 0.0) + share / recipe.accumulate
        (torch.stack(list(losses.values())).sum() / recipe.accumulate).backward()
        for name, loss in losses.items():
            summed[name] = summed.get(name, 0) + loss.detach() / recipe.accumulate
    limit = math.inf if recipe.optimiser.clip is None else recipe.optimiser.clip
    norm = float(torch.nn.utils.clip_grad_norm_(training.module.parameters(), limit))
    if not math.isfinite(norm):
        raise MaskvdError(
            f"gradients are not finite at step {step + 1}",
            remedy="lower optimiser.learning_rate, lengthen schedule.warmup or set optimiser.clip",
        )
    rate = training.schedule.learning_rate(step)
    set_learning_rate(optimiser, rate)
    optimiser.step()
    if training.average is not None:
        update_average(training.average, training.module, recipe.ema, step)
    return StepReport({name: float(loss) for name, loss in summed.items()}, norm, rate, kept)


def _losses(
    training: Training, samples: list[Any], generator: torch.Generator, step: int
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the losses, and with a method what share of the tokens blocks chose."""
    detector, kind = training.detector, training.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=training.autocast):
        if training.learner is not None:
            return losses_beside(training.learner, training.own, detector, samples, generator)
        images = [pixels for pixels, _ in samples]
        targets = [objects for _, objects in samples]
        if training.spatial is not None:
            steps = torch.cat(images).to(training.device)
            return detector.head_losses(steps[:, None], targets, generator), {}
        if training.reduction is None:
            found = features(detector, images, training.kept)
        else:
            found = training.reduction.features(detector, images, step)
        return detector.head_losses(found, targets, generator), {}


def _generator(seed: int, step: int, part: int) -> torch.Generator:
    # Two words of 32 bits: torch takes seeds of up to 64.
    high, low = np.random.SeedSequence([seed, step, part]).generate_state(2).tolist()
    return torch.Generator().manual_seed((high >> 1 << 32) | low)
