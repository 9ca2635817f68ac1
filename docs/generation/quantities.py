"""The table of all quantities: columns of reports, and the names of values in result files."""

from __future__ import annotations

from collections.abc import Iterator

from generation.regions import table
from maskvd_cli.core.counts import COUNTED, COUNTS, SHARE
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.metrics.registry import metrics
from maskvd_cli.tasks.registry import tasks

_BETTER = {True: "more", False: "less", None: ""}
_HEADINGS = ("name", "in tables", "unit", "better", "of", "meaning")


def quantities(argument: str = "") -> str:
    """Return a row per quantity: those that are counted, then each metric's in its order."""
    del argument
    rows: dict[str, tuple[str, ...]] = {}
    for of, quantity in _all():
        rows.setdefault(quantity.name, _row(of, quantity))
    return table(_HEADINGS, list(rows.values()))


def _all() -> Iterator[tuple[str, Quantity]]:
    for quantity in COUNTED:
        yield COUNTS, quantity
    for name in tasks.names():
        for quantity in tasks.load(name).counted:
            yield COUNTS, quantity
    kinds = sorted(map(metrics.load, metrics.names()), key=lambda kind: kind.order)
    for kind in kinds:
        for name in tasks.names():
            for quantity in kind.yields(tasks.load(name)):
                yield kind.name, quantity


def _row(of: str, quantity: Quantity) -> tuple[str, ...]:
    unit = "0 to 1, shown as %" if quantity.unit == SHARE else quantity.unit
    better = _BETTER[quantity.more_is_better]
    return f"`{quantity.name}`", quantity.header, unit, better, of, quantity.meaning
