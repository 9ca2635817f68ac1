"""OWLv2 as a family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Stage, WeightsFile
from maskvd_cli.families.library_cases import LibraryCase
from maskvd_cli.families.owlv2.archs import ARCHS, Owlv2Arch
from maskvd_cli.families.owlv2.costs import stages_of
from maskvd_cli.families.owlv2.renaming import (
    ABSENT,
    OUR_QUERIES,
    QUERIES,
    expected_config,
    is_library,
    to_our_names,
)
from maskvd_cli.families.owlv2.shape import QueriesShape
from maskvd_cli.families.owlv2.texts import PROMPT, TOKENIZER, can_read_texts, queries_of
from maskvd_cli.families.snapshots import check_config
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.vitdet.stated import stated_classes

if TYPE_CHECKING:
    from maskvd_cli.families.owlv2.model import Owlv2


class Owlv2Family(Family[Owlv2Arch, QueriesShape]):
    """CLIP's vision transformer, and heads that read a box and classes from every patch."""

    name = "owlv2"
    description = "CLIP's ViT, every patch a detection, texts as classes (OWLv2, NeurIPS 2023)"
    task = "detection"
    default_input: ClassVar[str] = "960x960"
    published: ClassVar[Mapping[str, str]] = {
        "owlv2-base": "google/owlv2-base-patch16-ensemble",
    }
    published_beside: ClassVar[Sequence[str]] = TOKENIZER

    @classmethod
    def archs(cls) -> Sequence[Owlv2Arch]:
        return tuple(ARCHS.values())

    @classmethod
    def build(cls, arch: Owlv2Arch, shape: QueriesShape, input_size: Size, *, seed: int) -> Owlv2:
        from maskvd_cli.families.owlv2.model import Owlv2  # noqa: PLC0415 - planning

        return Owlv2(arch, shape, input_size, seed=seed)

    @classmethod
    def random_shape(cls, arch: Owlv2Arch, classes: int) -> QueriesShape:
        return QueriesShape(classes)

    @classmethod
    def adopted(cls, arch: Owlv2Arch, file: WeightsFile) -> WeightsFile:
        if not is_library(file.tensors):
            return file
        check_config(file, arch.name, expected_config(arch), ABSENT)
        if QUERIES not in file.tensors and file.wanted and can_read_texts(file):
            queries = queries_of(file.wanted, file)
            remark = f"Classes are texts, as in '{PROMPT.format(file.wanted[0])}'."
            file = replace(
                file,
                tensors={**file.tensors, QUERIES: queries},
                classes=list(file.wanted),
                remarks=(*file.remarks, remark),
            )
        return replace(file, tensors=to_our_names(file.tensors, arch, file.path))

    @classmethod
    def shape_of(cls, arch: Owlv2Arch, file: WeightsFile) -> QueriesShape:
        sides = tuple(file.tensors[OUR_QUERIES].shape) if OUR_QUERIES in file.tensors else ()
        if len(sides) != 2 or sides[0] < 1:
            raise CheckpointError(
                f"holds no {OUR_QUERIES}, one row per class, so it is no OWLv2 of maskvd",
                where=file.path,
                remedy="give the tensors of an OWLv2 of transformers, with queries among them",
            )
        return QueriesShape(sides[0])

    @classmethod
    def class_names(cls, shape: QueriesShape, file: WeightsFile) -> Sequence[str | None] | None:
        return file.classes or stated_classes(file.metadata, shape.classes, file.path)

    @classmethod
    def stages(cls, arch: Owlv2Arch, shape: QueriesShape, grid: Size) -> Sequence[Stage]:
        return stages_of(arch, shape, grid)

    @classmethod
    def shape_setting(cls, shape: QueriesShape) -> dict[str, Any]:
        return {"classes": shape.classes}

    @classmethod
    def library_case(cls) -> LibraryCase:
        from maskvd_cli.families.owlv2.library_case import (  # noqa: PLC0415 - planning
            owlv2_parts,
        )

        return LibraryCase("transformers", "hf", owlv2_parts)
