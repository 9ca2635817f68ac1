"""What stands in result files, with a version; unknown keys and NaN are refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from maskvd_cli.core.filenames import file_name
from maskvd_cli.store.earlier_names import without_unfilled
from maskvd_cli.store.earlier_plan import with_legend

# 5: every file has a checksum; what was measured stands by quantity.
SCHEMA_VERSION = 5

SchemaVersion = Literal[1, 2, 3, 4, 5]

# Bounds keep what reports compute from damaged files finite, and counts within 64 bits.
Real = Annotated[float, Field(allow_inf_nan=False, ge=-1e18, le=1e18)]
Count = Annotated[int, Field(ge=0, le=2**53)]
# A list in JSON, which is one still where the object was changed on the way in.
Curve = Annotated[tuple[Real, Real, Real], Field(strict=False)]
# What is joined to a folder to find a file: a name, never a path.
FileName = Annotated[str, AfterValidator(file_name)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Stored(BaseModel):
    """Base of everything stored: strict, closed, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class StoredEstimate(Stored):
    """A value and its 95 % interval; the bounds are None where too little was measured for one."""

    value: Real = Field(description="the estimate itself")
    low: Real | None = Field(default=None, description="lower end of the interval")
    high: Real | None = Field(default=None, description="upper end of the interval")


class Metrics(Stored):
    """What one point measured or counted; None where it was not, never zero.

    Means are over all frames, full ones included.
    """

    clips: Count = Field(description="that the point stands on")
    frames: Count = Field(description="of all these clips")
    tokens: Real = Field(
        description="mean recomputed tokens per frame; where layers differ, the mean over layers"
    )
    keep_rate: Real = Field(description="recomputed tokens / all tokens")
    keep_rate_real: Real | None = Field(
        description="recomputed real tokens / tokens not wholly padding; None where frames' sizes "
        "are not known, and where layers recompute different tokens"
    )
    full_frame_share: Real = Field(description="share of frames that recompute every token")
    gmacs: Real = Field(description="backbone, matrix products, mean over frames, 1e9 MACs")
    gmacs_published: Real | None = Field(
        description="backbone, the papers' counter, mean over frames; None where the method has no "
        "closed form of it"
    )
    gmacs_detector: Real | None = Field(
        default=None,
        description="the whole model: patch embedding, backbone as in gmacs, and what follows it, "
        "matrix products and convolutions, mean over frames; a detector's at each frame's own "
        "proposals where it ran, else at the most that its RPN lets through; None where the number "
        "of classes is not known",
    )
    gmacs_published_at_mean_tokens: Real | None = Field(
        description="the papers' counter evaluated once, at the mean token count; None where more "
        "than that count decides"
    )
    cost_curve: Curve | None = Field(
        description="c0, c1, c2: gmacs_published of a frame with n tokens is c0 + c1 n + c2 n^2, "
        "with gates of a frame after the clip's first; None where more than n decides"
    )
    tmacs_video: Real | None = Field(
        default=None,
        description="all looks at a video and what concludes them, the papers' counter, 1e12 MACs; "
        "None where a model sees every frame once, and where that counter is not known",
    )
    state_bytes: Count = Field(
        description="bytes kept between frames: of the method's tensors, the most over all frames, "
        "where the model ran, else in closed form for float32"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_before_schema_5(cls, data: object) -> object:
        if isinstance(data, Mapping):
            return without_unfilled(data)  # pyright: ignore[reportUnknownArgumentType]
        return data


class Excerpt(BaseModel):
    """Base of what reports read of something larger: strict and immutable, but it may hold more."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class StatedExtent(Excerpt):
    """Numbers that a recipe states of a dataset that is not read."""

    clips: Count = Field(description="how many")
    frames: Count = Field(description="of all clips")


class MeasuredSetting(Excerpt):
    """What else decides where the model ran."""

    weights: str = Field(description="sha256 of the weights file, or random")
    precision: str = Field(description="of weights and activations")
    device: str | None = Field(default=None, description="cpu or cuda")
    pixels: str | None = Field(default=None, description="images or noise")
    clip_boxes: bool = Field(default=False, description="whether boxes were cut at the frame")


class SubsetSetting(Excerpt):
    """Which part of the data was run."""

    clips: Count | None = Field(default=None, description="the first so many")
    frames: Count | None = Field(default=None, description="the first so many of each clip")
    smoke: bool = Field(default=False, description="only tried out")


class DatasetSetting(Excerpt):
    """Whose frames a point stands on."""

    name: str = Field(description="of the dataset")
    split: str = Field(description="of the dataset")
    protocol: str = Field(description="which boxes count, and how")
    statistics: StatedExtent | None = Field(
        default=None, description="clips and frames where only their numbers are given"
    )
    frame_stride: Count | None = Field(
        default=None, description="every so many-th frame of each clip was run; None: all"
    )


class ModelSetting(Excerpt):
    """Which backbone saw them, and how large."""

    name: str = Field(description="of the architecture")
    backbone: str = Field(description="windowed or non-windowed")
    input: str = Field(description="rows x columns, padded")
    frame: str = Field(description="rows x columns that frames are resized to")


class Setting(Excerpt):
    """What all points of a run share."""

    dataset: DatasetSetting
    model: ModelSetting
    heatmap: dict[str, Any] | None
    seed: Count
    measured: MeasuredSetting | None = None
    subset: SubsetSetting | None = None


class Failure(Stored):
    """Why a point has no metrics."""

    kind: str = Field(description="name of the exception")
    message: str = Field(description="what went wrong, and the remedy where one is known")
    traceback: str | None = Field(default=None, description="its end, where this is a bug")


class PointRecord(Stored):
    """One file per finished or failed point: `points/<key>.json`."""

    schema_version: SchemaVersion = Field(default=SCHEMA_VERSION, alias="schema")
    key: FileName = Field(description="readable name and a hash of all that decides the result")
    label: str = Field(description="method and the parameters that name the point")
    status: Literal["ok", "failed"] = Field(description="failed: see failure")
    method: str = Field(description="by its registered name")
    revision: int = Field(
        description="of the method; rises when the same parameters give other results"
    )
    params: dict[str, Any] = Field(description="all of them, defaults included")
    setting: dict[str, Any] = Field(
        description="dataset, model, heatmap, seed and everything else that decides the result"
    )
    environment: dict[str, Any] = Field(description="command, machine and software of this point")
    metrics: Metrics | None = Field(description="None where the point failed")
    failure: Failure | None = Field(description="None where it did not fail")
    finished: str = Field(description="UTC, ISO 8601")
    seconds: Real = Field(description="time this point took")
    tool_version: str = Field(description="of maskvd")
    files: dict[str, Digest] = Field(
        default={}, description="sha256 of the files beside it, by their place in the run's folder"
    )
    pieces: Count | None = Field(
        default=None, description="how many clips the model ran over, a file each; None: none"
    )
    outputs: Digest | None = Field(
        default=None,
        description="sha256 of what the model gave of all clips: two points with the same gave the "
        "same, to the last digit; None: no model ran, or the file is older",
    )

    @field_validator("setting")
    @classmethod
    def _setting_can_be_read(cls, setting: dict[str, Any]) -> dict[str, Any]:
        Setting.model_validate(setting)
        return setting

    @model_validator(mode="after")
    def _status_is_true(self) -> Self:
        ok = self.status == "ok"
        if ok != (self.metrics is not None) or ok != (self.failure is None):
            raise ValueError("a point has metrics where it is ok, a failure where it failed")
        return self


class StoredQuantity(Stored):
    """What a column holds, so that a report needs neither the metric nor the task."""

    name: str = Field(description="in files and columns")
    header: str = Field(description="for people")
    unit: str = Field(description="as printed; empty where it has none")
    digits: Count = Field(description="after the point")
    more_is_better: bool | None = Field(description="None: neither direction is")
    meaning: str = Field(description="one line")
    comparison: Literal["exact", "ratio", "difference"] = Field(description="between two runs")
    spare: Count = Field(description="how dispensable its column is; 0: never left out")
    of: str = Field(description="the metric that yields it, or `counts`")


class StoredFigure(Stored):
    """A figure that methods of one kind have of their own: the headline over another quantity."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="of its files")
    across: str = Field(description="the quantity along the horizontal axis")
    below: list[str] = Field(default=[], description="quantities drawn below, over the same axis")
    labelled: str | None = Field(default=None, description="the parameter written beside points")
    beside: list[str] = Field(
        default=[], description="methods of another kind that are drawn too, with the baseline"
    )


class StoredMethod(Stored):
    """What reports must know of a method, so that they name and import none."""

    role: Literal["method", "control", "baseline"] = Field(
        description="baseline: what others are compared with; control: knows the truth or nothing"
    )
    description: str = Field(description="one line")
    paper: str = Field(description="where it was published; empty where nowhere")
    columns: dict[str, str] = Field(
        default={}, description="parameters that have a column of their own, and its header"
    )
    colour: str | None = Field(default=None, description="of its lines and marks, #rrggbb")
    mark: str | None = Field(default=None, description="of its points, in matplotlib's naming")
    defaults: dict[str, Any] = Field(
        default={}, description="of its parameters; a baseline with these is the baseline itself"
    )
    figure: StoredFigure | None = Field(default=None, description="that shows methods of its kind")

    def is_baseline(self, params: Mapping[str, Any]) -> bool:
        """Tell whether a point of the method is the baseline itself: every parameter by default.

        `true` and 1.0, which equal 1 in Python, are not the whole number.
        """
        return self.role == "baseline" and all(
            value is None or _is_same(value, self.defaults.get(name))
            for name, value in params.items()
        )


def _is_same(value: object, default: object) -> bool:
    return type(value) is type(default) and value == default


class PlannedPoint(Stored):
    """A point as the plan lists it."""

    key: FileName = Field(description="readable name and a hash of all that decides the result")
    label: str = Field(description="method and the parameters that name the point")
    method: str = Field(description="by its registered name")
    params: dict[str, Any] = Field(description="all of them, defaults included")
    model: str | None = Field(default=None, description="the backbone; None before schema 4")
    input: str | None = Field(default=None, description="rows x columns; None in schema 1")
    named: list[str] = Field(
        default=[], description="parameters in the label; in schema 1 they were not told"
    )


class Protocol(Excerpt):
    """What reports and sweeps read of how a pass is measured."""

    rounds: Count | None = Field(default=None, description="how often each frame is timed")
    frames: Count | None = Field(default=None, description="in each round, or in all")
    warmup: Count | None = Field(default=None, description="frames that are not timed")
    seed: Count | None = Field(default=None, description="of its draws")
    seconds: Real | None = Field(default=None, description="least time of work")


class Plan(Stored):
    """`plan.json`, written before anything runs, so that a reader knows what is missing."""

    schema_version: SchemaVersion = Field(default=SCHEMA_VERSION, alias="schema")
    recipe: str = Field(description="its name")
    description: str = Field(description="the recipe's own")
    recipe_file: str = Field(description="where it was read from")
    assignments: list[str] = Field(description="--set overrides")
    created: str = Field(description="UTC, ISO 8601")
    detections: str = Field(description="what drives masks: model or labels")
    detections_reason: str = Field(description="why")
    notes: list[str] = Field(description="what the reader of the annotations remarked")
    measure: dict[str, Any] | None = Field(
        default=None, description="metrics and their protocols; None: planned, nothing is measured"
    )
    task: str = Field(default="detection", description="what the model is asked for")
    headline: str | None = Field(
        default=None, description="the quantity that verdicts and fronts are about"
    )
    quantities: list[StoredQuantity] = Field(
        default=[], description="of the task and the metrics, in the order of columns"
    )
    methods: dict[str, StoredMethod] = Field(
        default={}, description="what the points are, by the method's name"
    )
    points: list[PlannedPoint] = Field(description="in the order in which they run")
    tool_version: str = Field(description="of maskvd")

    @model_validator(mode="before")
    @classmethod
    def _from_before_schema_5(cls, data: object) -> object:
        if isinstance(data, Mapping) and "quantities" not in data:
            return with_legend(data)  # pyright: ignore[reportUnknownArgumentType]
        return data  # pyright: ignore[reportUnknownVariableType]

    @field_validator("measure")
    @classmethod
    def _measure_can_be_read(cls, measure: dict[str, Any] | None) -> dict[str, Any] | None:
        if measure is None:
            return None
        metrics: object = measure.get("metrics")
        if not isinstance(metrics, list) or not all(isinstance(name, str) for name in metrics):  # pyright: ignore
            raise ValueError("metrics is no list of names")
        for name in metrics:  # pyright: ignore[reportUnknownVariableType]
            # Each is a folder's name.
            file_name(name)  # pyright: ignore[reportUnknownArgumentType]
            Protocol.model_validate(measure.get(name, {}))  # pyright: ignore[reportUnknownArgumentType]
        return measure

    @field_validator("created")
    @classmethod
    def _created_is_a_time(cls, created: str) -> str:
        if datetime.fromisoformat(created).tzinfo is None:
            raise ValueError("is no time with its zone")
        return created

    @field_validator("points")
    @classmethod
    def _keys_differ(cls, points: list[PlannedPoint]) -> list[PlannedPoint]:
        if len({point.key for point in points}) < len(points):
            raise ValueError("a key stands twice")
        return points
