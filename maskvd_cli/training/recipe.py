"""What may stand in a training recipe: pydantic models, strict, unknown keys forbidden."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from maskvd_cli.recipe.section import Section
from maskvd_cli.recipe.sizes import FrameText, SizeText

# What may change between two starts of one training: nothing of it reaches the weights.
FREE = frozenset(
    {"description", "workers", "keep_mib", "evaluation", "checkpoint_every", "log_every"}
)


def _rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(values) or not all(values):
        raise ValueError("write rising numbers above 0")
    return values


class TrainingDataset(Section):
    """Which frames are learnt."""

    name: str = Field(description="of a kind of dataset: maskvd ls datasets")
    root: str | None = Field(
        default=None,
        description="the dataset's folder, relative to the recipe; $NAME is replaced; absent: the "
        "environment variable of the dataset (MASKVD_KITTI, ...)",
    )
    split: str | None = Field(default=None, description="default: the dataset's training split")
    protocol: str | None = Field(default=None, description="default: the dataset's first")
    stride: int = Field(default=1, ge=1, description="take every so many-th frame of a clip")


class EvaluationSection(Section):
    """When the scores of the model are measured, and on which frames."""

    split: str | None = Field(default=None, description="default: the dataset's evaluation split")
    stride: int = Field(default=1, ge=1, description="take every so many-th frame of a clip")
    limit: int | None = Field(default=None, ge=1, description="frames at most, spread over all")
    every: int = Field(default=1000, ge=1, description="steps between two evaluations")


class TrainedModel(Section):
    """The model; what of ViTDet is not said is ViTDet-B's. Sizes are rows x columns.

    Each family knows some of the words behind the sizes, and refuses the others.
    """

    name: str = Field(description="of an architecture: maskvd ls models")
    input: SizeText
    frame: FrameText | None = Field(default=None, description="default: the dataset's")
    channels: int = Field(default=256, ge=1, description="of pyramid, RPN and box head")
    hidden: int = Field(default=1024, ge=1, description="units of the box head's hidden layer")
    anchor_sizes: Annotated[tuple[float, float, float, float, float], AfterValidator(_rising)] = (
        Field(default=(32.0, 64.0, 128.0, 256.0, 512.0), description="pixels, one per level")
    )
    anchor_ratios: Annotated[tuple[float, ...], AfterValidator(_rising)] = Field(
        default=(0.5, 1.0, 2.0), min_length=1, description="height / width"
    )
    proposals: int = Field(default=1000, ge=1, description="of the RPN in training, per image")
    test_proposals: int = Field(default=300, ge=1, description="of the RPN at test, per image")
    regions: int = Field(
        default=512, ge=4, description="boxes that train the box head, per image; a quarter objects"
    )
    queries: int | None = Field(
        default=None, ge=1, description="of a set-based detector; default: the architecture's"
    )
    groups: int | None = Field(
        default=None,
        ge=1,
        description="of queries that learn side by side, of which the first is exported; default: "
        "the family's",
    )


class OptimiserSection(Section):
    """AdamW. Norms, biases, positions, relative tables and class token do not decay."""

    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.999,
    )
    clip: float | None = Field(
        default=None, gt=0, description="largest norm of all gradients together; null: no clipping"
    )
    rates: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="the learning rate of parameters whose names begin so (backbone.), as a share "
        "of that of all others",
    )


class ScheduleSection(Section):
    """How long, and how the learning rate runs; `length`, `warmup`, `milestones` in `unit`."""

    unit: Literal["steps", "epochs"] = "steps"
    length: float = Field(gt=0)
    warmup: float = Field(default=0, ge=0, description="linear rise from 0")
    decay: Literal["cosine", "milestones"] = "cosine"
    floor: float = Field(default=0.0, ge=0, description="learning rate at the end of the cosine")
    milestones: Annotated[tuple[float, ...], AfterValidator(_rising)] = ()
    factor: float = Field(default=0.1, gt=0, le=1, description="at each of the milestones")

    @model_validator(mode="after")
    def _consistent(self) -> ScheduleSection:
        if self.warmup >= self.length:
            raise ValueError("the warm-up is as long as the training; shorten it")
        if bool(self.milestones) != (self.decay == "milestones"):
            raise ValueError("milestones belong to `decay: milestones`, which needs them")
        return self


class AugmentationSection(Section):
    """How frames are changed."""

    flip: float = Field(default=0.0, ge=0, le=1, description="share of frames that are mirrored")
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        default=(1.0, 1.0), description="smallest and largest zoom of the placed frame"
    )

    @model_validator(mode="after")
    def _ordered(self) -> AugmentationSection:
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale: write the smaller number first")
        return self


class MaskSection(Section):
    """Train with the static mask on: tokens outside it give zero features."""

    static_keep_rate: float = Field(gt=0, le=1)


class ReductionSection(Section):
    """Train with a method on that loses tokens with depth: at first none, then ever more.

    The share of tokens that stay falls as a cosine. `begin` and `length` are in the schedule's
    unit.
    """

    name: str = Field(description="a method that loses tokens with depth: maskvd ls methods")
    params: dict[str, Any] = Field(
        default={}, description="the method's own, as in the recipe of a sweep"
    )
    begin: float = Field(default=0.0, ge=0, description="until then no token is lost")
    length: float = Field(
        default=0.0, ge=0, description="how long the share falls; 0: at once, as in fine-tuning"
    )


class MethodSection(Section):
    """Learn the weights that a method brings, beside a detector whose tokens it chooses.

    Of a recogniser: tune what follows its spatial model, which the method runs once, frozen.
    """

    name: str = Field(
        description="a method with weights of its own; for a recogniser the one that runs its "
        "spatial model: maskvd ls methods"
    )
    frozen: bool = Field(
        default=True,
        description="leave the detector as init gives it; false: it learns too, and is exported "
        "as NAME-detector.safetensors",
    )
    detector_rate: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="the detector's learning rate, as a share of that of the method's weights",
    )
    settings: dict[str, Any] = Field(
        default={},
        description="what the method's own page says of its training; for a recogniser the "
        "method's parameters",
    )


class TrainingRecipe(Section):
    """One training run."""

    model_config = ConfigDict(title="maskvd training recipe")

    schema_version: Annotated[int, Field(ge=1, le=1)] = Field(
        alias="schema", description="version of this format"
    )
    kind: Literal["training"] = Field(description="tells training recipes from those of sweeps")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="names the weights file")
    description: str = ""
    dataset: TrainingDataset
    model: TrainedModel
    init: str | None = Field(
        default=None, description="checkpoint to start from, relative to the recipe"
    )
    allow_missing: tuple[str, ...] = Field(
        default=(),
        description="patterns of parameters (pyramid.*) that start anew where the checkpoint does "
        "not have them, or has them in another shape",
    )
    leave: tuple[str, ...] = Field(
        default=(),
        description="patterns of the checkpoint's parameters (rpn.*) that are not taken over",
    )
    frozen: tuple[str, ...] = Field(
        default=(),
        description="patterns of parameters (backbone.*) that stay as init gives them",
    )
    optimiser: OptimiserSection
    schedule: ScheduleSection
    batch: int = Field(default=8, ge=1, description="frames that are computed together")
    accumulate: int = Field(default=1, ge=1, description="batches of one step")
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of averaged weights; 0: none")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="autocast; auto: bfloat16 on CUDA, float32 elsewhere"
    )
    augmentation: AugmentationSection = AugmentationSection()
    dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="share of what a recogniser's classifier sees that is dropped; default 0.5",
    )
    mask: MaskSection | None = None
    reduction: ReductionSection | None = None
    method: MethodSection | None = None
    evaluation: EvaluationSection = EvaluationSection()
    checkpoint_every: int = Field(default=500, ge=1, description="steps between two checkpoints")
    log_every: int = Field(default=20, ge=1, description="steps between two lines of the log")
    workers: int = Field(default=2, ge=0, description="processes that read or render frames")
    keep_mib: int = Field(
        default=0,
        ge=0,
        description="memory in which each of them keeps images, read or rendered once (MiB)",
    )
    seed: int = Field(default=0, ge=0, lt=2**32)
    export: Literal["float32", "float16"] = "float32"
    licence: str | None = Field(default=None, description="of the weights, for the model card")

    @model_validator(mode="after")
    def _something_to_miss(self) -> TrainingRecipe:
        if self.allow_missing and self.init is None:
            raise ValueError("allow_missing needs init, the checkpoint that may lack parameters")
        if self.leave and self.init is None:
            raise ValueError("leave needs init, the checkpoint whose parameters are not taken over")
        if self.optimiser.rates and self.method is not None:
            raise ValueError("method.detector_rate says how fast a detector learns; drop rates")
        return self

    @model_validator(mode="after")
    def _one_way_to_leave_out(self) -> TrainingRecipe:
        given = [name for name in ("mask", "reduction", "method") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: each leaves tokens out; give one of them")
        section = self.reduction
        if section is not None and section.begin + section.length > self.schedule.length:
            raise ValueError("reduction is not whole before the schedule ends; shorten it")
        return self

    @model_validator(mode="after")
    def _something_to_keep(self) -> TrainingRecipe:
        if self.frozen and self.init is None:
            raise ValueError("frozen needs init, the checkpoint whose parameters stay as they are")
        if self.frozen and self.method is not None:
            raise ValueError("method.frozen says whether the detector learns; leave frozen out")
        return self

    @model_validator(mode="after")
    def _a_detector_for_the_method(self) -> TrainingRecipe:
        if self.method is not None and self.init is None:
            raise ValueError("method needs init, the weights of the model that it runs")
        return self
