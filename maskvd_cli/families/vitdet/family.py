"""ViTDet and what was made after it, as a family of models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, cast

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Stage, WeightsFile
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.head_costs import stages_of

if TYPE_CHECKING:
    from maskvd_cli.families.vitdet.detector import Detector

_WIDTHS = {
    "classes": "box_head.classes.bias",
    "channels": "rpn.convs.0.bias",
    "hidden": "box_head.fc.bias",
}


class ViTDet(Family[ViTArch, HeadArch]):
    """A plain vision transformer, a simple feature pyramid, an RPN and one box head."""

    name = "vitdet"
    description = "plain ViT, simple feature pyramid, RPN and box head (ViTDet, ECCV 2022)"
    task = "detection"
    default_input: ClassVar[str] = "672x672"
    trainable = True

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
    def shape_of(cls, arch: ViTArch, file: WeightsFile) -> HeadArch:
        missing = [name for name in _WIDTHS.values() if name not in file.tensors]
        if missing:
            raise UsageError(
                f"{file.path} holds no {missing[0]}, so it is no detector of maskvd",
                remedy="convert the published file first: maskvd convert",
            )
        widths = {part: len(file.tensors[name]) for part, name in _WIDTHS.items()}
        widths["classes"] -= 1
        parts: dict[str, Any] = {**_said_heads(file.metadata), **widths}
        return HeadArch.for_patch(arch.patch, **parts)

    @classmethod
    def class_names(cls, file: WeightsFile) -> list[str | None] | None:
        return json.loads(file.metadata.get("classes", "null"))

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


def _said_heads(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what the file says of its heads; where it says nothing they are ViTDet-B's."""
    said: dict[str, Any] = json.loads(metadata.get("heads", "{}"))
    known = {field.name for field in fields(HeadArch)}
    # What concerns training alone is nested.
    plain = {name: value for name, value in said.items() if not isinstance(value, dict)}
    return {
        name: tuple(cast(list[float], value)) if isinstance(value, list) else value
        for name, value in plain.items()
        if name in known
    }
