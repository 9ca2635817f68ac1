"""How frames lie in the input of the detector that is trained, and the detector itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.placement import Placement, frame_size, placement
from maskvd_cli.core.size import Size
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.base import TrainableModel, check_trainable
from maskvd_cli.families.zoo import entry
from maskvd_cli.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class TrainingInput:
    """The padded input, and the size that frames are stretched to; None: they keep their aspect."""

    input: Size
    frame: Size | None

    @classmethod
    def of(cls, recipe: TrainingRecipe) -> TrainingInput:
        """Resolve the recipe's sizes. Raises UsageError where the frame does not fit."""
        input_size = Size.parse(recipe.model.input)
        default = datasets.load(recipe.dataset.name).frame_at(input_size)
        return cls(input_size, frame_size(recipe.model.frame, default, input_size))

    def placed(self, native: Size) -> Placement:
        """Return how a frame of this native size lies in the input."""
        return placement(native, self.frame, self.input)


def new_detector(recipe: TrainingRecipe, classes: int) -> TrainableModel:
    """Return the recipe's detector with weights drawn from its seed, or its recogniser.

    Raises UsageError for sizes that do not fit, and for a family that cannot be trained.
    """
    model, size = entry(recipe.model.name), Size.parse(recipe.model.input)
    check_trainable(model.family, recipe.model.name)
    told = {word: getattr(recipe.model, word) for word in model.family.trained_with}
    shape = model.family.trained_shape(model.arch, classes, told)
    built: Any = model.family.build(model.arch, shape, size, seed=recipe.seed)
    return built
