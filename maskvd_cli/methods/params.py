"""What every method's parameters are, and what a search varies of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from maskvd_cli.recipe.paths import files_in

_MARGIN_QUARTERS = (0, 2, 4, 6, 8)
_PARTS_OF_N = 16


class Params(BaseModel):
    """Hyperparameters of a method: strict types, no unknown keys, not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def told(self) -> dict[str, Any]:
        """Return all parameters as results tell them: JSON values, of files their names alone."""
        names = {name: Path(text).name for name, text in files_in(self)}
        return {**self.model_dump(mode="json"), **names}


@dataclass(frozen=True)
class Varied:
    """What `maskvd tune` varies of a parameter where the user says nothing.

    Stands in the parameter's annotation, `period: Annotated[int, Varied((2, 4, 8))] = 8`, values
    in ascending order. `of`: what they are multiples of; `patch` are quarters of a token's side,
    `tokens` sixteenths of N, rounded down and at least 1. `with_scores`: only where boxes have
    scores, so that a threshold on them matters.
    """

    values: tuple[Any, ...]
    of: Literal["one", "patch", "tokens"] = "one"
    with_scores: bool = False

    @classmethod
    def steps(cls, low: float, high: float, step: float, *, with_scores: bool = False) -> Varied:
        """Return `low`, `low` + `step`, ... up to `high`, decimals as they are written."""
        first, last, width = (Decimal(str(number)) for number in (low, high, step))
        count = int((last - first) / width) + 1
        values = tuple(float(first + index * width) for index in range(count))
        return cls(values, with_scores=with_scores)

    def at(self, tokens: int, patch: int) -> list[Any]:
        """Return the values at an input of `tokens` N, with tokens of `patch` pixels."""
        if self.of == "patch":
            return sorted({value * patch // 4 for value in self.values})
        if self.of == "tokens":
            return sorted({max(tokens * value // _PARTS_OF_N, 1) for value in self.values})
        return list(self.values)


# Up to two tokens.
MARGINS = Varied(_MARGIN_QUARTERS, of="patch")
TOKEN_COUNTS = Varied(tuple(range(1, _PARTS_OF_N + 1)), of="tokens")


def varied(kind: type[BaseModel], tokens: int, patch: int, *, scores: bool) -> dict[str, list[Any]]:
    """Return what a search varies of a method's parameters, by name; empty where it says nothing.

    `scores`: whether boxes have scores.
    """
    declared = {name: _declared(field) for name, field in kind.model_fields.items()}
    return {
        name: found.at(tokens, patch)
        for name, found in declared.items()
        if found is not None and (scores or not found.with_scores)
    }


def _declared(field: FieldInfo) -> Varied | None:
    return next((part for part in field.metadata if isinstance(part, Varied)), None)
