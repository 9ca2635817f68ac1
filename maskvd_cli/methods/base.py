"""What every method is: parameters, a step per frame, its state, its costs, a trace of its tokens.

`plan` needs annotations only: their boxes stand for the detector's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.vit import VisionTransformer

FLOAT32_BYTES = 4


class Params(BaseModel):
    """Hyperparameters of a method: strict types, no unknown keys, not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


P = TypeVar("P", bound=Params)
T = TypeVar("T")


@dataclass(frozen=True)
class ClipView:
    """What a method may know of a clip from its annotations alone.

    `boxes` (n, 4) float64 xyxy in input pixels and `frame_of` (n,) int64, the position in the clip
    of the frame that each box belongs to; `real` (N,) bool, tokens that are not wholly padding;
    all None where only the number of frames is known. `region_scores` (N,) float64 of the heatmap,
    or None where the sweep has none.
    """

    frames: int
    input: Size
    patch: int
    boxes: Tensor | None = None
    frame_of: Tensor | None = None
    region_scores: Tensor | None = None
    real: Tensor | None = None

    @property
    def grid(self) -> Size:
        """The token grid."""
        return self.input.tiles(self.patch)

    @property
    def tokens(self) -> int:
        """N, the number of tokens of a full frame."""
        return self.grid.area

    def known(self, part: T | None, method: str) -> T:
        """Return a part of the annotations. Raises UsageError where they are not there."""
        if part is None:
            raise UsageError(
                f"{method} needs annotated frames, and only the number of frames is known",
                remedy="give the dataset itself (dataset.root)",
            )
        return part


@dataclass(frozen=True)
class FrameContext:
    """What a method may know of a frame before it computes it.

    `index` counts from 0 in the clip; `input` and `content` are the padded input and the part of it
    that the frame covers, in pixels. `boxes` (n, 4) xyxy in input pixels and `scores` (n,) are the
    detections of the previous frame, None before the first; `region_scores` (N,) of the heatmap;
    `truth` (m, 4) the annotated boxes of this very frame, for the oracle alone. All on the CPU.
    Raises UsageError for a frame that does not lie in the input.
    """

    index: int
    input: Size
    content: Size
    patch: int
    boxes: Tensor | None = None
    scores: Tensor | None = None
    region_scores: Tensor | None = None
    truth: Tensor | None = None

    def __post_init__(self) -> None:
        rows, cols = self.content
        if not (0 < rows <= self.input.rows and 0 < cols <= self.input.cols):
            raise UsageError(
                f"frame {self.content} does not lie in input {self.input} (rows x columns)",
                remedy="make the frame smaller or the input larger",
            )

    @property
    def grid(self) -> Size:
        """The token grid."""
        return self.input.tiles(self.patch)


@dataclass(frozen=True)
class FrameTrace:
    """What one step recomputed.

    `tokens` pushed through the token-wise layers (a mean where they differ); `full`: all of them;
    `counts`: what the closed forms need besides; `selected`: sorted token indices by the name of
    what selected them, on the device of the backbone.
    """

    tokens: float
    full: bool
    counts: Mapping[str, int] = field(default_factory=dict)
    selected: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenTrace:
    """What the frames of a clip recomputed, one entry per frame, for the closed forms.

    `tokens` float64 and `full` bool as in FrameTrace; `counts` int64 by name; `kept` (frames, N)
    bool where one set of tokens serves the whole backbone and is known.
    """

    tokens: NDArray[np.float64]
    full: NDArray[np.bool_]
    counts: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    kept: Tensor | None = None

    @classmethod
    def of(cls, frames: Sequence[FrameTrace]) -> TokenTrace:
        """Stack the traces of single steps."""
        names = {name for frame in frames for name in frame.counts}
        return cls(
            np.array([frame.tokens for frame in frames], dtype=np.float64),
            np.array([frame.full for frame in frames], dtype=np.bool_),
            {
                name: np.array([frame.counts[name] for frame in frames], dtype=np.int64)
                for name in sorted(names)
            },
        )

    @property
    def whole_tokens(self) -> NDArray[np.int64]:
        """`tokens` as integers, for methods whose layers all see the same tokens."""
        return self.tokens.astype(np.int64)


class Method(ABC, Generic[P]):
    """A way of running the backbone over a clip.

    `revision` rises when the same parameters give other results, so that stored points of the
    former revision are not taken for them. `naming`: parameters that stand in a point's name also
    where they have their default. `batched`: clips may run side by side in a batch.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    paper: ClassVar[str]
    revision: ClassVar[int] = 1
    params_type: ClassVar[type[Params]] = Params
    naming: ClassVar[tuple[str, ...]] = ()
    batched: ClassVar[bool] = False

    def __init__(self, params: P, backbone: VisionTransformer) -> None:
        self.params: P = self.resolve(params, backbone.arch)
        self.backbone = backbone
        self.trace: FrameTrace | None = None
        self._grid: Size | None = None

    def reset(self) -> None:
        """Forget the clip: the next step starts another one."""
        self.forget()
        self.trace = None
        self._grid = None

    @abstractmethod
    def forget(self) -> None:
        """Drop everything that is kept between frames."""

    def step(self, tokens: Tensor, frame: FrameContext) -> Tensor:
        """Return the features (B, N, D) of embedded patches (B, N, D), positions not yet added.

        `trace` then tells what was recomputed. Nothing returned shares storage with the state or
        with `tokens`. Raises UsageError for a batch that the method cannot run side by side, and
        for another grid than the clip's. A step that fails resets the method, since its state may
        be half of one frame and half of another.
        """
        if len(tokens) > 1 and not self.batched:
            raise UsageError(
                f"{self.name} chooses its tokens clip by clip, but a batch of {len(tokens)} came",
                remedy="run one clip at a time",
            )
        if tokens.shape[1] != frame.grid.area:
            raise UsageError(
                f"{tokens.shape[1]} tokens came for a grid of {frame.grid} (rows x columns)",
                remedy="embed the padded input",
            )
        if self._grid not in (None, frame.grid):
            raise UsageError(
                f"a grid of {frame.grid} came in a clip of {self._grid} (rows x columns)",
                remedy="reset where the input's size changes",
            )
        try:
            features, self.trace = self.compute(tokens, frame)
        except BaseException:
            self.reset()
            raise
        self._grid = frame.grid
        return features

    @abstractmethod
    def compute(self, tokens: Tensor, frame: FrameContext) -> tuple[Tensor, FrameTrace]:
        """Do what `step` promises."""

    @abstractmethod
    def state(self) -> Iterable[Tensor]:
        """Yield every tensor that is kept between frames."""

    def state_bytes(self) -> int:
        """Return the bytes kept between frames, measured from the tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state())

    @classmethod
    def resolve(cls, params: P, arch: ViTArch) -> P:
        """Fill parameters that depend on the backbone; raises UsageError for what does not fit."""
        del arch
        return params

    @classmethod
    def constant_on_repeats(cls, params: P) -> bool:
        """Tell whether a clip that repeats one frame gives the same features on each."""
        del params
        return False

    @classmethod
    def needs_heatmap(cls, params: P) -> bool:
        """Tell whether the selection reads the heatmap's region scores."""
        del params
        return False

    @classmethod
    @abstractmethod
    def plan(cls, params: P, arch: ViTArch, view: ClipView) -> TokenTrace:
        """Return what a clip's frames recompute, from annotations alone.

        Raises UsageError where that depends on the pixels.
        """

    @classmethod
    @abstractmethod
    def macs(cls, arch: ViTArch, grid: Size, params: P, trace: TokenTrace) -> Macs:
        """Return the backbone's MACs of every frame of a trace, in closed form."""

    @classmethod
    def published_at(cls, arch: ViTArch, grid: Size, params: P, tokens: int) -> int | None:
        """Return the published counter for a frame with this many kept tokens.

        A polynomial of at most second degree in `tokens`; None where more than that decides.
        """
        del arch, grid, params, tokens
        return None

    @classmethod
    @abstractmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: P) -> int:
        """Return the bytes kept between frames in closed form, in float32."""


def token_bytes(arch: ViTArch, grid: Size) -> int:
    """Return T, the bytes of one N x D float32 tensor."""
    return grid.area * arch.dim * FLOAT32_BYTES


def scatter(base: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Return a copy of `base` (B, N, X) with `rows` (B, n, X) written at `index` (n,)."""
    return base.index_copy(1, index, rows)


def every_token(frames: int, grid: Size, **counts: int) -> TokenTrace:
    """Return the trace of frames that are all full; `counts` are the same on each."""
    return TokenTrace(
        np.full(frames, grid.area, dtype=np.float64),
        np.ones(frames, dtype=np.bool_),
        {name: np.full(frames, value, dtype=np.int64) for name, value in counts.items()},
        torch.ones(frames, grid.area, dtype=torch.bool),
    )
