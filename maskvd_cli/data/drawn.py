"""What datasets share whose images are drawn when they are asked for: no folder, no download."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.types import Clip, Frame
from maskvd_cli.data.base import Dataset

F = TypeVar("F", bound=Frame)


class DrawnDataset(Dataset, Generic[F]):
    """A dataset that draws frames of one kind, which say what they are drawn from.

    `revision` rises when the same seed gives other pictures, boxes or classes, so that results of
    both stay apart. `without_root`: what to do where a folder was named.
    """

    frame_type: ClassVar[type[Any]]
    revision: ClassVar[int]
    without_root: ClassVar[str] = "leave --root (dataset.root) out"

    @abstractmethod
    def draw(self, frame: F) -> NDArray[np.uint8]:
        """Return the image (rows, cols, 3) RGB of a frame of this dataset."""

    def image(self, frame: Frame) -> NDArray[np.uint8]:
        if not isinstance(frame, self.frame_type):
            raise DatasetError(
                f"frame {frame.index} is none of this dataset's",
                where=self.name,
                remedy="ask for images of the frames that clips() yields",
            )
        of_this: Any = frame
        return self.draw(of_this)

    def image_fingerprint(self, clips: Sequence[Clip]) -> str:
        """Return what decides the drawing: no image is drawn for it."""
        del clips
        return f"drawn, revision {self.revision}, opencv {cv2.__version__}"

    @classmethod
    def _existing(cls, root: Path | None) -> Path:
        if root is not None:
            raise DatasetError(
                "is drawn on the fly and has no folder", where=cls.name, remedy=cls.without_root
            )
        # The pictures come from the code itself: its folder stands in where a message names one.
        return Path(__file__).resolve().parent / "rendering"
