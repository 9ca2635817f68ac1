"""What a plan says of its quantities and methods, so that readers need neither."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from maskvd_cli.core.counts import COUNTED, COUNTS
from maskvd_cli.methods.legend import legend
from maskvd_cli.metrics.registry import every_metric
from maskvd_cli.store.schema import StoredMethod, StoredQuantity
from maskvd_cli.tasks.base import Task


def quantities_of(task: type[Task]) -> list[StoredQuantity]:
    """Return what is counted of points and what all metrics yield; each name once, by the first.

    Also of metrics that are not measured: papers have values for them.
    """
    yielded = [(COUNTS, COUNTED)]
    yielded += [(metric.name, metric.yields(task)) for metric in every_metric()]
    found: dict[str, StoredQuantity] = {}
    for of, quantities in yielded:
        for quantity in quantities:
            found.setdefault(quantity.name, StoredQuantity(**asdict(quantity), of=of))
    return list(found.values())


def methods_of(names: Iterable[str]) -> dict[str, StoredMethod]:
    """Return role, words, columns and style of methods by name."""
    return {name: legend(name) for name in dict.fromkeys(names)}
