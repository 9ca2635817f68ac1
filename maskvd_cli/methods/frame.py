"""What a method may know before it computes a frame, and what it selects from that."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.masks.dynamic import dynamic_masks

T = TypeVar("T")
# Margins whose masks a clip keeps, a bit for each token: 40 MB each for ImageNet VID.
_KEPT_MARGINS = 4


def premature(step: str = "masked frame", whole: str = "clip") -> UsageError:
    """Return the error for a step that needs a full one before it, which has not come."""
    return UsageError(
        f"a {step} came before any full one", remedy=f"begin the {whole} with a full one"
    )


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
    # Masks by margin, shared by all points, and by copies with other region scores.
    _masks: dict[int, NDArray[np.uint8]] = field(
        default_factory=dict[int, NDArray[np.uint8]], compare=False, repr=False
    )

    @property
    def grid(self) -> Size:
        """The token grid."""
        return self.input.tiles(self.patch)

    def objects(self, position: int) -> Tensor | None:
        """Return the annotated boxes (m, 4) of a frame, in input pixels; None: they are not known.

        All frames share storage: change nothing in place.
        """
        return None if self.boxes is None or self.frame_of is None else self._by_frame[position]

    @cached_property
    def _by_frame(self) -> tuple[Tensor, ...]:
        assert self.boxes is not None and self.frame_of is not None
        order = torch.argsort(self.frame_of, stable=True)
        counts = torch.bincount(self.frame_of, minlength=self.frames)
        return self.boxes[order].split(counts.tolist())

    def touched(self, margin: int, method: str) -> Tensor:
        """Return for each frame the tokens that its own boxes touch: (frames, N) bool.

        As `dynamic_masks` with certain boxes; those of the last few margins are kept. Raises
        UsageError where the boxes are not known.
        """
        boxes, frame_of = self.known(self.boxes, method), self.known(self.frame_of, method)
        if margin not in self._masks:
            made = dynamic_masks(
                boxes, frame_of, self.frames, self.input, self.patch, margin=margin
            )
            while len(self._masks) >= _KEPT_MARGINS:
                del self._masks[next(iter(self._masks))]
            self._masks[margin] = np.packbits(made.numpy(), axis=1)
            return made
        unpacked = np.unpackbits(self._masks[margin], axis=1, count=self.tokens)
        return torch.from_numpy(unpacked.view(np.bool_))

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
    `truth` (m, 4) the annotated boxes of this very frame, for methods that need the truth alone;
    None for others. All on the CPU.
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
class Selection:
    """What a method selected of a frame before it runs.

    `kept` (N,) bool on the CPU: tokens to recompute, None where tokens are not what it selects.
    `more`: whatever else the method hands from its selection to its step.
    """

    kept: Tensor | None = None
    more: Any = None
