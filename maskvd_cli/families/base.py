"""What every family of models is: architectures, models built from them, their parts and costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Protocol,
    Self,
    TypeVar,
    runtime_checkable,
)

import torch
from torch import Tensor, nn

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.vit import Block

if TYPE_CHECKING:
    from maskvd_cli.families.library_cases import LibraryCase

EMBED, BACKBONE, HEAD = "embed", "backbone", "head"


class Arch(Protocol):
    """The shape of a backbone: numbers and words, no weights. Frozen and comparable.

    `patch`: pixels of a token's or a cell's side, which divides every input; `backbone`: its kind
    in one word, for tables; `has`: in the words of `families.blocks.traits`.
    """

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def paper(self) -> str: ...
    @property
    def patch(self) -> int: ...
    @property
    def backbone(self) -> str: ...
    @property
    def has(self) -> frozenset[str]: ...

    def grid(self, input_size: Size) -> Size:
        """Return the grid of an input. Raises UsageError unless the patch divides it."""
        ...


class Backbone(Protocol):
    """What stands between embedding and head; `arch` says what it has.

    Called with what `Model.embed` gave and the grid, it runs densely and returns what
    `Model.finish` takes. Anything more is between the family and the methods made for it.
    """

    @property
    def arch(self) -> Any: ...

    def __call__(self, embedded: Tensor, grid: Size) -> Tensor: ...


class TokenBackbone(Protocol):
    """A backbone that `has` tokens: steps that methods compose, as `blocks.vit` has them.

    `arch` also tells `dim`, `heads`, `depth`, `global_blocks`, `window`, and how many tokens stand
    before (`lead`) and behind (`trail`) those of the grid; `with_class_token` adds them. `between`
    follows every block; `finish` turns the sequence after the last one into features.
    """

    blocks: Sequence[Block]

    @property
    def arch(self) -> Any: ...
    @property
    def has(self) -> frozenset[str]: ...

    def __call__(self, tokens: Tensor, grid: Size, pool: int = 1) -> Tensor: ...
    def positions_on(self, grid: Size) -> Tensor: ...
    def with_class_token(self, tokens: Tensor) -> Tensor: ...
    def between(
        self, number: int, sequence: Tensor, grid: Size, rows: Tensor | None = None
    ) -> Tensor: ...
    def finish(self, sequence: Tensor) -> Tensor: ...


@runtime_checkable
class Output(Protocol):
    """What a model says of one image; only its task knows more of it."""

    def to(self, device: torch.device | str) -> Self:
        """Return the same on another device."""
        ...


@dataclass(frozen=True)
class Stage:
    """One part of a model beside the backbone. `part`: `embed` or `head`.

    `macs` gives its multiply-accumulates at an output, matrix products and convolutions; at None
    the most that it can cost. None in its place: no closed form, the operations are counted.
    """

    name: str
    part: str
    macs: Callable[[Any], float] | None = None


def cost_of(stages: Sequence[Stage], output: Any, parts: Collection[str]) -> float | None:
    """Return the MACs of the stages of these parts; None where one has no closed form."""
    total = 0.0
    for stage in stages:
        if stage.part in parts:
            if stage.macs is None:
                return None
            total += stage.macs(output)
    return total


class Model(nn.Module, ABC):
    """A whole model for one input size, on any device. `stages`: its parts beside the backbone.

    `task`: as its family's. `concludes`: whether `conclude` says more of a clip than its frames do.
    """

    task: ClassVar[str] = "detection"
    concludes: ClassVar[bool] = False
    arch: Any
    input_size: Size
    grid: Size
    backbone: Any

    @property
    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The model's parts beside the backbone, in order of execution."""

    @property
    def looks(self) -> Looks | None:
        """How the model looks at a video, as its family says; None: at every frame."""
        return None

    @abstractmethod
    def embed(self, images: Sequence[Tensor]) -> Tensor:
        """Return what the backbone takes of images (3, rows, cols) uint8, one row per image.

        Of a model that looks at steps of several frames, the images are those of one step, cropped
        to the input, float32 in 0..255 where they were resized; they give one row together.
        Raises UsageError for an image that does not fit into the input.
        """

    @abstractmethod
    def finish(self, features: Tensor) -> list[Any]:
        """Return an `Output` per image from the backbone's features, on the model's device.

        Raises MaskvdError where they are not finite.
        """

    def conclude(self, outputs: Sequence[Any]) -> Any:
        """Return what the model says of a whole clip, from the outputs of all its frames in order.

        It stands in the place of the last output; by default it is that one.
        """
        return outputs[-1]

    def around_macs(self, output: Any = None, ran: Collection[str] = (EMBED, HEAD)) -> float | None:
        """Return the MACs outside the backbone of a frame with this output.

        `ran`: the parts that ran on it. None where the operations must be counted.
        """
        return cost_of(self.stages, output, ran)


class TrainableModel(Model):
    """A model that `maskvd train` can train: it has losses, and says what of it is exported.

    `heads`: the shape of what follows the backbone as it is at test, a dataclass.
    """

    heads: Any

    @abstractmethod
    def head_losses(
        self, features: Tensor, targets: Sequence[Any], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return losses by name, to be summed, from the backbone's features, whoever computed them.

        All that is drawn comes from `generator`. Raises UsageError for a label that is no class.
        """

    def exported(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what inference needs of `tensors`, by the names of the model; by default all."""
        return dict(tensors)


class HasClasses(Protocol):
    """The shape of what follows the backbone; `classes` that it tells apart."""

    @property
    def classes(self) -> int: ...


A = TypeVar("A", bound=Arch)
S = TypeVar("S", bound=HasClasses)


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file holds: tensors by name, and what its writer said beside them.

    `metadata` are those of our own training, `config` a library's beside the file, `settings` what
    else a .pth holds: none of them is checked. A family that adopts the file says in `classes` what
    each stands for, None for nothing, and in `remarks` what a reader of results must know.
    `wanted`: the classes that are asked for, for models that read them as texts.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    classes: Sequence[str | None] | None = None
    remarks: Sequence[str] = ()
    wanted: Sequence[str] = ()


class Family(ABC, Generic[A, S]):
    """A kind of model: architectures by name, the shape of what follows them, and how it is built.

    `A` are its architectures, `S` shapes of its heads, both frozen. `task`: the registered name of
    what its outputs are scored as. `revision` rises when the same weights give other outputs.
    `trainable`: whether `maskvd train` can train it; `trained_with`: what of the section `model` of
    a training recipe it knows beside name and sizes. `published`: the repository of the Hugging
    Face hub that holds the weights of a model, by its name; `published_beside`: files that are of
    use beside config and tensors, where the repository has them. A family keeps no state.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    task: ClassVar[str]
    revision: ClassVar[int] = 1
    default_input: ClassVar[str]
    trainable: ClassVar[bool] = False
    trained_with: ClassVar[frozenset[str]] = frozenset()
    published: ClassVar[Mapping[str, str]] = {}
    published_beside: ClassVar[Sequence[str]] = ()

    @classmethod
    @abstractmethod
    def archs(cls) -> Sequence[A]:
        """Return the architectures; their names are unique among all families."""

    @classmethod
    @abstractmethod
    def build(cls, arch: A, shape: S, input_size: Size, *, seed: int) -> Model:
        """Return a model with weights drawn from `seed`; the global random state stays as it is.

        Raises UsageError where they do not fit each other.
        """

    @classmethod
    @abstractmethod
    def random_shape(cls, arch: A, classes: int) -> S:
        """Return the shape where no weights file says another."""

    @classmethod
    def trained_shape(cls, arch: A, classes: int, told: Mapping[str, Any]) -> S:
        """Return the shape of a model to train; `told` has the words of `trained_with`.

        Raises UsageError where something that training needs is not installed.
        """
        del told
        return cls.random_shape(arch, classes)

    @classmethod
    def described(cls, shape: S) -> str:
        """Return the shape in words, without the classes, for a model card; by default none."""
        del shape
        return ""

    @classmethod
    def adopted(cls, arch: A, file: WeightsFile) -> WeightsFile:
        """Return a file with its tensors under the names of our models, whoever wrote it.

        By default as it is. Raises CheckpointError for tensors that are not of `arch`.
        """
        del arch
        return file

    @classmethod
    @abstractmethod
    def shape_of(cls, arch: A, file: WeightsFile) -> S:
        """Return the shape that a weights file has. Raises CheckpointError, UsageError."""

    @classmethod
    def class_names(cls, shape: S, file: WeightsFile) -> Sequence[str | None] | None:
        """Return what the file says of its classes, None where it says nothing.

        Raises CheckpointError where that cannot be used.
        """
        del shape, file
        return None

    @classmethod
    def notes(cls, arch: A, shape: S, file: WeightsFile) -> list[str]:
        """Return what a reader of results must know of a weights file; each a sentence or two."""
        del arch, shape, file
        return []

    @classmethod
    @abstractmethod
    def stages(cls, arch: A, shape: S, grid: Size) -> Sequence[Stage]:
        """Return a model's parts beside the backbone, without building it."""

    @classmethod
    def looks(cls, arch: A) -> Looks | None:
        """Return how a model looks at a video; None: at every frame, whole, one after the other."""
        del arch
        return None

    @classmethod
    def conclusion(cls, arch: A, shape: S) -> Macs | None:
        """Return what `Model.conclude` costs at each clip, by both counters; None: not known."""
        del arch, shape
        return None

    @classmethod
    def library_case(cls) -> LibraryCase | None:
        """Return a small model to compare with another library's own; None: there is none.

        It says which package it needs, and imports it only when it is run.
        """
        return None

    @classmethod
    def setting(cls, arch: A) -> dict[str, Any]:
        """Return what decides a result, as JSON values; `name` and `backbone` among them."""
        assert is_dataclass(arch)
        told = {
            name: _plain(value)
            for name, value in asdict(arch).items()
            if name not in ("description", "paper")
        }
        return {"family": cls.name, **told, "backbone": arch.backbone}

    @classmethod
    @abstractmethod
    def shape_setting(cls, shape: S) -> dict[str, Any]:
        """Return what of the shape decides costs, as JSON values."""

    @classmethod
    def measured_setting(cls, shape: S) -> dict[str, Any]:
        """Return what else of the shape decides outputs, as JSON values."""
        del shape
        return {}


def _plain(value: Any) -> Any:
    """Return a field of an architecture as a JSON value."""
    if isinstance(value, Size):
        return str(value)
    return sorted(value) if isinstance(value, (set, frozenset)) else value


def check_trainable(family: type[Family[Any, Any]], model: str) -> None:
    """Raise UsageError for a family that cannot be trained."""
    if not family.trainable:
        raise UsageError(
            f"{model} belongs to the family {family.name}, which cannot be trained here",
            remedy="train it with its own tools, then convert the weights",
        )
