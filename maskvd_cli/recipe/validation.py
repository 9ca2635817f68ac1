"""Data against a pydantic model: one placed line per mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from maskvd_cli.core.errors import near_miss
from maskvd_cli.recipe.source import Document, KeyPath

M = TypeVar("M", bound=BaseModel)


def validated(  # noqa: PLR0913
    kind: type[M],
    data: Mapping[str, Any],
    origins: Mapping[str, KeyPath],
    document: Document,
    problems: list[str],
    *,
    root: KeyPath = (),
    also: Sequence[str] = (),
) -> M | None:
    """Check `data` against `kind`, adding a placed line per mistake; None where there is one.

    Checked as JSON: strict, yet a list may fill a tuple. `origins` maps a key to the place its
    value came from, where that is not below `root`. `also`: keys that others check.
    """
    try:
        return kind.model_validate_json(json.dumps(data))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = tuple(detail["loc"])
            place = _as_written(data, place)
            path = (*root, *place)
            key_itself = len(place) == 1 and detail["type"] == "extra_forbidden"
            if place and place[0] in origins and not key_itself:
                path = (*origins[str(place[0])], *place[1:])
            path = _existing(path, document, detail["type"])
            problems.append(document.problem(path, _explain(detail, kind, place, also)))
        return None


def _as_written(data: object, place: KeyPath) -> KeyPath:
    """Leave out the index of a single member that was written without brackets."""
    path: list[str | int] = []
    for part in place:
        if part == 0 and not isinstance(data, list):
            continue
        path.append(part)
        if isinstance(data, Mapping):
            data = cast(Mapping[Any, object], data).get(part)
        elif isinstance(data, list) and isinstance(part, int):
            items = cast(list[object], data)
            data = items[part] if part < len(items) else None
        else:
            data = None
    return tuple(path)


def position_of(problem: str) -> tuple[int, int]:
    """Return the line and column that a problem names; 0, 0 for one from the command line."""
    found = re.search(r":(\d+):(\d+) ", problem)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _existing(path: KeyPath, document: Document, kind: str) -> KeyPath:
    """Cut what pydantic appends for members of a union, which is no key of the document."""
    if kind in ("missing", "extra_forbidden"):
        return path
    while len(path) > 1 and path not in document.places:
        path = path[:-1]
    return path


def _explain(
    detail: ErrorDetails, kind: type[BaseModel], place: KeyPath, also: Sequence[str]
) -> str:
    given = json.dumps(detail["input"])
    if len(given) > 60:
        given = f"{given[:57]}..."
    if detail["type"] == "extra_forbidden":
        allowed = _allowed_keys(kind, place[:-1])
        if len(place) == 1:
            allowed += also
        if not allowed:
            return "unknown key"
        near = near_miss(str(place[-1]), allowed)
        return f"unknown key{near}; allowed here: {', '.join(allowed)}"
    if detail["type"] == "missing":
        return "missing; add it"
    message = detail["msg"].removeprefix("Value error, ")
    message = f"{message[:1].lower()}{message[1:]}"
    return f"{message} (got {given})" if place else message


def _allowed_keys(kind: type[BaseModel], section: KeyPath) -> list[str]:
    """Return the keys of a section; none where it lies in a list or is one of several kinds."""
    for part in section:
        if isinstance(part, int):
            continue
        fields = kind.model_fields.items()
        field = next((field for name, field in fields if part in (name, field.alias)), None)
        annotation = field.annotation if field else None
        if get_origin(annotation) is list:
            annotation = get_args(annotation)[0]
        several = get_origin(annotation) in (Union, UnionType)
        options = [
            option
            for option in (get_args(annotation) if several else (annotation,))
            if isinstance(option, type) and issubclass(option, BaseModel)
        ]
        if len(options) != 1:
            return []
        kind = options[0]
    return [field.alias or name for name, field in kind.model_fields.items()]
