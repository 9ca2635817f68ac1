"""Sizes as recipes write them: rows x columns, one or several, or a word in their place."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from maskvd_cli.core.size import Size

DEFAULT_INPUT = "672x672"


def _size_or(word: str | None) -> BeforeValidator:
    """Return the check of a size in text, or of one word that may stand in its place."""

    def check(value: object) -> object:
        if value is None or value == word:
            return value
        alternative = f", or {word}" if word else ""
        try:
            return str(Size.parse(str(value)))
        except ValueError as error:
            reason = f"write rows x columns, for example 384x1280{alternative}"
            raise ValueError(reason) from error

    return BeforeValidator(check)


_PATTERN = "[1-9][0-9]*x[1-9][0-9]*"
SizeText = Annotated[str, _size_or(None), Field(json_schema_extra={"pattern": f"^{_PATTERN}$"})]
FrameText = Annotated[
    str, _size_or("fit"), Field(json_schema_extra={"pattern": f"^({_PATTERN}|fit)$"})
]
CanvasText = Annotated[
    str, _size_or("input"), Field(json_schema_extra={"pattern": f"^({_PATTERN}|input)$"})
]


def listed(value: object) -> object:
    """Return a list of what stands alone, for fields that take one or several."""
    return cast(list[object], value) if isinstance(value, list) else [value]


def _each_once(inputs: list[str]) -> list[str]:
    for text in inputs:
        if inputs.count(text) > 1:
            raise ValueError(f"{text} stands here twice; remove one")
    return inputs


_ONE_INPUT = {"type": "string", "pattern": f"^{_PATTERN}$"}
INPUTS_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _ONE_INPUT,
        {"type": "array", "items": _ONE_INPUT, "minItems": 1, "uniqueItems": True},
    ]
}
Inputs = Annotated[
    list[SizeText],
    BeforeValidator(listed),
    Field(min_length=1),
    AfterValidator(_each_once),
    WithJsonSchema(INPUTS_SCHEMA),
]
