"""ViViT's factorised encoder as a family of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Stage, WeightsFile
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.vitdet.stated import stated_classes
from maskvd_cli.families.vivit import costs
from maskvd_cli.families.vivit.archs import ARCHS, ViViTArch
from maskvd_cli.families.vivit.shape import ClassifierShape

if TYPE_CHECKING:
    from maskvd_cli.families.vivit.model import ViViT

_CLASSIFIER = "classifier.bias"


class ViViTFamily(Family[ViViTArch, ClassifierShape]):
    """A spatial transformer on steps of a few frames, a temporal one on their class tokens."""

    name = "vivit"
    description = "factorised encoder on looks at a video (ViViT, ICCV 2021)"
    task = "recognition"
    default_input: ClassVar[str] = "224x224"
    trainable = True

    @classmethod
    def archs(cls) -> Sequence[ViViTArch]:
        return tuple(ARCHS.values())

    @classmethod
    def build(
        cls, arch: ViViTArch, shape: ClassifierShape, input_size: Size, *, seed: int
    ) -> ViViT:
        from maskvd_cli.families.vivit.model import ViViT  # noqa: PLC0415 - planning

        return ViViT(arch, shape, input_size, seed=seed)

    @classmethod
    def random_shape(cls, arch: ViViTArch, classes: int) -> ClassifierShape:
        return ClassifierShape(classes)

    @classmethod
    def shape_of(cls, arch: ViViTArch, file: WeightsFile) -> ClassifierShape:
        sides = tuple(file.tensors[_CLASSIFIER].shape) if _CLASSIFIER in file.tensors else ()
        if len(sides) != 1 or sides[0] < 1:
            raise CheckpointError(
                f"holds no {_CLASSIFIER} of classes, so it is no recogniser of maskvd",
                where=file.path,
                remedy="convert the published file first: maskvd convert",
            )
        return ClassifierShape(sides[0])

    @classmethod
    def class_names(cls, shape: ClassifierShape, file: WeightsFile) -> Sequence[str] | None:
        return stated_classes(file.metadata, shape.classes, file.path)

    @classmethod
    def notes(cls, arch: ViViTArch, shape: ClassifierShape, file: WeightsFile) -> list[str]:
        said = file.metadata.get("arch", arch.name)
        told: list[str] = []
        if said != arch.name:
            told.append(f"Weights {file.path.name} say that they are of {said}, not {arch.name}.")
        if tuned := file.metadata.get("tuned_for"):
            told.append(
                f"What follows the spatial model in {file.path.name} was tuned on its features "
                f"under {tuned}."
            )
        return told

    @classmethod
    def stages(cls, arch: ViViTArch, shape: ClassifierShape, grid: Size) -> Sequence[Stage]:
        return costs.stages_of(arch, shape, grid)

    @classmethod
    def looks(cls, arch: ViViTArch) -> Looks:
        return arch.looks

    @classmethod
    def conclusion(cls, arch: ViViTArch, shape: ClassifierShape) -> Macs:
        return costs.conclusion(arch, shape)

    @classmethod
    def shape_setting(cls, shape: ClassifierShape) -> dict[str, Any]:
        return {"classes": shape.classes}
