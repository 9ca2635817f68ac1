"""Quantities: what a number is called, its unit, its digits, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Comparison = Literal["exact", "ratio", "difference"]


@dataclass(frozen=True)
class Quantity:
    """A measured or counted number of a point, described for files, tables, charts and limits.

    `name` in files and columns (lower case, units in the name where it has one); `header` for
    people; `unit` as printed, empty where it has none; `digits` after the point; `more_is_better`
    None where neither direction is; `meaning` one line for legends and references; `comparison`
    how two runs are compared: `exact` values have no noise, others by their `ratio` or
    `difference`; `spare` how dispensable a column is where a table is too narrow, 0: never left
    out.
    """

    name: str
    header: str
    unit: str
    digits: int
    more_is_better: bool | None
    meaning: str
    comparison: Comparison = "exact"
    spare: int = 0


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the bounds are None where too little was measured for one."""

    value: float
    low: float | None = None
    high: float | None = None

    def excludes(self, value: float) -> bool | None:
        """Tell whether a value lies outside the interval; None without one."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= value <= self.high
