"""Which row of a report another is compared with, and what the baseline shows of noise."""

from __future__ import annotations

from typing import Any

import pandas as pd

from maskvd_cli.core.quantity import Estimate
from maskvd_cli.judge.legend import Legend


def control_noise(control: Estimate | None) -> float:
    """Return the largest share by which the baseline against itself (the A/A control) differed."""
    ends = () if control is None else (control.value, control.low, control.high)
    return max((abs(end - 1.0) for end in ends if end is not None), default=0.0)


def baseline_of(rows: pd.DataFrame, legend: Legend) -> list[int | None]:
    """Return for each row the position of the baseline on its model and input, None without one."""
    places: dict[tuple[str, str], int] = {}
    records = rows.to_dict(orient="records")
    for position, row in enumerate(records):
        if legend.is_baseline(row):
            places.setdefault(_place(row), position)
    return [places.get(_place(row)) for row in records]


def _place(row: dict[Any, Any]) -> tuple[str, str]:
    return str(row["model"]), str(row["input"])
