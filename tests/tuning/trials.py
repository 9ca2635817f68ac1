"""Made-up trials and goals, for what decides among them."""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.quantity import Quantity
from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.quantities import MAP50
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Trial
from maskvd_cli.tuning.objectives import objective_of

# A headline of which less is better.
ERROR = Quantity("error", "mean error", "px", 1, False, "pixels off", comparison="difference")


def goal(word: str = "latency", max_loss: float | None = 1.0, headline: Quantity = MAP50) -> Goal:
    """Return a goal whose headline may be that of another task."""
    return Goal(objective_of(Detection, word), headline, "accuracy", "dense", max_loss)


def trial(
    number: int,
    cost: tuple[float, ...] | None,
    quality: float | None = 50.0,
    change: tuple[float, ...] | None = (0.0,),
    **others: Any,
) -> Trial:
    """Return a trial; `cost` and `change` are a value, or a value and its interval."""
    given = {
        "params": {}, "label": f"maskvd {number}", "key": f"key-{number}", "state": "ok", **others
    }  # fmt: skip
    return Trial(
        number=number, cost=_estimate(cost), quality=quality, change=_estimate(change), **given
    )


def _estimate(given: tuple[float, ...] | None) -> StoredEstimate | None:
    if given is None:
        return None
    value, low, high = (*given, None, None)[:3]
    return StoredEstimate(value=float(value or 0), low=low, high=high)
