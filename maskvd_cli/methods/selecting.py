"""What a method offers that chooses the tokens of a frame before the blocks see it.

Such a method has an execution of its own for the tokens that it chose. In a combination `A+B` it
chooses, and B runs them (`composing`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Params,
    Selection,
    TokenMethod,
    TokenTrace,
)

# From a global block's number, its attention weights (1, H, lead + n, lead + n) in single precision
# at least, and the flat grid index (n,) of the tokens that were in it; N: one without a place.
Watch = Callable[[int, Tensor, Tensor], None]
P = TypeVar("P", bound=Params)


class SelectingMethod(TokenMethod[P]):
    """A method that chooses tokens ahead, alone or as the first half of a combination.

    `own_execution`: parameters that say how its own execution runs the chosen tokens; no
    combination has them. `watches`: whether it wants to see the attention of global blocks.
    """

    own_execution: ClassVar[frozenset[str]] = frozenset()
    watches: ClassVar[bool] = False

    def chosen(self, tokens: Tensor, frame: FrameContext) -> Tensor:
        """Return the tokens that are to be recomputed, (N,) bool on the CPU.

        `tokens` (1, N, D): the frame's embedded patches, positions not yet added. All tokens make a
        full frame, which every clip begins with. It is timed as choosing. By default what `select`
        keeps, which sees no pixels.
        """
        del tokens
        selection = self.select(frame)
        assert isinstance(selection, Selection) and selection.kept is not None
        return selection.kept

    def watch(self, number: int, weights: Tensor, index: Tensor) -> None:
        """See the attention of a global block, as `Watch` tells; only called where it `watches`."""

    def passed(self, tokens: Tensor, frame: FrameContext, trace: FrameTrace) -> None:
        """Learn of a frame that has run, with its embedded patches as `chosen` had them."""

    def remembered(self) -> Iterable[Tensor]:
        """Yield what choosing keeps between frames, without its own execution; none by default."""
        return ()

    @classmethod
    @abstractmethod
    def entering(cls, params: P, view: ClipView) -> NDArray[np.int64]:
        """Return how many tokens it chooses on each frame of a clip, (frames,), from annotations.

        Raises UsageError where that depends on the pixels.
        """

    @classmethod
    def choosing_macs(cls, arch: ViTArch, grid: Size, params: P, trace: TokenTrace) -> Macs:
        """Return what choosing and watching multiply, for each frame or one number for all.

        By default nothing.
        """
        del arch, grid, params, trace
        return Macs(0, 0)

    @classmethod
    def remembered_bytes(cls, params: P, arch: ViTArch, grid: Size) -> int:
        """Return the bytes of `remembered` in closed form, in float32."""
        del params, arch, grid
        return 0
