"""LW-DETR as a family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.library_cases import LibraryCase
from maskvd_cli.families.lwdetr.archs import ARCHS, LWDETRArch
from maskvd_cli.families.lwdetr.published import REPOSITORIES, adopted
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.family import QueryFamily
from maskvd_cli.families.rfdetr.shape import QueryShape

if TYPE_CHECKING:
    from maskvd_cli.families.lwdetr.detector import LWDETR


class LWDETRFamily(QueryFamily):
    """A plain transformer in 4 x 4 windows, read at several depths, and RF-DETR's decoder."""

    name = "lwdetr"
    description = "plain ViT in 4 x 4 windows, projector, two-stage deformable decoder (LW-DETR)"
    default_input: ClassVar[str] = "640x640"
    published: ClassVar[Mapping[str, str]] = REPOSITORIES

    @classmethod
    def archs(cls) -> Sequence[LWDETRArch]:
        return tuple(ARCHS.values())

    @classmethod
    def build(cls, arch: QueryArch, shape: QueryShape, input_size: Size, *, seed: int) -> LWDETR:
        from maskvd_cli.families.lwdetr.detector import LWDETR  # noqa: PLC0415 - planning

        return LWDETR(arch, shape, input_size, seed=seed)

    @classmethod
    def adopted(cls, arch: QueryArch, file: WeightsFile) -> WeightsFile:
        return adopted(arch, file)

    @classmethod
    def library_case(cls) -> LibraryCase:
        from maskvd_cli.families.lwdetr.library_case import (  # noqa: PLC0415 - planning
            lwdetr_parts,
        )

        return LibraryCase("transformers", "hf", lwdetr_parts)
