"""The table of what metrics say beside their values, for each task where it depends on that."""

from __future__ import annotations

from generation.regions import table
from maskvd_cli.metrics.base import Metric
from maskvd_cli.metrics.registry import every_metric
from maskvd_cli.tasks.registry import tasks


def details(argument: str = "") -> str:
    """Return a row per key: metrics in their order, and within one its tasks by name."""
    del argument
    rows = [row for metric in every_metric() for row in _rows(metric)]
    return table(("metric", "task", "key of `details`", "meaning"), rows)


def _rows(metric: type[Metric]) -> list[tuple[str, ...]]:
    by_task = {name: metric.details_of(tasks.load(name)) for name in tasks.names()}
    shared = [key for key in metric.details if all(key in told for told in by_task.values())]
    rows = [
        (metric.name, name, f"`{key}`", meaning)
        for name, told in by_task.items()
        for key, meaning in told.items()
        if key not in shared
    ]
    return rows + [(metric.name, "", f"`{key}`", metric.details[key]) for key in shared]
