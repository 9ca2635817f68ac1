"""Read a recipe file with overrides into checked sections and points, all mistakes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, create_model

from maskvd_cli.core.errors import MaskvdError, RecipeError, unknown
from maskvd_cli.recipe import grid, overrides
from maskvd_cli.recipe.paths import absolute_path, files_in
from maskvd_cli.recipe.schema import (
    RANDOM_WEIGHTS,
    RETIRED,
    EntrySection,
    ModelSection,
    Recipe,
)
from maskvd_cli.recipe.section import Section
from maskvd_cli.recipe.sizes import DEFAULT_INPUT
from maskvd_cli.recipe.source import Document, KeyPath, read_file
from maskvd_cli.recipe.validation import position_of, validated

_MOST_POINTS = 10_000
_OF_ENTRIES = tuple(EntrySection.model_fields)
# What a model is called and one of its inputs.
Site = tuple[str, str]


@dataclass(frozen=True)
class Choices:
    """What a dataset offers: the names of its splits and protocols."""

    splits: Sequence[str]
    protocols: Sequence[str]


@dataclass(frozen=True)
class Catalog:
    """The names that a recipe may use; handed in, so that this room knows no method or dataset.

    `sections`: what may stand under a metric's name, by that name. `why_broken`: why a registered
    name cannot be used, by kind and name; None where it can, or nobody registered it. `knows`:
    whether a name that is not among `methods` is one of them nevertheless, made of others; `pairs`:
    all such names. `made_for`: the input of a model where the recipe names none. `weights_at`:
    where the weights that a bare name stands for lie, None for any other text; raises MaskvdError
    where they can lie nowhere.
    """

    methods: Sequence[str]
    models: Sequence[str]
    datasets: Sequence[str]
    params_of: Callable[[str], type[BaseModel]]
    choices_of: Callable[[str], Choices]
    sections: Mapping[str, type[Section]] = field(default_factory=dict[str, type[Section]])
    why_broken: Callable[[str, str], str | None] = lambda kind, name: None
    knows: Callable[[str], bool] = lambda _: False
    pairs: Callable[[], Sequence[str]] = lambda: ()
    made_for: Callable[[str], str] = lambda _: DEFAULT_INPUT
    weights_at: Callable[[str], Path | None] = lambda _: None


@dataclass(frozen=True)
class MethodPoint:
    """One method with one value for each parameter on one model at one of its inputs.

    `place`: where its entry stands; `model`: as the recipe calls it.
    """

    method: str
    params: BaseModel
    place: str
    model: str
    input: str


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe: sections with resolved paths, its points, the bytes and overrides read.

    `notes`: a line for each key that was passed over.
    """

    path: Path
    recipe: Recipe
    points: tuple[MethodPoint, ...]
    source: bytes
    assignments: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load_recipe(path: Path, catalog: Catalog, assignments: Sequence[str] = ()) -> LoadedRecipe:
    """Read, override and check the recipe at `path`.

    Raises RecipeError with one `file:line:column key: what is wrong` line per mistake.
    """
    source, document = read_file(path)
    overrides.apply(document, assignments)
    content: object = document.data
    if not isinstance(content, dict):
        raise RecipeError([f"{path}:1:1: a recipe is a mapping; start it with `schema: 1`"])
    written = cast(dict[str, Any], content)
    retired = [key for key in written if key in RETIRED]
    data = {key: value for key, value in written.items() if key not in RETIRED}
    problems: list[str] = []
    given = {key: value for key, value in data.items() if key in catalog.sections}
    rest = {key: value for key, value in data.items() if key not in given}
    recipe = validated(Recipe, rest, {}, document, problems, also=tuple(catalog.sections))
    sections = validated(sections_type(catalog.sections), given, {}, document, problems)
    problems.extend(_unknown_names(data, catalog, document))
    if recipe is not None:
        recipe = recipe.with_inputs(
            lambda name: catalog.made_for(name) if name in catalog.models else DEFAULT_INPUT
        )
    models = recipe.models if recipe else None
    points = _points(data.get("methods"), models, catalog, document, path, problems)
    if recipe is None or sections is None or problems:
        raise RecipeError(sorted(dict.fromkeys(problems), key=position_of))
    recipe = recipe.with_sections(dict(sections))
    recipe = _with_absolute_paths(recipe, data, path, document, catalog.weights_at)
    notes = tuple(f"{document.place((key,))} {key} {RETIRED[key]}" for key in retired)
    return LoadedRecipe(path, recipe, tuple(points), source, tuple(assignments), notes)


def sections_type(sections: Mapping[str, type[Section]]) -> type[Section]:
    """Return the model of a mapping of metrics' names to their sections, defaults filled in."""
    fields: dict[str, Any] = {name: (kind, kind()) for name, kind in sections.items()}
    return create_model("Sections", __base__=Section, **fields)


def _points(  # noqa: PLR0913, PLR0917 - the entries, where they may run, and whose errors they are
    entries: object,
    models: Sequence[ModelSection] | None,
    catalog: Catalog,
    document: Document,
    file: Path,
    problems: list[str],
) -> list[MethodPoint]:
    """Return the points of all entries on the first model at its first input, at its second, ...

    `models` is None where they are wrong themselves; paths are relative to the recipe `file`.
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
            example = f"name the method, for example `name: {catalog.methods[0]}`"
            problems.append(document.problem(path, example))
        elif name not in catalog.methods and not catalog.knows(name):
            message = unknown("method", name, catalog.methods)
            problems.append(document.problem((*path, "name"), message))
        elif (reason := catalog.why_broken("method", name)) is not None:
            problems.append(document.problem((*path, "name"), reason))
        else:
            rest = {key: value for key, value in params.items() if key not in _OF_ENTRIES}
            chosen = _sites_of(params, models, path, document, problems)
            for made in _grid(name, rest, path, catalog, document, file, problems):
                points += [MethodPoint(name, made, document.place(path), *site) for site in chosen]
    at: dict[Site, list[MethodPoint]] = {site: [] for site in _sites(models or ())}
    for point in points:
        at[point.model, point.input].append(point)
    idle = [site for site, found in at.items() if not found]
    if idle and not problems:
        model, text = idle[0]
        if any(found for (other, _), found in at.items() if other == model):
            message = f"no method runs at {text}; remove it, or add it to the input of a method"
            problems.append(document.problem(("model", "input"), message))
        else:
            message = f"no method runs on {model}; remove it, or add it to the model of a method"
            problems.append(document.problem(("model",), message))
    return [point for found in at.values() for point in found]


def _sites(models: Sequence[ModelSection]) -> list[Site]:
    return [(model.known_as, text) for model in models for text in model.input]


def _sites_of(
    entry: Mapping[str, Any],
    models: Sequence[ModelSection] | None,
    path: KeyPath,
    document: Document,
    problems: list[str],
) -> Sequence[Site]:
    """Return where an entry runs: on all models at all inputs, or on those that it names."""
    given = {key: entry[key] for key in _OF_ENTRIES if key in entry}
    section = validated(EntrySection, given, {}, document, problems, root=path)
    if section is None or models is None:
        return ()
    names = [model.known_as for model in models]
    for name in section.model or ():
        if name not in names:
            message = f"{name} is not among the models ({', '.join(names)}); add it to model"
            problems.append(document.problem((*path, "model"), message))
    chosen = _sites([model for model in models if model.known_as in (section.model or names)])
    inputs = list(dict.fromkeys(text for _, text in chosen))
    for text in section.input or () if chosen else ():
        if text not in inputs:
            message = f"{text} is not among the inputs of the model ({', '.join(inputs)}); add it "
            problems.append(document.problem((*path, "input"), f"{message}to model.input"))
    return [site for site in chosen if site[1] in (section.input or inputs)]


def _grid(  # noqa: PLR0913, PLR0917 - the parts of one entry, all needed to place its errors
    name: str,
    params: Mapping[str, Any],
    path: KeyPath,
    catalog: Catalog,
    document: Document,
    file: Path,
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
        checked = _with_absolute_files(checked, combination, path, document, file, problems)
        content = checked.model_dump_json()
        if content in seen:
            given = ", ".join(f"{key} {value}" for key, value in combination.values.items())
            message = f"the grid names a point twice, for example {given}"
            problems.append(document.problem(path, message))
            return
        seen.add(content)
        yield checked


def _with_absolute_files(  # noqa: PLR0913, PLR0917 - one point's parameters, and their places
    params: BaseModel,
    made_of: grid.GridPoint,
    path: KeyPath,
    document: Document,
    file: Path,
    problems: list[str],
) -> BaseModel:
    """Resolve parameters that name files as other paths of the recipe."""
    found = {
        name: absolute_path(
            text, made_of.origins.get(name, (*path, name)), document, file, problems
        )
        for name, text in files_in(params)
    }
    return params.model_copy(update={name: text for name, text in found.items() if text})


def _unknown_names(data: Mapping[str, Any], catalog: Catalog, document: Document) -> Iterator[str]:
    """Yield a line for each dataset, split, protocol or model that nobody registered."""

    def check(path: KeyPath, kind: str, known: Sequence[str]) -> Iterator[str]:
        section: object = data
        for part in path[:-1]:
            section = _member(section, part)
        word = _member(section, path[-1])
        if isinstance(word, str) and word not in known:
            reason = catalog.why_broken(kind, word)
            yield document.problem(path, reason or unknown(kind, word, known))

    for place in _model_places(data):
        yield from check((*place, "name"), "model", catalog.models)
    metrics = data.get("metrics")
    for index in range(len(cast(list[object], metrics)) if isinstance(metrics, list) else 0):
        yield from check(("metrics", index), "metric", list(catalog.sections))
    wrong = list(check(("dataset", "name"), "dataset", catalog.datasets))
    yield from wrong
    dataset = data.get("dataset")
    name = cast(dict[str, Any], dataset).get("name") if isinstance(dataset, dict) else None
    reason = catalog.why_broken("dataset", name) if isinstance(name, str) else None
    if reason is not None:
        yield document.problem(("dataset", "name"), reason)
    elif not wrong and isinstance(name, str):
        choices = catalog.choices_of(name)
        yield from check(("dataset", "split"), "split", choices.splits)
        yield from check(("dataset", "protocol"), "protocol", choices.protocols)
        yield from check(("heatmap", "split"), "split", choices.splits)


def _member(section: object, key: str | int) -> object:
    """Return what a mapping or list holds at a key; None where it holds nothing."""
    if isinstance(section, dict):
        return cast(dict[Any, object], section).get(key)
    if isinstance(section, list) and isinstance(key, int):
        return cast(list[object], section)[key]
    return None


def _model_places(data: Mapping[str, Any]) -> list[KeyPath]:
    """Return where each model stands: below `model`, or in the list there."""
    written: object = data.get("model")
    if isinstance(written, list):
        return [("model", index) for index in range(len(cast(list[object], written)))]
    return [("model",)]


def _with_absolute_paths(
    recipe: Recipe,
    data: Mapping[str, Any],
    file: Path,
    document: Document,
    weights_at: Callable[[str], Path | None],
) -> Recipe:
    """Resolve path values: against the recipe's folder, or the current one where `--set` gave them.

    `~` and `$NAME` are replaced; a variable that is not set is an error.
    """
    problems: list[str] = []
    if recipe.dataset.root is not None:
        path: KeyPath = ("dataset", "root")
        full = absolute_path(recipe.dataset.root, path, document, file, problems)
        dataset = recipe.dataset.model_copy(update={"root": full})
        recipe = recipe.model_copy(update={"dataset": dataset})
    if recipe.heatmap.file is not None:
        path = ("heatmap", "file")
        full = absolute_path(recipe.heatmap.file, path, document, file, problems)
        heatmap = recipe.heatmap.model_copy(update={"file": full})
        recipe = recipe.model_copy(update={"heatmap": heatmap})
    models: list[ModelSection] = []
    for model, place in zip(recipe.models, _model_places(data), strict=True):
        full = model.weights
        if full is not None and full != RANDOM_WEIGHTS:
            path = (*place, "weights")
            try:
                known = weights_at(full)
            except MaskvdError as error:
                problems.append(document.problem(path, str(error)))
            else:
                full = str(known) if known else absolute_path(full, path, document, file, problems)
        models.append(model.model_copy(update={"weights": full}))
    if problems:
        raise RecipeError(sorted(problems, key=position_of))
    return recipe.model_copy(update={"models": models})
