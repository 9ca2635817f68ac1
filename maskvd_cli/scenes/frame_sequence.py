"""The frames of a clip as a sequence that is read when asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

from torch import Tensor


class FrameSequence(Sequence[Tensor]):
    """Frames (3, rows, cols) uint8 by position; a slice is a list of them."""

    @abstractmethod
    def frame(self, index: int) -> Tensor:
        """Return the frame at a position."""

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self.frame(i) for i in range(*index.indices(len(self)))]
        return self.frame(index)
