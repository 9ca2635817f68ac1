"""RF-DETR as a family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Stage, WeightsFile
from maskvd_cli.families.rfdetr.archs import ARCHS, QueryArch
from maskvd_cli.families.rfdetr.costs import stages_of
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.vitdet.stated import stated_classes

if TYPE_CHECKING:
    from maskvd_cli.families.rfdetr.detector import RFDETR

# Of queries in training; the authors have 13.
GROUPS = 13
_CLASSES, _QUERIES = "queries.detr.class_embed.bias", "queries.detr.model.query_feat.weight"


class RFDETRFamily(Family[QueryArch, QueryShape]):
    """A DINOv2 transformer in windows, read at four depths, and a two-stage DETR decoder."""

    name = "rfdetr"
    description = "DINOv2 in large windows, projector, two-stage deformable decoder (RF-DETR)"
    task = "detection"
    default_input: ClassVar[str] = "384x384"
    trainable = True
    trained_with = frozenset({"queries", "groups"})

    @classmethod
    def archs(cls) -> Sequence[QueryArch]:
        return tuple(ARCHS.values())

    @classmethod
    def build(cls, arch: QueryArch, shape: QueryShape, input_size: Size, *, seed: int) -> RFDETR:
        from maskvd_cli.families.rfdetr.detector import RFDETR  # noqa: PLC0415 - planning

        return RFDETR(arch, shape, input_size, seed=seed)

    @classmethod
    def random_shape(cls, arch: QueryArch, classes: int) -> QueryShape:
        return QueryShape(classes, arch.queries)

    @classmethod
    def trained_shape(cls, arch: QueryArch, classes: int, told: Mapping[str, Any]) -> QueryShape:
        if find_spec("scipy") is None:
            raise UsageError(
                f"the losses of {arch.name} match queries to objects with scipy",
                remedy="pip install scipy",
            )
        queries, groups = told["queries"] or arch.queries, told["groups"] or GROUPS
        return QueryShape(classes, queries, groups=groups)

    @classmethod
    def shape_of(cls, arch: QueryArch, file: WeightsFile) -> QueryShape:
        classes, queries = (tuple(file.tensors[name].shape) if name in file.tensors else ()
                            for name in (_CLASSES, _QUERIES))  # fmt: skip
        if len(classes) != 1 or len(queries) != 2 or min(classes[0], queries[0]) < 1:
            raise CheckpointError(
                f"holds no {_CLASSES} and {_QUERIES}, so it is no {cls.name} of maskvd",
                where=file.path,
                remedy="give weights that maskvd wrote",
            )
        return QueryShape(classes[0], queries[0])

    @classmethod
    def class_names(cls, shape: QueryShape, file: WeightsFile) -> Sequence[str] | None:
        return stated_classes(file.metadata, shape.classes, file.path)

    @classmethod
    def notes(cls, arch: QueryArch, shape: QueryShape, file: WeightsFile) -> list[str]:
        said = file.metadata.get("arch", arch.name)
        if said == arch.name:
            return []
        return [f"Weights {file.path.name} say that they are of {said}, not {arch.name}."]

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
