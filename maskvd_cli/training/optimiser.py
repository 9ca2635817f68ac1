"""AdamW with its groups, and the running average of weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.training.recipe import OptimiserSection


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether weight decay applies: not to norms, biases, positions and class token."""
    own = name.endswith((".positions", ".class_token")) or ".relative." in name
    return parameter.ndim > 1 and not own


def adamw(detector: Detector, section: OptimiserSection) -> torch.optim.AdamW:
    """Return AdamW over all parameters in two groups, with and without weight decay."""
    named = list(detector.named_parameters())
    groups = [
        {"params": [p for n, p in named if decays(n, p)], "weight_decay": section.weight_decay},
        {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=section.learning_rate, betas=section.betas)


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Give all groups the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = value


def average_of(detector: Detector) -> Detector:
    """Return a copy that no gradient reaches, to hold averaged weights."""
    return copy.deepcopy(detector).requires_grad_(False)


@torch.no_grad()
def update_average(average: Detector, detector: Detector, decay: float, step: int) -> None:
    """Move the average towards the weights after step 0, 1, ...

    The decay rises from 0.1 as (1 + step) / (10 + step), so that the first weights are forgotten.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    pairs: Iterable[tuple[torch.Tensor, torch.Tensor]] = zip(
        average.parameters(), detector.parameters(), strict=True
    )
    for kept, new in pairs:
        kept.lerp_(new, share)
