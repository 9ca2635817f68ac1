"""What may stand in a recipe: pydantic models, strict, unknown keys forbidden."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from maskvd_cli.core.errors import unknown
from maskvd_cli.recipe import class_maps
from maskvd_cli.recipe.section import Section
from maskvd_cli.recipe.sizes import CanvasText, FrameText, Inputs, listed
from maskvd_cli.recipe.statistics import StatisticsSection

RANDOM_WEIGHTS = "random"
_CALLED = "^[a-z0-9][a-z0-9._+-]{0,63}$"
# Where a model runs; the number is torch's, among the GPUs that it sees.
DEVICE_PATTERN = "auto|cpu|cuda(:(0|[1-9][0-9]{0,2}))?"


def _device(text: str) -> str:
    if not re.fullmatch(DEVICE_PATTERN, text):
        raise ValueError("write auto, cpu, cuda or, of several GPUs, cuda:1")
    return text


DeviceText = Annotated[
    str, AfterValidator(_device), Field(json_schema_extra={"pattern": f"^({DEVICE_PATTERN})$"})
]


def _class_map(name: str) -> str:
    if name not in class_maps.names():
        raise ValueError(unknown("map of classes", name, class_maps.names()))
    return name


ClassList = Annotated[list[str | None], Field(min_length=1)]
ClassMap = Annotated[
    str,
    AfterValidator(_class_map),
    WithJsonSchema({"type": "string", "enum": class_maps.names()}),
]


def _no_bool(value: object) -> object:
    """Refuse `true`, which Python takes for 1."""
    if isinstance(value, bool):
        raise ValueError("write schema: 1")
    return value


class DatasetSection(Section):
    """Which annotations (and frames) the sweep runs over."""

    name: str = Field(description="of a kind of dataset: maskvd ls datasets")
    root: str | None = Field(
        default=None,
        description="the dataset's folder, relative to the recipe; $NAME is replaced; absent: the "
        "environment variable of the dataset (MASKVD_KITTI, ...)",
    )
    split: str | None = Field(default=None, description="default: the dataset's evaluation split")
    protocol: str | None = Field(
        default=None, description="how classes are merged, dropped or ignored; default: the first"
    )
    frame_stride: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="run on every so many-th frame of each clip, from its first, as if the others "
        "had not been recorded (4: one frame in four)",
    )
    pixels: Literal["images", "noise"] = Field(
        default="images",
        description="what frames show where the model runs: their images, or seeded noise, which "
        "costs the same and needs no image; only with weights: random",
    )
    clip_boxes: bool = Field(
        default=False,
        description="where the model runs, cut its boxes at the frame's border, and leave out "
        "those that lie in the padding; the papers' code cuts them at the padded input's alone",
    )
    statistics: StatisticsSection | None = Field(
        default=None,
        description="plan from the numbers of clips and frames alone, without root: no file is "
        "read, and methods that need boxes fail",
    )

    @field_validator("statistics")
    @classmethod
    def _in_place_of_the_dataset(
        cls, statistics: StatisticsSection | None, info: ValidationInfo
    ) -> StatisticsSection | None:
        if statistics is not None and info.data.get("root") is not None:
            raise ValueError(
                "statistics stand in for a dataset that is not there, and root names one whose "
                "clips would be counted themselves; leave one of them out (--set "
                "dataset.statistics=null)"
            )
        return statistics


class HeatmapSection(Section):
    """How the object heatmap behind static masks is accumulated."""

    split: str | None = Field(default=None, description="default: the dataset's training split")
    classes: str | list[str] = Field(
        default="all",
        description="all (every annotated box), protocol (the evaluated ones), or class names",
    )
    canvas: CanvasText | None = Field(
        default=None,
        description="rows x columns for native pixels, or input: boxes placed as the model sees "
        "them; default: the dataset's",
    )
    accumulate: Literal["sum", "union"] = Field(
        default="sum", description="count every box, or every pixel once a frame"
    )
    align: Literal["canvas", "image"] = Field(
        default="canvas",
        description="resize the whole canvas onto the frame (the published code), or only the "
        "part that the image covers",
    )
    clips: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="only the first so many clips of the split; default: all"
    )
    file: str | None = Field(
        default=None,
        description="take the heatmap from this file, relative to the recipe, in place of a split: "
        ".npz of `maskvd heatmap`, or .npy with an array of rows x columns such as MaskVD's "
        "heatmap_kitti.npy",
    )


def _without_default(schema: dict[str, Any]) -> None:
    """Leave a default out that may not be written, and stands for what others fill in."""
    del schema["default"]


class ModelSection(Section):
    """The model and the size of what it sees, rows x columns."""

    name: str = Field(default="vitdet-b", description="of an architecture: maskvd ls models")
    input: Inputs = Field(
        default=[],
        json_schema_extra=_without_default,
        description="padded input, a multiple of the patch; a list runs every method at each; "
        "default: what the model is made for",
    )
    frame: FrameText | None = Field(
        default=None,
        description="stretch frames to rows x columns, or fit: keep their aspect; default: as the "
        "model was trained, where it tells; else the dataset's at its own input, else fit",
    )
    weights: str | None = Field(
        default=None,
        description="weights file, or folder of the Hugging Face hub, relative to the recipe, or "
        "the name of a model that `maskvd get` fetched: the model runs and is measured; random: "
        "drawn from the seed, for latency and memory alone; absent: planned from annotations",
    )
    classes: ClassList | ClassMap | None = Field(
        default=None,
        description="the dataset's class that each class of the weights stands for, null for none; "
        "or a map that comes with maskvd, such as coco-to-kitti, or by-name: those that both have; "
        "default: as the file says, else the dataset's classes in their order",
    )
    called: Annotated[str, Field(pattern=_CALLED)] | None = Field(
        default=None,
        description="what reports and the entries of methods call it, where it stands in the "
        "recipe with several weights; default: its name",
    )

    @property
    def known_as(self) -> str:
        """What tells the model from others of its recipe."""
        return self.called or self.name


def _apart(models: list[ModelSection]) -> list[ModelSection]:
    names = [model.known_as for model in models]
    given = [(model.name, model.weights) for model in models]
    for name, one in zip(names, given, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"{name} stands here twice; remove one, or say what else it is called")
        if given.count(one) > 1:
            raise ValueError(f"{one[0]} stands here twice with the same weights; remove one")
    if len({_kind_of_weights(model) for model in models}) > 1:
        raise ValueError("give weights for all models, random ones for all, or for none")
    return models


def _kind_of_weights(model: ModelSection) -> str | None:
    return model.weights if model.weights in (None, RANDOM_WEIGHTS) else "file"


def _one_or_several(schema: dict[str, Any]) -> None:
    """Let the JSON schema of a list take one member without brackets, too."""
    several = {key: schema.pop(key) for key in ("type", "items", "minItems") if key in schema}
    schema["anyOf"] = [several["items"], several]


Models = Annotated[
    list[ModelSection],
    BeforeValidator(listed),
    Field(min_length=1, json_schema_extra=_one_or_several),
    AfterValidator(_apart),
]
Names = Annotated[
    list[str],
    BeforeValidator(listed),
    Field(min_length=1, json_schema_extra=_one_or_several),
]


class LimitSection(Section):
    """Run on a part of the data; results say so."""

    clips: int | None = Field(default=None, ge=1, description="only the first clips")
    frames: int | None = Field(default=None, ge=1, description="only the first frames of each clip")


class EntrySection(Section):
    """What an entry of `methods` holds besides the method's own parameters."""

    name: str = Field(description="of a method: maskvd ls methods")
    input: Inputs | None = Field(
        default=None, description="run only at this one of the model's inputs, or at these"
    )
    model: Names | None = Field(
        default=None, description="run only on this one of the recipe's models, or on these"
    )


# What earlier recipes may hold and nothing reads any more, with the reason.
RETIRED = {
    "resamples": "is not used any more: intervals are computed, nothing is drawn for them",
}


class Recipe(Section):
    """One sweep: a dataset, a model or several, methods with grids."""

    model_config = ConfigDict(title="maskvd recipe")

    schema_version: Annotated[Literal[1], BeforeValidator(_no_bool)] = Field(
        alias="schema", description="version of this format"
    )
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="names the folder of the results"
    )
    description: str = ""
    dataset: DatasetSection
    heatmap: HeatmapSection = HeatmapSection()
    models: Models = Field(
        default_factory=lambda: [ModelSection()],
        alias="model",
        description="what runs; a list runs every method on each",
    )
    detections: Literal["auto", "labels", "model"] = Field(
        default="auto",
        description="what drives masks: annotated boxes, or the detector's; auto: the model "
        "where weights are given, else the labels",
    )
    methods: list[dict[str, Any]] = Field(
        min_length=1,
        description="method name and parameters; a list of values makes a grid; input: only at "
        "these of the model's inputs",
    )
    metrics: list[str] | None = Field(
        default=None,
        description="what to measure where the model runs; how, stands under the metric's name; "
        "default: all that need no special hardware, without those that need a truth where the "
        "weights are random; tokens and GMACs are always counted",
    )
    device: DeviceText = Field(
        default="auto",
        description="where the model runs: auto (the GPU where there is one), cpu, cuda, or one of "
        "several GPUs, cuda:1",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="of weights, activations and what methods keep"
    )
    limit: LimitSection | None = Field(default=None, description="run on a part of the data")
    smoke: bool = Field(
        default=False,
        description="only try whether everything runs: 2 clips of 4 frames, short metrics",
    )
    seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("metrics")
    @classmethod
    def _each_metric_once(cls, metrics: list[str] | None) -> list[str] | None:
        if metrics is not None and len(set(metrics)) < len(metrics):
            raise ValueError("a metric stands here twice; remove one")
        return metrics

    _sections: dict[str, Section] = PrivateAttr(default_factory=dict[str, Section])

    @property
    def sections(self) -> Mapping[str, Section]:
        """What stands under the metrics' names, which this room does not know."""
        return self._sections

    def with_sections(self, sections: Mapping[str, Section]) -> Recipe:
        """Return the recipe with what stands under the metrics' names."""
        changed = self.model_copy()
        changed._sections = dict(sections)
        return changed

    def with_inputs(self, made_for: Callable[[str], str]) -> Recipe:
        """Return the recipe with an input for each model that has none, by its architecture."""
        models = [
            model if model.input else model.model_copy(update={"input": [made_for(model.name)]})
            for model in self.models
        ]
        return self.model_copy(update={"models": models})

    def content(self) -> dict[str, Any]:
        """Return what differs from the defaults, as it would be written."""
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for name, section in self._sections.items():
            if given := section.model_dump(mode="json", exclude_defaults=True):
                content[name] = given
        return content

    @property
    def model(self) -> ModelSection:
        """The first model, which in the recipe of a scene is the only one."""
        return self.models[0]

    def arch_of(self, known_as: str) -> str:
        """Return the architecture of one of the models."""
        return next(model.name for model in self.models if model.known_as == known_as)

    def for_each_model(self) -> list[Recipe]:
        """Return a recipe with one model for each of the models."""
        return [self.model_copy(update={"models": [model]}) for model in self.models]


def limit_of(recipe: Recipe) -> LimitSection | None:
    """Return which part of the data a recipe runs on; None: all of it."""
    return SMOKE_LIMIT if recipe.smoke else recipe.limit


SMOKE_LIMIT = LimitSection(clips=2, frames=4)
