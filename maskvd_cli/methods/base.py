"""What every method states: parameters, which tokens it recomputes, what that costs, what it keeps.

A planned sweep needs no more than this: the boxes of the annotations stand for the detector's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.models.arch import ViTArch
from maskvd_cli.models.costs import Macs, Tokens

FLOAT32_BYTES = 4


class Params(BaseModel):
    """Hyperparameters of a method: strict types, no unknown keys, not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


P = TypeVar("P", bound=Params)


@dataclass(frozen=True)
class ClipView:
    """What a method may know of a clip from its annotations alone.

    `boxes` (n, 4) float64 xyxy in input pixels and `frame_of` (n,) int64, the position in the clip
    of the frame that each box belongs to; `region_scores` (N,) float64 of the heatmap, or None
    where the sweep has none; `real` (N,) bool, tokens that are not wholly padding.
    """

    frames: int
    input: Size
    patch: int
    boxes: Tensor
    frame_of: Tensor
    region_scores: Tensor | None
    real: Tensor

    @property
    def tokens(self) -> int:
        """N, the number of tokens of a full frame."""
        return len(self.real)


class Method(ABC, Generic[P]):
    """A way of running the backbone over a clip.

    `revision` rises when the same parameters give other results, so that stored points of the
    former revision are not taken for them. `naming`: parameters that stand in a point's name also
    where they have their default.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    paper: ClassVar[str]
    revision: ClassVar[int] = 1
    params_type: ClassVar[type[Params]] = Params
    naming: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def resolve(cls, params: P, arch: ViTArch) -> P:
        """Fill parameters that depend on the backbone; raises UsageError for what does not fit."""
        del arch
        return params

    @classmethod
    def needs_heatmap(cls, params: P) -> bool:
        """Tell whether `select` reads the heatmap's region scores."""
        del params
        return False

    @classmethod
    @abstractmethod
    def select(cls, params: P, view: ClipView) -> Tensor:
        """Return the tokens recomputed on each frame, (frames, N) bool."""

    @classmethod
    @abstractmethod
    def macs(cls, arch: ViTArch, grid: Size, params: P, tokens: Tokens) -> Macs:
        """Return the backbone's MACs for a frame (or one per frame) of `tokens` kept tokens.

        Must be a polynomial of at most second degree in `tokens`.
        """

    @classmethod
    @abstractmethod
    def state_bytes(cls, arch: ViTArch, grid: Size, params: P) -> int:
        """Return the bytes kept between frames, in float32."""


def token_bytes(arch: ViTArch, grid: Size) -> int:
    """Return T, the bytes of one N x D float32 tensor."""
    return grid.area * arch.dim * FLOAT32_BYTES
