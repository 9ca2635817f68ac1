"""Grids: a list under a scalar parameter stands for one point per value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from maskvd_cli.recipe.schema import EntrySection
from maskvd_cli.recipe.source import KeyPath


@dataclass(frozen=True)
class GridPoint:
    """One point of a grid: its values, and for each value the place it came from."""

    values: dict[str, Any]
    origins: dict[str, KeyPath]


def holds_list(field: FieldInfo) -> bool:
    """Tell whether a parameter is itself a list, so that only a list of lists makes a grid."""
    kinds = (field.annotation, *get_args(field.annotation))
    return any(kind in (list, tuple) or get_origin(kind) in (list, tuple) for kind in kinds)


def expand(
    params: Mapping[str, Any], fields: Mapping[str, FieldInfo], path: KeyPath
) -> Iterator[GridPoint]:
    """Yield every combination of the lists in `params`, the last key varying fastest.

    A parameter whose own type is a list becomes an axis only where its items are lists. An empty
    list yields a combination with the list itself, so that the parameter's type refuses it.
    """
    axes: list[list[tuple[Any, KeyPath]]] = []
    for key, value in params.items():
        here = (*path, key)
        if _is_axis(value, fields.get(key)):
            items = cast(list[Any], value)
            axes.append([(item, (*here, index)) for index, item in enumerate(items)])
        else:
            axes.append([(value, here)])
    for choice in itertools.product(*axes):
        named = list(zip(params, choice, strict=True))
        yield GridPoint(
            {key: value for key, (value, _) in named}, {key: where for key, (_, where) in named}
        )


def _is_axis(value: Any, field: FieldInfo | None) -> bool:
    if not isinstance(value, list) or not value:
        return False
    if field is None or not holds_list(field):
        return True
    return all(isinstance(item, list) for item in cast(list[Any], value))


def count(params: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> int:
    """Return how many combinations `expand` yields, without making them."""
    total = 1
    for key, value in params.items():
        if _is_axis(value, fields.get(key)):
            total *= len(value)
    return total


def grid_schema(params: type[BaseModel], name: str) -> dict[str, Any]:
    """Return the JSON schema of one method's entry: every parameter, or a list of its values.

    An entry also has the keys of `EntrySection`. It refers to its own `$defs`, if any, as
    `name.key` among the definitions of the whole schema.
    """
    schema = params.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    properties = cast(dict[str, Any], schema.setdefault("properties", {}))
    for key, value in properties.items():
        notes = {k: value.pop(k) for k in ("description", "default", "title") if k in value}
        listed = {"type": "array", "items": value, "minItems": 1}
        properties[key] = {"anyOf": [value, listed], **notes}
    entry = EntrySection.model_json_schema()["properties"]
    schema["properties"] = {**entry, "name": {"const": name}, **properties}
    schema["required"] = ["name", *schema.get("required", [])]
    schema["title"] = name
    return schema
