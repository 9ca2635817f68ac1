"""YOLOS as a family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Stage, WeightsFile
from maskvd_cli.families.coco import named_or_coco
from maskvd_cli.families.library_cases import LibraryCase
from maskvd_cli.families.snapshots import check_config, labels_of
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.vitdet.stated import stated_classes
from maskvd_cli.families.yolos.archs import ARCHS, YolosArch
from maskvd_cli.families.yolos.costs import stages_of
from maskvd_cli.families.yolos.renaming import (
    ABSENT,
    CLASSES,
    expected_config,
    is_library,
    outputs_of,
    to_our_names,
)
from maskvd_cli.families.yolos.shape import HeadsShape

if TYPE_CHECKING:
    from maskvd_cli.families.yolos.model import Yolos


class YolosFamily(Family[YolosArch, HeadsShape]):
    """A plain vision transformer with detection tokens, and two heads on these."""

    name = "yolos"
    description = "plain ViT with 100 detection tokens and two small heads (YOLOS, NeurIPS 2021)"
    task = "detection"
    default_input: ClassVar[str] = "512x864"
    published: ClassVar[Mapping[str, str]] = {name: f"hustvl/{name}" for name in ARCHS}

    @classmethod
    def archs(cls) -> Sequence[YolosArch]:
        return tuple(ARCHS.values())

    @classmethod
    def build(cls, arch: YolosArch, shape: HeadsShape, input_size: Size, *, seed: int) -> Yolos:
        from maskvd_cli.families.yolos.model import Yolos  # noqa: PLC0415 - planning

        return Yolos(arch, shape, input_size, seed=seed)

    @classmethod
    def random_shape(cls, arch: YolosArch, classes: int) -> HeadsShape:
        return HeadsShape(classes)

    @classmethod
    def adopted(cls, arch: YolosArch, file: WeightsFile) -> WeightsFile:
        if not is_library(file.tensors):
            return file
        check_config(file, arch.name, expected_config(arch), ABSENT)
        classes = outputs_of(file.tensors) - 1
        named = named_or_coco(replace(file, classes=labels_of(file, classes)), classes)
        return replace(named, tensors=to_our_names(file.tensors, arch, file.path))

    @classmethod
    def shape_of(cls, arch: YolosArch, file: WeightsFile) -> HeadsShape:
        sides = tuple(file.tensors[CLASSES].shape) if CLASSES in file.tensors else ()
        # The last output stands for no object.
        if len(sides) != 1 or sides[0] < 2:
            raise CheckpointError(
                f"holds no {CLASSES} of classes and no object, so it is no YOLOS",
                where=file.path,
                remedy="give the model.safetensors of a YOLOS of transformers",
            )
        return HeadsShape(sides[0] - 1)

    @classmethod
    def class_names(cls, shape: HeadsShape, file: WeightsFile) -> Sequence[str | None] | None:
        return file.classes or stated_classes(file.metadata, shape.classes, file.path)

    @classmethod
    def stages(cls, arch: YolosArch, shape: HeadsShape, grid: Size) -> Sequence[Stage]:
        return stages_of(arch, shape, grid)

    @classmethod
    def shape_setting(cls, shape: HeadsShape) -> dict[str, Any]:
        return {"classes": shape.classes}

    @classmethod
    def library_case(cls) -> LibraryCase:
        from maskvd_cli.families.yolos.library_case import (  # noqa: PLC0415 - planning
            yolos_parts,
        )

        return LibraryCase("transformers", "hf", yolos_parts)
