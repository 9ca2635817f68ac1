"""The metrics by name; installed packages add theirs under the entry-point group."""

from __future__ import annotations

from maskvd_cli.core.registry import Registry
from maskvd_cli.metrics.base import Metric

metrics: Registry[Metric] = Registry(
    "metric",
    Metric,
    "maskvd.metrics",
    {
        "accuracy": "maskvd_cli.metrics.accuracy:Accuracy",
        "energy": "maskvd_cli.metrics.energy:Energy",
        "latency": "maskvd_cli.metrics.latency:Latency",
        "memory": "maskvd_cli.metrics.memory:Memory",
        "track-ap": "maskvd_cli.metrics.track_ap:TrackAp",
    },
)


def every_metric() -> list[type[Metric]]:
    """Return all metrics that work in the order in which they run and stand in tables."""
    return sorted(metrics.working(), key=lambda metric: (metric.order, metric.name))
