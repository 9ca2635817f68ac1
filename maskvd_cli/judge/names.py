"""What sentences call a point: its label, short of what all points of a report share."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

_SHARED = ("model", "input")


def names_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return a name for each row, such as `method period=8` or `method (model, 192x640)`.

    Model and input stand behind it, and only where the report has several.
    """
    several = [name for name in _SHARED if rows[name].nunique() > 1]
    return tuple(_name(row, several) for row in rows.to_dict(orient="records"))


def _name(row: dict[Any, Any], several: list[str]) -> str:
    params = json.loads(row["params"])
    added = tuple(f"{name}=" for name in _SHARED if name not in params)
    name = " ".join(word for word in row["label"].split(" ") if not word.startswith(added))
    sites = [str(row[column]) for column in several if not pd.isna(row[column])]
    return f"{name} ({', '.join(sites)})" if sites else name
