"""What an installed metric says of itself: order, version of its statistics, pieces, time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.metrics.base import Metric
from maskvd_cli.metrics.registry import metrics

# What a protocol from a file raises that lacks a key, or has another type under it.
_UNFIT = (KeyError, TypeError, ValueError)


def order_of(name: str) -> int:
    """Return the order of a metric's run; the default of all metrics for one not installed."""
    return (_metric(name) or Metric).order


def estimator_of(name: str) -> int | None:
    """Return the version of a metric's statistics, None of one that is not installed."""
    metric = _metric(name)
    return None if metric is None else metric.estimator


def is_together(name: str) -> bool:
    """Tell whether a metric measures all points of a model and input in one session."""
    return (_metric(name) or Metric).together


def parts_of(name: str, protocol: Mapping[str, Any], series: int) -> tuple[str, ...] | None:
    """Return the parts of a whole session; None where the metric or its protocol do not tell."""
    try:
        return (_metric(name) or Metric).parts(protocol, series)
    except _UNFIT:
        return None


def seconds_of(name: str, protocol: Mapping[str, Any], frame_seconds: float | None) -> float | None:
    """Return how long a metric may take for a point; None where that cannot be foretold.

    `frame_seconds`: what a frame takes, None where that is not known.
    """
    try:
        return (_metric(name) or Metric).foretold_seconds(protocol, frame_seconds)
    except _UNFIT:
        return None


@cache
def _metric(name: str) -> type[Metric] | None:
    try:
        return metrics.load(name)
    except MaskvdError:
        return None
