"""Images that were read or drawn once, kept in memory for the epochs to come."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.types import Frame
from maskvd_cli.training.frames import FrameList

_MIB = 2**20
L = TypeVar("L", bound=FrameList)


class KeptImages(Generic[L]):
    """The images of listed frames; those asked for first are kept, as long as `room_mib` MiB last.

    Which are kept changes no image. Each worker process has images of its own.
    """

    def __init__(self, listed: L, room_mib: int) -> None:
        self.listed, self.room = listed, room_mib * _MIB
        self._kept: dict[Hashable, NDArray[np.uint8]] = {}

    def of(self, key: Hashable, frame: Frame) -> NDArray[np.uint8]:
        """Return the image (rows, cols, 3) of a frame, which `key` stands for.

        Raises what the dataset raises.
        """
        if key in self._kept:
            return self._kept[key].copy()
        image = self.listed.dataset.image(frame)
        if image.nbytes <= self.room:
            self.room -= image.nbytes
            self._kept[key] = image.copy()
        return image
