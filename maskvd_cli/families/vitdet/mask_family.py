"""ViTDet with a mask head, as a family of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Stage
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.families.vitdet.family import ViTDet
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.head_costs import mask_stages_of

if TYPE_CHECKING:
    from maskvd_cli.families.vitdet.mask_detector import MaskDetector

_SUFFIX = "-mask"


@dataclass(frozen=True)
class MaskArch(ViTArch):
    """A backbone with a mask head behind it, named after the model without one."""

    @property
    def backbone_name(self) -> str:
        """The model without a mask head."""
        return self.name.removesuffix(_SUFFIX)


def with_masks(arch: ViTArch, paper: str = "") -> MaskArch:
    """Return the architecture with a mask head behind it."""
    parts = {part.name: getattr(arch, part.name) for part in fields(arch)}
    own = {"name": f"{arch.name}{_SUFFIX}", "paper": paper}
    return MaskArch(**{**parts, **own, "description": f"{arch.description}; with a mask head"})


_ARCHS = (
    with_masks(
        ARCHS["vitdet-ti-global"],
        "ours, after MaskVD's non-windowed backbone and Mask R-CNN's head",
    ),
)
MASK_ARCHS: dict[str, ViTArch] = {arch.name: arch for arch in _ARCHS}


class MaskViTDet(ViTDet):
    """ViTDet with a mask head, which computes the pixels of what the box head detects."""

    name = "vitdet-masks"
    description = "ViTDet with a mask head (Mask R-CNN's, with ViTDet's norms)"
    task = "instance-masks"

    @classmethod
    def archs(cls) -> Sequence[ViTArch]:
        return tuple(MASK_ARCHS.values())

    @classmethod
    def build(cls, arch: ViTArch, shape: HeadArch, input_size: Size, *, seed: int) -> MaskDetector:
        from maskvd_cli.families.vitdet.mask_detector import (  # noqa: PLC0415 - planning
            MaskDetector,
        )

        return MaskDetector(arch, shape, input_size, seed=seed)

    @classmethod
    def stages(cls, arch: ViTArch, shape: HeadArch, grid: Size) -> Sequence[Stage]:
        return mask_stages_of(arch, shape, grid)

    @classmethod
    def setting(cls, arch: ViTArch) -> dict[str, Any]:
        return {"family": cls.name, **super().setting(arch)}
