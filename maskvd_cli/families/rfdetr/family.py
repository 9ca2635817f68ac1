"""RF-DETR as a family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Stage, WeightsFile
from maskvd_cli.families.library_cases import LibraryCase
from maskvd_cli.families.rfdetr.archs import ARCHS, QueryArch, on_table
from maskvd_cli.families.rfdetr.costs import stages_of
from maskvd_cli.families.rfdetr.published import REPOSITORIES, adopted, table_of
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.vitdet.stated import stated_classes

if TYPE_CHECKING:
    from maskvd_cli.families.rfdetr.detector import RFDETR

# Of queries in training; the authors have 13.
GROUPS = 13
_CLASSES, _QUERIES = "queries.detr.class_embed.bias", "queries.detr.model.query_feat.weight"


class QueryFamily(Family[QueryArch, QueryShape]):
    """A transformer in windows, read at several depths, and a two-stage DETR decoder."""

    task = "detection"
    trainable = True
    trained_with = frozenset({"queries", "groups"})

    @classmethod
    def random_shape(cls, arch: QueryArch, classes: int) -> QueryShape:
        return QueryShape(classes, arch.queries)

    @classmethod
    def trained_shape(cls, arch: QueryArch, classes: int, told: Mapping[str, Any]) -> QueryShape:
        if find_spec("scipy") is None:
            raise UsageError(
                f"the losses of {arch.name} match queries to objects with scipy",
                remedy="pip install 'maskvd[hf]'",
            )
        queries, groups = told["queries"] or arch.queries, told["groups"] or GROUPS
        return QueryShape(classes, queries, groups=groups)

    @classmethod
    def frame_at(cls, arch: QueryArch, input_size: Size) -> Size | None:
        return input_size

    @classmethod
    def shape_of(cls, arch: QueryArch, file: WeightsFile) -> QueryShape:
        classes, queries = (tuple(file.tensors[name].shape) if name in file.tensors else ()
                            for name in (_CLASSES, _QUERIES))  # fmt: skip
        if len(classes) != 1 or len(queries) != 2 or min(classes[0], queries[0]) < 1:
            raise CheckpointError(
                f"holds no {_CLASSES} and {_QUERIES}, so it is no {cls.name}",
                where=file.path,
                remedy="give weights of maskvd, of the hub, or of rfdetr",
            )
        return QueryShape(classes[0], queries[0], table=table_of(arch, file))

    @classmethod
    def class_names(cls, shape: QueryShape, file: WeightsFile) -> Sequence[str | None] | None:
        return file.classes or stated_classes(file.metadata, shape.classes, file.path)

    @classmethod
    def notes(cls, arch: QueryArch, shape: QueryShape, file: WeightsFile) -> list[str]:
        said, notes = file.metadata.get("arch", arch.name), list[str]()
        if said != arch.name:
            notes.append(f"Weights {file.path.name} say that they are of {said}, not {arch.name}.")
        if shape.table is not None:
            notes.append(
                f"Weights {file.path.name} were trained for {file.metadata['input']}, not for the "
                f"input that {arch.name} is made for."
            )
        return notes

    @classmethod
    def stages(cls, arch: QueryArch, shape: QueryShape, grid: Size) -> Sequence[Stage]:
        return stages_of(arch, shape, grid)

    @classmethod
    def described(cls, shape: QueryShape) -> str:
        return f"{shape.queries} queries"

    @classmethod
    def setting(cls, arch: QueryArch) -> dict[str, Any]:
        # The shape tells how many queries there are.
        told = super().setting(arch)
        del told["queries"]
        return told

    @classmethod
    def shape_setting(cls, shape: QueryShape) -> dict[str, Any]:
        return {"classes": shape.classes, "queries": shape.queries}


class RFDETRFamily(QueryFamily):
    """A DINOv2 transformer in windows, read at four depths, and a two-stage DETR decoder."""

    name = "rfdetr"
    description = "DINOv2 in large windows, projector, two-stage deformable decoder (RF-DETR)"
    default_input: ClassVar[str] = "384x384"
    published: ClassVar[Mapping[str, str]] = REPOSITORIES

    @classmethod
    def archs(cls) -> Sequence[QueryArch]:
        return tuple(ARCHS.values())

    @classmethod
    def made_for(cls, arch: QueryArch) -> str:
        table = arch.position_table
        return f"{table.rows * arch.patch}x{table.cols * arch.patch}"

    @classmethod
    def build(cls, arch: QueryArch, shape: QueryShape, input_size: Size, *, seed: int) -> RFDETR:
        from maskvd_cli.families.rfdetr.detector import RFDETR  # noqa: PLC0415 - planning

        return RFDETR(on_table(arch, shape.table), shape, input_size, seed=seed)

    @classmethod
    def adopted(cls, arch: QueryArch, file: WeightsFile) -> WeightsFile:
        return adopted(arch, file)

    @classmethod
    def library_case(cls) -> LibraryCase:
        from maskvd_cli.families.rfdetr.library_case import (  # noqa: PLC0415 - planning
            rfdetr_parts,
        )

        return LibraryCase("transformers", "hf", rfdetr_parts)
