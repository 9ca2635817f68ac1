"""Read a recipe file with overrides into checked sections and points, all mistakes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from maskvd_cli.core.errors import RecipeError, unknown
from maskvd_cli.recipe import grid, overrides
from maskvd_cli.recipe.paths import absolute_path
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS, EntrySection, Recipe
from maskvd_cli.recipe.source import Document, KeyPath, read_file
from maskvd_cli.recipe.validation import position_of, validated

_MOST_POINTS = 10_000
_OF_ENTRIES = tuple(EntrySection.model_fields)


@dataclass(frozen=True)
class Choices:
    """What a dataset offers: the names of its splits and protocols."""

    splits: Sequence[str]
    protocols: Sequence[str]


@dataclass(frozen=True)
class Catalog:
    """The names that a recipe may use; handed in, so that this room knows no method or dataset."""

    methods: Sequence[str]
    models: Sequence[str]
    datasets: Sequence[str]
    params_of: Callable[[str], type[BaseModel]]
    choices_of: Callable[[str], Choices]


@dataclass(frozen=True)
class MethodPoint:
    """One method with one value for each parameter at one input, and where its entry stands."""

    method: str
    params: BaseModel
    place: str
    input: str


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe: sections with resolved paths, its points, the bytes and overrides read."""

    path: Path
    recipe: Recipe
    points: tuple[MethodPoint, ...]
    source: bytes
    assignments: tuple[str, ...]


def load_recipe(path: Path, catalog: Catalog, assignments: Sequence[str] = ()) -> LoadedRecipe:
    """Read, override and check the recipe at `path`.

    Raises RecipeError with one `file:line:column key: what is wrong` line per mistake.
    """
    source, document = read_file(path)
    overrides.apply(document, assignments)
    content: object = document.data
    if not isinstance(content, dict):
        raise RecipeError([f"{path}:1:1: a recipe is a mapping; start it with `schema: 1`"])
    data = cast(dict[str, Any], content)
    problems: list[str] = []
    recipe = validated(Recipe, data, {}, document, problems)
    problems.extend(_unknown_names(data, catalog, document))
    inputs = recipe.model.input if recipe else None
    points = _points(data.get("methods"), inputs, catalog, document, problems)
    if recipe is None or problems:
        raise RecipeError(sorted(dict.fromkeys(problems), key=position_of))
    recipe = _with_absolute_paths(recipe, path, document)
    return LoadedRecipe(path, recipe, tuple(points), source, tuple(assignments))


def _points(
    entries: object,
    inputs: Sequence[str] | None,
    catalog: Catalog,
    document: Document,
    problems: list[str],
) -> list[MethodPoint]:
    """Return the points of all entries at the first input, then at the second, and so on.

    `inputs` are the model's, None where they are wrong themselves.
    """
    points: list[MethodPoint] = []
    if not isinstance(entries, list):
        return points
    for index, entry in enumerate(cast(list[Any], entries)):
        path: KeyPath = ("methods", index)
        if not isinstance(entry, dict):
            continue
        params = cast(dict[str, Any], entry)
        name = params.get("name")
        if not isinstance(name, str):
            problems.append(document.problem(path, "name the method, for example `name: dense`"))
        elif name not in catalog.methods:
            message = unknown("method", name, catalog.methods)
            problems.append(document.problem((*path, "name"), message))
        else:
            rest = {key: value for key, value in params.items() if key not in _OF_ENTRIES}
            chosen = _inputs_of(params, inputs, path, document, problems)
            for made in _grid(name, rest, path, catalog, document, problems):
                points += [MethodPoint(name, made, document.place(path), text) for text in chosen]
    of_input = {text: [point for point in points if point.input == text] for text in inputs or ()}
    idle = [text for text, found in of_input.items() if not found]
    if idle and not problems:
        message = f"no method runs at {idle[0]}; remove it, or add it to the input of a method"
        problems.append(document.problem(("model", "input"), message))
    return [point for found in of_input.values() for point in found]


def _inputs_of(
    entry: Mapping[str, Any],
    inputs: Sequence[str] | None,
    path: KeyPath,
    document: Document,
    problems: list[str],
) -> Sequence[str]:
    """Return the inputs that an entry runs at: all of the model's, or those that it names."""
    given = {key: entry[key] for key in _OF_ENTRIES if key in entry}
    section = validated(EntrySection, given, {}, document, problems, root=path)
    if section is None or inputs is None:
        return ()
    for text in section.input or ():
        if text not in inputs:
            message = f"{text} is not among the inputs of the model ({', '.join(inputs)}); add it "
            problems.append(document.problem((*path, "input"), f"{message}to model.input"))
    return section.input or inputs


def _grid(  # noqa: PLR0913, PLR0917 - the parts of one entry, all needed to place its errors
    name: str,
    params: Mapping[str, Any],
    path: KeyPath,
    catalog: Catalog,
    document: Document,
    problems: list[str],
) -> Iterator[BaseModel]:
    kind = catalog.params_of(name)
    if (total := grid.count(params, kind.model_fields)) > _MOST_POINTS:
        message = f"the grid has {total} points, more than {_MOST_POINTS}; split the recipe"
        problems.append(document.problem(path, message))
        return
    seen: set[str] = set()
    for combination in grid.expand(params, kind.model_fields, path):
        checked = validated(
            kind, combination.values, combination.origins, document, problems, root=path
        )
        if checked is None:
            continue
        content = checked.model_dump_json()
        if content in seen:
            given = ", ".join(f"{key} {value}" for key, value in combination.values.items())
            message = f"the grid names a point twice, for example {given}"
            problems.append(document.problem(path, message))
            return
        seen.add(content)
        yield checked


def _unknown_names(data: Mapping[str, Any], catalog: Catalog, document: Document) -> Iterator[str]:
    """Yield a line for each dataset, split, protocol or model that nobody registered."""

    def check(path: KeyPath, kind: str, known: Sequence[str]) -> Iterator[str]:
        section = data.get(str(path[0]))
        word = (
            cast(dict[str, Any], section).get(str(path[1])) if isinstance(section, dict) else None
        )
        if isinstance(word, str) and word not in known:
            yield document.problem(path, unknown(kind, word, known))

    yield from check(("model", "name"), "model", catalog.models)
    wrong = list(check(("dataset", "name"), "dataset", catalog.datasets))
    yield from wrong
    dataset = data.get("dataset")
    name = cast(dict[str, Any], dataset).get("name") if isinstance(dataset, dict) else None
    if not wrong and isinstance(name, str):
        choices = catalog.choices_of(name)
        yield from check(("dataset", "split"), "split", choices.splits)
        yield from check(("dataset", "protocol"), "protocol", choices.protocols)
        yield from check(("heatmap", "split"), "split", choices.splits)


def _with_absolute_paths(recipe: Recipe, file: Path, document: Document) -> Recipe:
    """Resolve path values: against the recipe's folder, or the current one where `--set` gave them.

    `~` and `$NAME` are replaced; a variable that is not set is an error.
    """
    problems: list[str] = []
    for section, key in sorted(overrides.PATH_KEYS, key=str):
        part = getattr(recipe, str(section))
        text = getattr(part, str(key))
        if text is None or (key == "weights" and text == RANDOM_WEIGHTS):
            continue
        full = absolute_path(text, (section, key), document, file, problems)
        if full is None:
            continue
        changed = part.model_copy(update={str(key): full})
        recipe = recipe.model_copy(update={str(section): changed})
    if problems:
        raise RecipeError(sorted(problems, key=position_of))
    return recipe
