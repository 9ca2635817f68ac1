"""Frames as the model sees them: loaded, resized, and kept where they fit into memory."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.placement import Placement, placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip, Frame
from maskvd_cli.data.base import Dataset
from maskvd_cli.data.resize import resized
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.clips import ClipInput
from maskvd_cli.scenes.geometry import Geometry

# All points run over the same frames, and decoding takes about as long as a small detector.
_KEPT_BYTES = 1 << 30


class RecentFrames:
    """The frames that were used last, as many as fit into `budget` bytes."""

    def __init__(self, budget: int = _KEPT_BYTES) -> None:
        self._budget = budget
        self._held = 0
        self._frames: OrderedDict[tuple[str, int], Tensor] = OrderedDict()

    def get(self, key: tuple[str, int], read: Callable[[], Tensor]) -> Tensor:
        """Return a frame that is held, or read it now and hold it."""
        if key in self._frames:
            self._frames.move_to_end(key)
            return self._frames[key]
        made = self._frames[key] = read()
        self._held += made.nbytes
        while self._held > self._budget and len(self._frames) > 1:
            _, oldest = self._frames.popitem(last=False)
            self._held -= oldest.nbytes
        return made


class Images(Sequence[Tensor]):
    """The frames of one clip, (3, rows, cols) uint8, read when asked for.

    With `noise_seed` frames are noise and no file is read.
    """

    def __init__(
        self,
        dataset: Dataset,
        clip: Clip,
        content: Size,
        recent: RecentFrames,
        noise_seed: int | None,
    ) -> None:
        self._dataset, self._clip, self._content = dataset, clip, content
        self._recent, self._noise_seed = recent, noise_seed

    def __len__(self) -> int:
        return len(self._clip)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        frame = self._clip.frames[index]
        return self._recent.get((self._clip.name, frame.index), lambda: self._read(frame))

    def _read(self, frame: Frame) -> Tensor:
        if self._noise_seed is None:
            return resized(self._dataset.image(frame), self._content)
        drawn = np.random.default_rng(
            [self._noise_seed, zlib.crc32(self._clip.name.encode()), frame.index]
        )
        return torch.from_numpy(drawn.integers(0, 256, (3, *self._content), dtype=np.uint8))


class FrameFeed:
    """The clips of a scene with images, and how native frames lie in the input."""

    def __init__(
        self,
        dataset: Dataset,
        clips: Sequence[Clip],
        geometry: Geometry,
        *,
        from_labels: bool,
        noise_seed: int | None,
    ) -> None:
        self._clips = clips
        self._from_labels = from_labels
        self.placements: list[Placement] = [
            placement(clip.frames[0].size, geometry.frame, geometry.input) for clip in clips
        ]
        recent = RecentFrames()
        self._images = [
            Images(dataset, clip, placed.content, recent, noise_seed)
            for clip, placed in zip(clips, self.placements, strict=True)
        ]

    def clips(self, views: Sequence[ClipView]) -> list[ClipInput]:
        """Join the images with the views of the same clips."""
        joined = zip(self._clips, self._images, views, self.placements, strict=True)
        return [
            ClipInput(clip.name, images, view, placed.content, self._from_labels)
            for clip, images, view, placed in joined
        ]
