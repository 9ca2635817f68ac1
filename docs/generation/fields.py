"""Tables of the fields of pydantic models: name, kind of value, default, meaning."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from generation.regions import table
from maskvd_cli.methods.registry import methods

_PLAIN: dict[object, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Any: "any value",
}
# Bounds that only keep damaged files from overflowing say nothing to a reader.
_MEANINGLESS = 2**53
_SIGNS = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}


def fields_of(place: str) -> str:
    """Return the table of the model at `module:Class`."""
    module, _, name = place.partition(":")
    return fields_table(getattr(import_module(module), name))


def parameters_of(method: str) -> str:
    """Return the table of a registered method's parameters."""
    kind = methods.load(method).params_type
    if not kind.model_fields:
        return "None."
    return fields_table(kind, "parameter")


def fields_table(model: type[BaseModel], heading: str = "field") -> str:
    """Return one row per field, in the model's order."""
    rows = [
        (
            f"`{info.alias or name}`",
            _value(info),
            _default(info),
            info.description or "",
        )
        for name, info in model.model_fields.items()
    ]
    return table((heading, "value", "default", "meaning"), rows)


def kind_of(annotation: object) -> str:
    """Return an annotation in words, for instance `list of whole number`."""
    origin = get_origin(annotation)
    if origin in _COMPOSED:
        return _COMPOSED[origin](get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _PLAIN[annotation]


def _annotated(arguments: tuple[Any, ...]) -> str:
    return " ".join(part for part in (kind_of(arguments[0]), _bounds(arguments[1:])) if part)


def _union(arguments: tuple[object, ...]) -> str:
    return " or ".join(dict.fromkeys(map(kind_of, arguments)))


def _literal(arguments: tuple[object, ...]) -> str:
    return ", ".join(f"`{json.dumps(value)}`" for value in arguments)


def _list(arguments: tuple[object, ...]) -> str:
    return f"list of {kind_of(arguments[0])}"


def _tuple(arguments: tuple[object, ...]) -> str:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return f"list of {kind_of(arguments[0])}"
    kinds = list(map(kind_of, arguments))
    return f"{len(kinds)} x {kinds[0]}" if len(set(kinds)) == 1 else ", ".join(kinds)


def _mapping(arguments: tuple[object, ...]) -> str:
    value = kind_of(arguments[1])
    return "mapping" if value == "any value" else f"mapping of names to {value}"


_COMPOSED: dict[object, Callable[[tuple[Any, ...]], str]] = {
    Annotated: _annotated,
    Union: _union,
    types.UnionType: _union,
    Literal: _literal,
    list: _list,
    tuple: _tuple,
    dict: _mapping,
}


def _bounds(metadata: Iterable[object]) -> str:
    bounds: dict[str, float] = {}
    nonempty = False
    for part in _flat(metadata):
        nonempty |= isinstance(part, MinLen) and part.min_length > 0
        for kind, sign in _SIGNS.items():
            if isinstance(part, kind):
                bound = cast(float, getattr(part, kind.__name__.lower()))
                if abs(bound) < _MEANINGLESS:
                    bounds[sign] = bound
    if set(bounds) == {"≥", "≤"}:
        told = [f"{bounds['≥']:,} to {bounds['≤']:,}"]
    else:
        told = [f"{sign} {bound:,}" for sign, bound in bounds.items()]
    return ", ".join([*told, *(["not empty"] if nonempty else [])])


def _flat(metadata: Iterable[object]) -> Iterable[object]:
    for part in metadata:
        if isinstance(part, FieldInfo):
            yield from part.metadata
        else:
            yield part


def _value(info: FieldInfo) -> str:
    kind, bounds = kind_of(info.annotation), _bounds(info.metadata)
    if not bounds:
        return kind
    kind, null = kind.removesuffix(" or null"), kind.endswith(" or null")
    return f"{kind} {bounds}{', or null' if null else ''}"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, BaseModel):
        return "its own defaults"
    if isinstance(default, list) and any(isinstance(one, BaseModel) for one in default):
        return "one with its own defaults"
    if default == [] and info.json_schema_extra is not None:
        return "see there"
    return f"`{json.dumps(default)}`"
