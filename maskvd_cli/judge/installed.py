"""What an installed metric says of itself: the order of its run, the version of its statistics."""

from __future__ import annotations

from functools import cache

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.metrics.base import Metric
from maskvd_cli.metrics.registry import metrics


def order_of(name: str) -> int:
    """Return when a metric runs; one that is not installed as one that does not say."""
    return (_metric(name) or Metric).order


def estimator_of(name: str) -> int | None:
    """Return the version of a metric's statistics, None of one that is not installed."""
    metric = _metric(name)
    return None if metric is None else metric.estimator


@cache
def _metric(name: str) -> type[Metric] | None:
    try:
        return metrics.load(name)
    except MaskvdError:
        return None
