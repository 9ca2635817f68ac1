"""AdamW with its groups, and the running average of weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from maskvd_cli.core.errors import UsageError
from maskvd_cli.training.recipe import OptimiserSection

# Of a group: its learning rate as a share of the others'.
SHARE = "share"


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether weight decay applies: not to norms, biases, positions and class token."""
    own = name.endswith((".positions", ".class_token")) or ".relative." in name
    return parameter.ndim > 1 and not own


def adamw(
    module: nn.Module, section: OptimiserSection, rates: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """Return AdamW over all parameters in two groups, with and without weight decay.

    `rates`: for parts of the module, by the beginning of their parameters' names, two groups each
    whose learning rate is that share of the others'; what no beginning fits makes up the last part.
    Raises UsageError for a beginning of no name.
    """
    named, groups = list(module.named_parameters()), list[dict[str, Any]]()
    for start, share in [*(rates or {}).items(), ("", 1.0)]:
        part = [(name, p) for name, p in named if name.startswith(start)]
        named = [(name, p) for name, p in named if not name.startswith(start)]
        if start and not part:
            raise UsageError(
                f"no parameter's name begins with '{start}'",
                remedy="write optimiser.rates as backbone. or a longer beginning",
            )
        if not part:
            continue
        scale = {} if share == 1 else {SHARE: share}
        groups += [
            {"params": [p for n, p in part if decays(n, p)], "weight_decay": section.weight_decay},
            {"params": [p for n, p in part if not decays(n, p)], "weight_decay": 0.0},
        ]
        for group in groups[-2:]:
            group.update(scale)
    return torch.optim.AdamW(groups, lr=section.learning_rate, betas=section.betas)


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Give all groups the learning rate, or their share of it."""
    for group in optimiser.param_groups:
        group["lr"] = value * group.get(SHARE, 1.0)


N = TypeVar("N", bound=nn.Module)


def average_of(module: N) -> N:
    """Return a copy that no gradient reaches, to hold averaged weights."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the weights after step 0, 1, ...

    The decay rises from 0.1 as (1 + step) / (10 + step), so that the first weights are forgotten.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    pairs: Iterable[tuple[torch.Tensor, torch.Tensor]] = zip(
        average.parameters(), module.parameters(), strict=True
    )
    for kept, new in pairs:
        kept.lerp_(new, share)
