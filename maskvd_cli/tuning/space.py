"""What a search may vary: an ordered list of values for every parameter of a method."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.fields import FieldInfo

from maskvd_cli.core.errors import RecipeError, UsageError, unknown
from maskvd_cli.methods.params import varied
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe.paths import names_file
from maskvd_cli.recipe.source import parse

Place = tuple[int, ...]

_MOST_VALUES = 1000
_STEPS = 20
_DEFAULT = "default"


@dataclass(frozen=True)
class Space:
    """`axes`: two or more values, in order, for each parameter varied; `fixed`: one for others."""

    axes: Mapping[str, tuple[Any, ...]]
    fixed: Mapping[str, Any]

    @property
    def size(self) -> int:
        """How many combinations there are."""
        return math.prod(len(values) for values in self.axes.values())

    def named(self, name: str, told: Any) -> Any:
        """Return a parameter's value from what results tell of it, which is of files their names
        alone; one that is not of this space stays as it is told."""
        values = (*self.axes.get(name, ()), *([self.fixed[name]] if name in self.fixed else []))
        return next((value for value in values if _told(value) == told), told)

    def params(self, place: Sequence[int]) -> dict[str, Any]:
        """Return the parameters at an index for each axis."""
        chosen = zip(self.axes.items(), place, strict=True)
        return {**{name: values[index] for (name, values), index in chosen}, **self.fixed}

    def place(self, params: Mapping[str, Any]) -> Place:
        """Return the index on each axis. Raises ValueError for parameters not of this space."""
        return tuple(values.index(params[name]) for name, values in self.axes.items())

    def is_ordered(self, name: str) -> bool:
        """Tell whether an axis holds numbers, so that neighbours are alike."""
        return all(
            isinstance(value, int | float) and not isinstance(value, bool)
            for value in self.axes[name]
        )


def declared_ranges(
    method: str, tokens: int, patch: int, *, with_scores: bool
) -> dict[str, list[Any]]:
    """Return what the method itself says is varied of it; empty where it says nothing.

    `tokens`: N of the input; `patch`: a token's side in pixels, which margins are made of.
    `with_scores`: whether boxes have scores, so that a threshold matters.
    """
    return varied(methods.load(method).params_type, tokens, patch, scores=with_scores)


def space_of(
    method: str, kind: type[BaseModel], declared: Mapping[str, list[Any]], given: Sequence[str]
) -> Space:
    """Return the declared ranges with what `--space` says of single parameters.

    `NAME=2,4,8` gives values, `NAME=LOW:HIGH` or `NAME=LOW:HIGH:STEP` a range, `NAME=VALUE` fixes
    it, `NAME=default` leaves it at its default. Raises RecipeError with a line per mistake, and
    UsageError where nothing is left to vary.
    """
    values = dict(declared)
    problems: list[str] = []
    seen: set[str] = set()
    for text in given:
        origin = f"--space {text}"
        try:
            name, word = _name_of(method, kind, text)
            if name in seen:
                raise ValueError(f"{name} is given twice; remove one")
            seen.add(name)
            if word == _DEFAULT:
                values.pop(name, None)
            else:
                usual = values.get(name)
                values[name] = _read(word, name, kind.model_fields[name], usual, origin)
        except ValueError as error:
            problems.append(f"{origin}: {error}")
        except RecipeError as error:
            problems.extend(error.problems)
    if problems:
        raise RecipeError(problems)
    if not values:
        names = ", ".join(kind.model_fields) or "none"
        raise UsageError(
            f"nothing is known of what to vary of {method}",
            remedy=f"give --space NAME=LOW:HIGH; its parameters: {names}",
        )
    return Space(
        {name: tuple(found) for name, found in values.items() if len(found) > 1},
        {name: found[0] for name, found in values.items() if len(found) == 1},
    )


def _name_of(method: str, kind: type[BaseModel], text: str) -> tuple[str, str]:
    name, equals, word = (part.strip() for part in text.partition("="))
    if not equals or not name or not word:
        raise ValueError("write NAME=2,4,8 or NAME=LOW:HIGH, for example period=2,4,8")
    if name not in kind.model_fields:
        raise ValueError(unknown(f"parameter of {method}", name, kind.model_fields))
    return name, word


def _read(
    word: str, name: str, field: FieldInfo, usual: list[Any] | None, origin: str
) -> list[Any]:
    """Return the values that a word stands for, checked against the parameter's own type."""
    if ":" in word:
        found = _range(word, usual, origin)
    else:
        found = [parse(part.strip(), origin).data for part in word.split(",")]
        if all(isinstance(value, int | float) for value in found):
            found = sorted(found)
    declared: Any = (field.annotation, field)
    model: Any = create_model("Value", __config__=ConfigDict(strict=True), value=declared)
    made: list[Any] = []
    for value in found:
        try:
            checked = model(value=value).value
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise ValueError(f"{name} cannot be {value}: {reason[0].lower()}{reason[1:]}") from None
        if names_file(field, checked):
            # Whoever reads it later stands in another folder.
            checked = str(Path(os.path.expandvars(checked)).expanduser().resolve())
            if any(_told(other) == Path(checked).name for other in made):
                raise ValueError(
                    f"two files are called {Path(checked).name}, which is all that results tell "
                    "of them; rename one"
                )
        if checked in made:
            raise ValueError(f"{value} stands here twice; remove one")
        made.append(checked)
    return made


def _told(value: Any) -> Any:
    """Return a value as results tell it: of an absolute path the file's name."""
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def _range(word: str, usual: list[Any] | None, origin: str) -> list[float]:
    parts = [parse(part.strip(), origin).data for part in word.split(":")]
    numbers = [p for p in parts if isinstance(p, int | float) and not isinstance(p, bool)]
    if len(numbers) != len(parts) or len(parts) not in (2, 3):
        raise ValueError("write LOW:HIGH or LOW:HIGH:STEP, for example 0.1:0.6")
    low, high = numbers[:2]
    if low >= high:
        raise ValueError(f"{low} is not below {high}")
    step = numbers[2] if len(numbers) == 3 else _usual_step(low, high, usual)
    if step <= 0:
        raise ValueError("the step must be above 0")
    if (high - low) / step >= _MOST_VALUES:
        raise ValueError(f"more than {_MOST_VALUES} values; give a larger step")
    return _steps(low, high, step)


def _usual_step(low: float, high: float, usual: list[Any] | None) -> float:
    """Return the declared step where there is one, else a twentieth, whole between integers."""
    steps = {round(b - a, 10) for a, b in zip(usual or [], (usual or [])[1:], strict=False)}
    if len(steps) == 1 and (step := steps.pop()) <= high - low:
        return step
    if isinstance(low, int) and isinstance(high, int):
        return max((high - low) // _STEPS, 1)
    return (high - low) / _STEPS


def _steps(low: float, high: float, step: float) -> list[float]:
    """Return low, low + step, ... up to high; decimals stay as they are written."""
    count = math.floor((high - low) / step + 1e-9) + 1
    values = [low + index * step for index in range(count)]
    whole = all(isinstance(number, int) for number in (low, step))
    return values if whole else [round(value, 6) for value in values]
