"""What a plan says of its quantities and methods, in the words that sentences and charts use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from maskvd_cli.core.counts import SHARE
from maskvd_cli.store.schema import Plan, StoredFigure, StoredMethod, StoredQuantity

_NO_BASELINE = "the baseline"
_QUALITY = "the headline"


@dataclass(frozen=True)
class Legend:
    """Reads a plan for whoever shows results, which then names no quantity and no method."""

    plan: Plan

    @property
    def headline(self) -> str | None:
        """The name of the quantity that verdicts and fronts are about, None without one."""
        return self.plan.headline

    @property
    def change(self) -> str | None:
        """The name of its change against the baseline."""
        return None if self.headline is None else f"{self.headline}_change"

    @property
    def quality(self) -> str:
        """What people call the headline."""
        return self.header(self.headline) if self.headline else _QUALITY

    @property
    def more_is_better(self) -> bool:
        """Whether a higher headline is the better one."""
        quantity = self.quantities.get(self.headline or "")
        return quantity is None or quantity.more_is_better is not False

    @cached_property
    def quantities(self) -> dict[str, StoredQuantity]:
        """The quantities by name, in the order of columns."""
        return {quantity.name: quantity for quantity in self.plan.quantities}

    def header(self, name: str) -> str:
        """Return what people call a quantity; its name where the plan does not tell."""
        return self.quantities[name].header if name in self.quantities else name

    def axis_title(self, name: str) -> str:
        """Return a quantity's header and unit, as they stand at an axis."""
        if name not in self.quantities:
            return name
        header, unit = self.quantities[name].header, self.quantities[name].unit
        return header if unit in ("", SHARE) or unit in header else f"{header} ({unit})"

    def text(self, name: str, value: float) -> str:
        """Return a quantity's value as tables show it: its digits, shares in per cent."""
        quantity = self.quantities.get(name)
        if quantity is None:
            return f"{value:g}"
        return f"{100 * value if quantity.unit == SHARE else value:.{quantity.digits}f}"

    @cached_property
    def baseline_name(self) -> str | None:
        """The method that others are compared with, None where the plan has none."""
        roles = ((name, method.role) for name, method in self.plan.methods.items())
        return next((name for name, role in roles if role == "baseline"), None)

    @property
    def baseline(self) -> str:
        """What sentences call it."""
        return self.baseline_name or _NO_BASELINE

    @cached_property
    def controls(self) -> frozenset[str]:
        """Methods that know the truth or nothing: no verdict and no front counts them."""
        methods = self.plan.methods.items()
        return frozenset(name for name, method in methods if method.role == "control")

    def is_baseline(self, row: Mapping[Any, Any]) -> bool:
        """Tell whether a row is the baseline itself: every parameter as it is by default."""
        method = self.plan.methods.get(str(row["method"]))
        return method is not None and method.is_baseline(json.loads(row["params"]))

    def columns_of(self, method: str) -> dict[str, str]:
        """Return the parameters of a method that have columns, and their headers."""
        known = self.plan.methods.get(method)
        return {} if known is None else known.columns

    @cached_property
    def parameter_headers(self) -> dict[str, str]:
        """The header of every parameter that has a column, as the first method names it."""
        headers: dict[str, str] = {}
        for method in self.plan.methods.values():
            for name, header in method.columns.items():
                headers.setdefault(name, header)
        return headers

    @cached_property
    def figures(self) -> dict[str, tuple[StoredFigure, tuple[str, ...]]]:
        """The figures that methods of one kind have of their own, with these methods, by name."""
        by_name: dict[str, tuple[StoredFigure, tuple[str, ...]]] = {}
        for name, method in self.plan.methods.items():
            if (figure := method.figure) is not None:
                first, kin = by_name.get(figure.name, (figure, ()))
                by_name[figure.name] = first, (*kin, name)
        return by_name

    def method(self, name: str) -> StoredMethod | None:
        """Return what the plan says of a method."""
        return self.plan.methods.get(name)


def capitalised(text: str) -> str:
    """Return a text that begins a sentence."""
    return f"{text[:1].upper()}{text[1:]}"
