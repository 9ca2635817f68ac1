"""How frames lie in the input of the detector that is trained, and the detector itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from maskvd_cli.core.placement import Placement, frame_size, placement
from maskvd_cli.core.size import Size
from maskvd_cli.data.registry import datasets
from maskvd_cli.families.base import check_trainable
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import entry, frame_of
from maskvd_cli.training.recipe import TrainedModel, TrainingRecipe


@dataclass(frozen=True)
class TrainingInput:
    """The padded input, and the size that frames are stretched to; None: they keep their aspect."""

    input: Size
    frame: Size | None

    @classmethod
    def of(cls, recipe: TrainingRecipe) -> TrainingInput:
        """Resolve the recipe's sizes. Raises UsageError where the frame does not fit."""
        input_size = Size.parse(recipe.model.input)
        own = datasets.load(recipe.dataset.name).frame_at(input_size)
        default = frame_of(recipe.model.name, own, input_size)
        return cls(input_size, frame_size(recipe.model.frame, default, input_size))

    def placed(self, native: Size) -> Placement:
        """Return how a frame of this native size lies in the input."""
        return placement(native, self.frame, self.input)


def head_arch(model: TrainedModel, arch: ViTArch, classes: int) -> HeadArch:
    """Return pyramid, RPN and box head of the recipe's model; strides follow the patch."""
    return HeadArch.for_patch(
        arch.patch,
        classes=classes,
        channels=model.channels,
        hidden=model.hidden,
        anchor_sizes=model.anchor_sizes,
        anchor_ratios=model.anchor_ratios,
        post_nms=model.test_proposals,
        training_pre_nms=2 * model.proposals,
        training_post_nms=model.proposals,
        box_sampling=replace(HeadArch.box_sampling, count=model.regions),
    )


def new_detector(recipe: TrainingRecipe, classes: int) -> Detector:
    """Return the recipe's detector with weights drawn from its seed, or its recogniser.

    Raises UsageError for sizes that do not fit, and for a family that cannot be trained.
    """
    model, size = entry(recipe.model.name), Size.parse(recipe.model.input)
    check_trainable(model.family, recipe.model.name)
    if model.family.looks(model.arch) is not None:
        shape = model.family.random_shape(model.arch, classes)
    else:
        shape = head_arch(recipe.model, model.arch, classes)
    built: Any = model.family.build(model.arch, shape, size, seed=recipe.seed)
    return built
