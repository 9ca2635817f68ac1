"""Which row of a report is the dense one that another is compared with, and what dense shows."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from maskvd_cli.core.point import changes_nothing
from maskvd_cli.judge.measured import Interval

BASELINE = "dense"
# They choose tokens by the truth or by chance: what selection can gain, and what it must beat.
CONTROLS = ("oracle", "random")


def is_baseline(row: Any) -> bool:
    """Tell whether a row is plain dense: with no parameter that changes what it computes."""
    return bool(row["method"] == BASELINE and changes_nothing(json.loads(row["params"])))


def control_noise(control: Interval | None) -> float:
    """Return the largest share by which dense against itself (the A/A control) differed."""
    ends = () if control is None else (control.value, control.low, control.high)
    return max((abs(end - 1.0) for end in ends if end is not None), default=0.0)


def baseline_of(rows: pd.DataFrame) -> list[int | None]:
    """Return for each row the position of plain dense on its model and input, None without one."""
    places: dict[tuple[str, str], int] = {}
    found = rows.to_dict(orient="records")
    for position, row in enumerate(found):
        if is_baseline(row):
            places.setdefault(_place(row), position)
    return [places.get(_place(row)) for row in found]


def _place(row: dict[Any, Any]) -> tuple[str, str]:
    return str(row["model"]), str(row["input"])
