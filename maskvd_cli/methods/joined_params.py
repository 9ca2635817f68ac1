"""Parameters of a combination: those of both halves, each checked by the half that they are for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ValidationError, create_model, model_validator

from maskvd_cli.methods.params import Params

P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class Half:
    """One half: the model of its parameters, and what those that it has are called in the whole."""

    kind: type[Params]
    names: Mapping[str, str]

    def called(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return what the whole calls parameters of the half, without those that it has not."""
        return tuple(self.names[name] for name in names if name in self.names)

    def headed(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Return the half's columns, headers by parameter, under the names of the whole."""
        return {self.names[name]: header for name, header in columns.items() if name in self.names}

    def of(self, whole: Params) -> Params:
        """Return the half's own parameters; those that the whole has not have their defaults."""
        values = {own: getattr(whole, name) for own, name in self.names.items()}
        return self.kind.model_construct(**values)

    def into(self, whole: P, half: Params) -> P:
        """Return the whole with the half's values in it."""
        return whole.model_copy(
            update={name: getattr(half, own) for own, name in self.names.items()}
        )


class JoinedParams(Params):
    """Parameters of two halves; a combination's own model has their fields."""

    halves: ClassVar[tuple[Half, Half]]

    @model_validator(mode="after")
    def _each_half_for_itself(self) -> Self:
        """Let each half check what was given of it, and fill in what it makes of that."""
        for half in self.halves:
            given = {
                own: getattr(self, name)
                for own, name in half.names.items()
                if name in self.model_fields_set
            }
            try:
                checked = half.kind.model_validate(given)
            except ValidationError as error:
                problems = [str(one["msg"]) for one in error.errors(include_url=False)]
                raise ValueError("; ".join(problems).replace("Value error, ", "")) from error
            values = {name: getattr(checked, own) for own, name in half.names.items()}
            # A validator of a model that is not changed afterwards has no other way.
            for name, value in values.items():
                object.__setattr__(self, name, value)
        return self


def joined(
    name: str,
    first: type[Params],
    second: type[Params],
    *,
    prefix: str,
    without: frozenset[str] = frozenset(),
) -> type[JoinedParams]:
    """Return the parameters of a combination: those of the first, some left out, then the second's.

    A parameter of the second that the first has too is called `<prefix>_<name>`.
    """
    own = {field: field for field in first.model_fields if field not in without}
    other = {
        field: f"{prefix}_{field}" if field in first.model_fields else field
        for field in second.model_fields
    }
    fields: dict[str, Any] = {}
    for kind, names in ((first, own), (second, other)):
        for field, called in names.items():
            info = copy(kind.model_fields[field])
            fields[called] = (info.annotation, info)
    made = create_model(name, __base__=JoinedParams, **fields)
    made.halves = (Half(first, own), Half(second, other))
    return made
