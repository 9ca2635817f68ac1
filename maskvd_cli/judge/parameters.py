"""Parameters of any method in a table: some have columns of their own, the others share one."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

# Columns by the parameter that they show. What another method calls by the same name but fills
# with another kind of value has no place in them.
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


def own_columns(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that have columns of their own, by column."""
    return {
        column: params[name]
        for name, (column, _) in _COLUMN_OF.items()
        if name in params and _fits(name, params[name])
    }


def shared_column(named: Mapping[str, Any], shown: Collection[str]) -> str | None:
    """Return parameters as `r=768 update=tokenwise`, without those in the columns `shown`.

    None where nothing is left.
    """
    left = [
        f"{name}={_text(value)}"
        for name, value in named.items()
        if not (name in _COLUMN_OF and _COLUMN_OF[name][0] in shown and _fits(name, value))
    ]
    return " ".join(left) or None


def _fits(name: str, value: Any) -> bool:
    if isinstance(value, int) and abs(value) > _LARGEST:
        return False
    return isinstance(value, _COLUMN_OF[name][1]) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
