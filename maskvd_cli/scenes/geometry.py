"""The model, its input, and how frames are laid into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.placement import frame_size
from maskvd_cli.core.size import Size
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.base import Family
from maskvd_cli.families.zoo import entry
from maskvd_cli.recipe.schema import Recipe

# A model, None for the recipe's first, and one of its inputs.
Site = tuple[str | None, str]


@dataclass(frozen=True)
class Geometry:
    """One input of a recipe's model, defaults filled in; `frame` is None for fit.

    `arch` is one of the family's.
    """

    arch: Any
    input: Size
    frame: Size | None
    grid: Size
    family: type[Family[Any, Any]]

    @classmethod
    def of(cls, recipe: Recipe, input_text: str) -> Geometry:
        """Resolve the recipe's model section at one of its inputs.

        Raises UsageError where sizes do not fit.
        """
        model = entry(recipe.model.name)
        input_size = Size.parse(input_text)
        default = datasets.load(recipe.dataset.name).frame_at(input_size)
        frame = frame_size(recipe.model.frame, default, input_size)
        return cls(model.arch, input_size, frame, model.arch.grid(input_size), model.family)

    def setting(self) -> dict[str, Any]:
        """Return what decides a result, as JSON values."""
        return {
            **self.family.setting(self.arch),
            "input": str(self.input),
            "frame": str(self.frame or "fit"),
        }
