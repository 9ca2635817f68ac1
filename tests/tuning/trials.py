"""Made-up trials, for what decides among them."""

from __future__ import annotations

from typing import Any

from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.tuning.journal import Trial


def trial(
    number: int,
    cost: tuple[float, ...] | None,
    map50: float | None = 50.0,
    change: tuple[float, ...] | None = (0.0,),
    **others: Any,
) -> Trial:
    """Return a trial; `cost` and `change` are a value, or a value and its interval."""
    given = {
        "params": {}, "label": f"maskvd {number}", "key": f"key-{number}", "state": "ok", **others
    }  # fmt: skip
    return Trial(
        number=number, cost=_estimate(cost), map50=map50, map50_change=_estimate(change), **given
    )


def _estimate(given: tuple[float, ...] | None) -> StoredEstimate | None:
    if given is None:
        return None
    value, low, high = (*given, None, None)[:3]
    return StoredEstimate(value=float(value or 0), low=low, high=high)
