"""`--set key=value`: change single values of a recipe from the command line."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.recipe.source import Document, KeyPath, parse


def holds_path(key: KeyPath) -> bool:
    """Tell whether the value at a key is a path: of the dataset, a heatmap, a model's weights."""
    paths = (("dataset", "root"), ("heatmap", "file"))
    return key in paths or (key[0] == "model" and key[-1] == "weights")


def apply(document: Document, assignments: Sequence[str]) -> None:
    """Write `a.b=value` assignments into `document`, in order.

    A number in the key is a list index; a word where a list stands addresses the entries with that
    `name` (`methods.maskvd.period=8`), or what they are `called`. Values are YAML (`[4, 8]` makes
    a grid), paths but `null` are taken as they are. Raises RecipeError for all unusable assignments
    at once.
    """
    problems: list[str] = []
    for assignment in assignments:
        try:
            _apply_one(document, assignment)
        except RecipeError as error:
            problems.extend(error.problems)
    if problems:
        raise RecipeError(problems)


def _apply_one(document: Document, assignment: str) -> None:
    origin = f"--set {assignment}"
    key, equals, text = assignment.partition("=")
    parts = tuple(key.strip().split("."))
    if not equals or not all(parts):
        raise RecipeError([f"{origin}: write key=value, for example dataset.root=DIR"])
    is_path = holds_path(parts) and text != "null"
    given = Document(origin, text, {(): origin}) if is_path else parse(text, origin)
    if document.data is None:
        document.data = {}
    for path in _addressed(document.data, parts, (), origin):
        container = document.data
        for part in path[:-1]:
            container = container[part]
        container[path[-1]] = copy.deepcopy(given.data)
        for stale in [known for known in document.places if known[: len(path)] == path]:
            del document.places[stale]
        for end in range(1, len(path)):
            document.places.setdefault(path[:end], origin)
        for below in given.places:
            document.places[(*path, *below)] = origin


def _addressed(data: Any, parts: tuple[str, ...], path: KeyPath, origin: str) -> list[KeyPath]:
    """Return the paths that `parts` names below `data`, making absent sections on the way."""
    head, rest = parts[0], parts[1:]
    if isinstance(data, dict):
        mapping = cast(dict[str, Any], data)
        if not rest:
            return [(*path, head)]
        if mapping.get(head) is None:
            mapping[head] = {}
        return _addressed(mapping[head], rest, (*path, head), origin)
    if isinstance(data, list):
        items = cast(list[Any], data)
        indices = _indices(items, head)
        if not indices:
            dotted = _dotted(path)
            raise RecipeError([f"{origin}: '{head}' is neither an index nor a name in {dotted}"])
        if not rest:
            return [(*path, index) for index in indices]
        return [found for i in indices for found in _addressed(items[i], rest, (*path, i), origin)]
    dotted = _dotted(path)
    raise RecipeError([f"{origin}: {dotted} holds a single value, there is no '{head}' in it"])


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path) or "the recipe"


def _indices(items: list[Any], head: str) -> list[int]:
    if head.isdigit():
        return [index for index in range(len(items)) if str(index) == head]
    return [
        index
        for index, item in enumerate(items)
        if isinstance(item, dict) and _name(cast(dict[str, Any], item)) == head
    ]


def _name(entry: Mapping[str, Any]) -> object:
    """Return what an entry is addressed by: what it is called in its recipe, or its name."""
    return entry.get("called") or entry.get("name")
