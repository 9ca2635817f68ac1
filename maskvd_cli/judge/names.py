"""What sentences call a point: its label, short of what all points of a report share."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

_SHARED = ("model", "input")
_IN_RECIPES = {"True": "true", "False": "false", "None": "null"}


def names_of(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return a name for each row, such as `method period=8` or `method (model, 192x640)`.

    Model and input stand behind it, and only where the report has several.
    """
    several = [name for name in _SHARED if rows[name].nunique() > 1]
    return tuple(_name(row, several) for row in rows.to_dict(orient="records"))


def _name(row: dict[Any, Any], several: list[str]) -> str:
    params = json.loads(row["params"])
    added = tuple(f"{name}=" for name in _SHARED if name not in params)
    words = [word for word in row["label"].split(" ") if not word.startswith(added)]
    name = " ".join(_as_in_recipes(word) for word in words)
    sites = [str(row[column]) for column in several if not pd.isna(row[column])]
    return f"{name} ({', '.join(sites)})" if sites else name


def _as_in_recipes(word: str) -> str:
    """Return `name=value` as a recipe writes the value; labels, which keys hold, have Python's."""
    name, equals, value = word.partition("=")
    return f"{name}{equals}{_IN_RECIPES.get(value, value)}"
