"""Read a training recipe file with overrides into checked sections, all mistakes at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from maskvd_cli.core.errors import MaskvdError, RecipeError, unknown
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.zoo import entry, models
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe import overrides
from maskvd_cli.recipe.paths import absolute_path, files_in
from maskvd_cli.recipe.source import Document, KeyPath, read_file
from maskvd_cli.recipe.validation import position_of, validated
from maskvd_cli.training.recipe import MethodSection, ReductionSection, TrainingRecipe
from maskvd_cli.training.reduction import reducing

_SETTINGS: KeyPath = ("method", "settings")
_PATHS: tuple[tuple[str, ...], ...] = (("dataset", "root"), ("init",))


@dataclass(frozen=True)
class LoadedTraining:
    """A checked training recipe with resolved paths, and the bytes and overrides it came from."""

    path: Path
    recipe: TrainingRecipe
    source: bytes
    assignments: tuple[str, ...]


def load_training(path: Path, assignments: Sequence[str] = ()) -> LoadedTraining:
    """Read, override and check the training recipe at `path`.

    Raises RecipeError with one `file:line:column key: what is wrong` line per mistake.
    """
    source, document = read_file(path)
    overrides.apply(document, assignments)
    if not isinstance(document.data, dict):
        raise RecipeError([f"{path}:1:1: a training recipe is a mapping; start it with schema: 1"])
    data = cast(dict[str, Any], document.data)
    if "kind" not in data and "methods" in data:
        raise RecipeError([f"{path}:1:1: this is the recipe of a sweep; run it with maskvd sweep"])
    problems: list[str] = []
    recipe = validated(TrainingRecipe, data, {}, document, problems)
    problems.extend(_unknown_names(data, document))
    if recipe is not None and recipe.reduction is not None:
        _check_reduction(recipe.reduction, document, problems)
    settings = None
    if recipe is not None and recipe.method is not None and not problems:
        known = entry(recipe.model.name)
        if known.family.looks(known.arch) is None:
            settings = _settings(recipe.method, document, problems)
        else:
            settings = _parameters(recipe.method, document, path, problems)
    if recipe is None or problems:
        raise RecipeError(sorted(dict.fromkeys(problems), key=position_of))
    recipe = _with_absolute_paths(recipe, document, path)
    if recipe.method is not None and settings is not None:
        # What is not said is written out, so that a default that changes makes another training.
        told = settings.model_dump(mode="json")
        method = recipe.method.model_copy(update={"settings": told})
        recipe = recipe.model_copy(update={"method": method})
    return LoadedTraining(path, recipe, source, (*assignments,))


def _parameters(
    section: MethodSection, document: Document, file: Path, problems: list[str]
) -> BaseModel | None:
    """Return the parameters of the method that runs a spatial model, files among them absolute."""
    kind = methods.load(section.name).params_type
    params = validated(kind, section.settings, {}, document, problems, root=_SETTINGS)
    if params is None:
        return None
    found = {
        name: absolute_path(text, (*_SETTINGS, name), document, file, problems)
        for name, text in files_in(params)
    }
    return params.model_copy(update={name: text for name, text in found.items() if text})


def _settings(section: MethodSection, document: Document, problems: list[str]) -> BaseModel | None:
    """Return what is said of a method's training, checked by the method's own learner."""
    learner = methods.load(section.name).learner
    if learner is None:
        others = [name for name in methods.names() if methods.load(name).learner is not None]
        message = f"{section.name} has no weights of its own; these have: {', '.join(others)}"
        problems.append(document.problem(("method", "name"), message))
        return None
    return validated(
        learner.settings_type, section.settings, {}, document, problems, root=_SETTINGS
    )


def _check_reduction(section: ReductionSection, document: Document, problems: list[str]) -> None:
    """Note what is wrong with a method's name or parameters, each at its place."""
    try:
        kind = reducing(methods.load(section.name))
    except MaskvdError as error:
        problems.append(document.problem(("reduction", "name"), str(error)))
        return
    root = ("reduction", "params")
    validated(kind.params_type, section.params, {}, document, problems, root=root)


def _unknown_names(data: dict[str, Any], document: Document) -> Iterator[str]:
    """Yield a line for each model, dataset, split or protocol that nobody registered."""

    def word(*path: str) -> str | None:
        value: Any = data
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value if isinstance(value, str) else None

    def check(path: tuple[str, ...], kind: str, known: Sequence[str]) -> Iterator[str]:
        given = word(*path)
        if given is not None and given not in known:
            yield document.problem(path, unknown(kind, given, known))

    yield from check(("model", "name"), "model", list(models()))
    yield from check(("method", "name"), "method", methods.names())
    yield from check(("dataset", "name"), "dataset", datasets.names())
    name = word("dataset", "name")
    if name in datasets.names():
        kind = datasets.load(name)
        yield from check(("dataset", "split"), "split", kind.splits)
        yield from check(("dataset", "protocol"), "protocol", kind.protocols)
        yield from check(("evaluation", "split"), "split", kind.splits)


def _with_absolute_paths(recipe: TrainingRecipe, document: Document, file: Path) -> TrainingRecipe:
    """Resolve paths against the recipe's folder, or the current one where `--set` gave them."""
    problems: list[str] = []
    content = recipe.model_dump(by_alias=True)
    for path in _PATHS:
        holder: dict[str, Any] = content
        for part in path[:-1]:
            holder = holder[part]
        if holder[path[-1]] is not None:
            holder[path[-1]] = absolute_path(holder[path[-1]], path, document, file, problems)
    if problems:
        raise RecipeError(sorted(problems, key=position_of))
    return TrainingRecipe.model_validate(content)
