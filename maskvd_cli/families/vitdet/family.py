"""ViTDet and what was made after it, as a family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Stage, WeightsFile
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.head_costs import stages_of
from maskvd_cli.families.vitdet.stated import detector_heads, stated_classes, states_anchors

if TYPE_CHECKING:
    from maskvd_cli.families.vitdet.detector import Detector


class ViTDet(Family[ViTArch, HeadArch]):
    """A plain vision transformer, a simple feature pyramid, an RPN and one box head."""

    name = "vitdet"
    description = "plain ViT, simple feature pyramid, RPN and box head (ViTDet, ECCV 2022)"
    task = "detection"
    default_input: ClassVar[str] = "672x672"
    trainable = True
    trained_with = frozenset(
        {
            "channels",
            "hidden",
            "anchor_sizes",
            "anchor_ratios",
            "proposals",
            "test_proposals",
            "regions",
        }
    )

    @classmethod
    def archs(cls) -> Sequence[ViTArch]:
        return tuple(ARCHS.values())

    @classmethod
    def build(cls, arch: ViTArch, shape: HeadArch, input_size: Size, *, seed: int) -> Detector:
        from maskvd_cli.families.vitdet.detector import Detector  # noqa: PLC0415 - planning

        return Detector(arch, shape, input_size, seed=seed)

    @classmethod
    def random_shape(cls, arch: ViTArch, classes: int) -> HeadArch:
        return HeadArch.for_patch(arch.patch, classes=classes)

    @classmethod
    def trained_shape(cls, arch: ViTArch, classes: int, told: Mapping[str, Any]) -> HeadArch:
        return HeadArch.for_patch(
            arch.patch,
            classes=classes,
            channels=told["channels"],
            hidden=told["hidden"],
            anchor_sizes=told["anchor_sizes"],
            anchor_ratios=told["anchor_ratios"],
            post_nms=told["test_proposals"],
            training_pre_nms=2 * told["proposals"],
            training_post_nms=told["proposals"],
            box_sampling=replace(HeadArch.box_sampling, count=told["regions"]),
        )

    @classmethod
    def described(cls, shape: HeadArch) -> str:
        return f"{shape.channels} channels, {shape.hidden} hidden units"

    @classmethod
    def shape_of(cls, arch: ViTArch, file: WeightsFile) -> HeadArch:
        return detector_heads(file.tensors, file.metadata, arch, file.path)

    @classmethod
    def class_names(cls, shape: HeadArch, file: WeightsFile) -> Sequence[str] | None:
        return stated_classes(file.metadata, shape.classes, file.path)

    @classmethod
    def notes(cls, arch: ViTArch, shape: HeadArch, file: WeightsFile) -> list[str]:
        name, notes = file.path.name, list[str]()
        if not states_anchors(file.metadata, file.path):
            sizes = ", ".join(f"{size:g}" for size in shape.anchor_sizes)
            ratios = ", ".join(f"{ratio:g}" for ratio in shape.anchor_ratios)
            notes.append(
                f"Weights {name} do not say their anchors; taken are ViTDet-B's: sizes {sizes}, "
                f"ratios {ratios}. With other anchors than in training mAP50 is too low."
            )
        said = file.metadata.get("arch", arch.name)
        if said != arch.name:
            notes.append(f"Weights {name} say that they are of {said}, not {arch.name}.")
        return notes

    @classmethod
    def stages(cls, arch: ViTArch, shape: HeadArch, grid: Size) -> Sequence[Stage]:
        return stages_of(arch, shape, grid)

    @classmethod
    def setting(cls, arch: ViTArch) -> dict[str, Any]:
        # Points were keyed without a family when there was no other one.
        told = super().setting(arch)
        del told["family"]
        return told

    @classmethod
    def shape_setting(cls, shape: HeadArch) -> dict[str, Any]:
        return {
            "classes": shape.classes,
            "channels": shape.channels,
            "hidden": shape.hidden,
            "proposals": shape.post_nms,
        }

    @classmethod
    def measured_setting(cls, shape: HeadArch) -> dict[str, Any]:
        return {
            "anchor_sizes": list(shape.anchor_sizes),
            "anchor_ratios": list(shape.anchor_ratios),
        }
