"""Parameters of any method in a table: some have columns of their own, the others share one."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

# Columns that every CSV has, by the parameter that they show. What another method calls by the
# same name but fills with another kind of value has no place in them.
_COLUMN_OF: dict[str, tuple[str, tuple[type, ...]]] = {
    "version": ("version", (str,)),
    "mask": ("mask", (str,)),
    "period": ("period", (int,)),
    "static_keep_rate": ("static_keep_rate", (int, float)),
    "score_threshold": ("score_threshold", (int, float)),
    "margin": ("margin", (int,)),
    "r": ("r", (int,)),
    "update": ("update", (str,)),
    "pool": ("pool", (int,)),
    # Not to be taken for the keep rate that results, which is a column too.
    "keep_rate": ("param_keep_rate", (int, float)),
}
_LARGEST = 2**53


def column_of(name: str) -> str:
    """Return the column of a parameter; those that not every CSV has begin with `param_`."""
    return _COLUMN_OF[name][0] if name in _COLUMN_OF else f"param_{name}"


def own_columns(params: Mapping[str, Any], columns: Collection[str] = ()) -> dict[str, Any]:
    """Return the parameters that have columns of their own, by column.

    `columns`: the parameters that have one because their method says so.
    """
    return {
        column_of(name): value
        for name, value in params.items()
        if (name in _COLUMN_OF or name in columns) and _fits(name, value)
    }


def shared_column(named: Mapping[str, Any], shown: Collection[str]) -> str | None:
    """Return parameters as `r=768 update=tokenwise`, without those in the columns `shown`.

    None where nothing is left.
    """
    left = [
        f"{name}={_text(value)}"
        for name, value in named.items()
        if not (column_of(name) in shown and _fits(name, value))
    ]
    return " ".join(left) or None


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, int) and abs(value) > _LARGEST:
        return False
    kinds = _COLUMN_OF[name][1] if name in _COLUMN_OF else (str, int, float)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
