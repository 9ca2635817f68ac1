"""The model, its input, and how frames are laid into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.looks import Looks
from maskvd_cli.core.placement import frame_size
from maskvd_cli.core.size import Size
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.base import Family
from maskvd_cli.families.zoo import entry, frame_of
from maskvd_cli.recipe.schema import Recipe

# What a model is called, None for the recipe's first, and one of its inputs.
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
        own = datasets.load(recipe.dataset.name).frame_at(input_size)
        default = frame_of(recipe.model.name, own, input_size)
        if model.family.looks(model.arch) is not None:
            _check_filled(recipe, input_size)
            default = input_size
        frame = frame_size(recipe.model.frame, default, input_size)
        return cls(model.arch, input_size, frame, model.arch.grid(input_size), model.family)

    @property
    def looks(self) -> Looks | None:
        """How the model looks at a video, None where at every frame."""
        return self.family.looks(self.arch)

    def setting(self) -> dict[str, Any]:
        """Return what decides a result, as JSON values."""
        return {
            **self.family.setting(self.arch),
            "input": str(self.input),
            "frame": str(self.frame or "fit"),
        }


def _check_filled(recipe: Recipe, input_size: Size) -> None:
    if recipe.model.frame not in (None, str(input_size)):
        raise UsageError(
            f"model.frame {recipe.model.frame}: looks of {recipe.model.name} are crops that fill "
            f"the input {input_size}",
            remedy="leave model.frame out",
        )


def looks_of(recipe: Recipe) -> Looks | None:
    """Return how the recipe's models look at a video, None where at every frame.

    Raises UsageError where they differ, since results would stand on other clips.
    """
    models: dict[Looks | None, str] = {}
    for model in recipe.models:
        known = entry(model.name)
        models.setdefault(known.family.looks(known.arch), model.name)
    if len(models) > 1:
        raise UsageError(
            f"{' and '.join(models.values())} look at videos in other ways",
            remedy="give each a recipe",
        )
    return next(iter(models))
