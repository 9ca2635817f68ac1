"""Where a sweep's clips come from: annotations, or only their numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskvd_cli.methods.base import ClipView
from maskvd_cli.scenes.geometry import Geometry


def stride_setting(stride: int) -> dict[str, int]:
    """Return what a setting says of leaving frames out; nothing where none is left out."""
    return {} if stride == 1 else {"frame_stride": stride}


class Source(ABC):
    """Clips as methods see them, at any input."""

    @property
    @abstractmethod
    def root(self) -> Path | None:
        """The dataset's folder, or None where it is not there."""

    @property
    @abstractmethod
    def classes(self) -> int | None:
        """How many classes a detector has for it, or None where that is not known."""

    @abstractmethod
    def setting(self) -> dict[str, Any]:
        """Return what decides a result, as JSON values."""

    @abstractmethod
    def heatmap_setting(self, geometry: Geometry) -> dict[str, Any] | None:
        """Return what decides the static mask; None where there can be none."""

    @abstractmethod
    def frames(self) -> list[tuple[str, Sequence[int]]]:
        """Return each clip's name and the numbers of its frames in the video."""

    @abstractmethod
    def views(self, geometry: Geometry, *, with_scores: bool) -> list[ClipView]:
        """Return each clip as methods may see it; region scores only where asked for.

        Clips that do not differ may be one object.
        """

    @abstractmethod
    def notes(self) -> list[str]:
        """Return what a reader of the results must know."""
