"""Frames as the model sees them: loaded, resized, and kept where they fit into memory."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

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
from maskvd_cli.scenes.frame_sequence import FrameSequence
from maskvd_cli.scenes.geometry import Geometry

# All points run over the same frames, and decoding takes about as long as a small detector.
KEPT_BYTES = 1 << 30
# Read ahead of the frame that is computed: enough to even out slow ones.
_AHEAD = 4
_CHANNELS = 3


class KeptFrames:
    """Frames that were read, as many as fit into `budget` bytes, the current clip's first.

    Where all clips fit, each frame is read once. Where they do not, clips of before give way to the
    current one, of which the first frames that fit are kept: points that go through the clips side
    by side share them. Scenes whose frames have the same size share one store.
    """

    def __init__(self, budget: int = KEPT_BYTES) -> None:
        self.budget = budget
        self._held = 0
        self._clips: OrderedDict[Hashable, dict[int, Tensor]] = OrderedDict()
        self._lock = Lock()

    def get(self, clip: Hashable, index: int, read: Callable[[], Tensor]) -> Tensor:
        """Return a frame that is held, or read it now and hold it where it fits."""
        with self._lock:
            frames = self._clips.setdefault(clip, {})
            self._clips.move_to_end(clip)
            if index in frames:
                return frames[index]
        frame = read()
        with self._lock:
            self._make_room(clip, frame.nbytes)
            frames = self._clips.setdefault(clip, {})
            if index not in frames and self._held + frame.nbytes <= self.budget:
                frames[index] = frame
                self._held += frame.nbytes
        return frame

    def _make_room(self, clip: Hashable, needed: int) -> None:
        while self._held + needed > self.budget:
            oldest = next(iter(self._clips), clip)
            if oldest == clip:
                return
            self._held -= sum(frame.nbytes for frame in self._clips.pop(oldest).values())


class Images(FrameSequence):
    """The frames of one clip, (3, rows, cols) uint8, read when asked for.

    With `noise_seed` frames are noise and no file is read.
    """

    def __init__(
        self,
        dataset: Dataset,
        clip: Clip,
        content: Size,
        kept: KeptFrames,
        noise_seed: int | None,
    ) -> None:
        self._dataset, self._clip, self._content = dataset, clip, content
        self._kept, self._noise_seed = kept, noise_seed

    def __len__(self) -> int:
        return len(self._clip)

    def frame(self, index: int) -> Tensor:
        """Return a frame, which is held where it fits."""
        frame = self._clip.frames[index]
        place = self._clip.name, self._content
        return self._kept.get(place, index, lambda: self._read(frame))

    def _read(self, frame: Frame) -> Tensor:
        if self._noise_seed is None:
            return resized(self._dataset.image(frame), self._content)
        drawn = np.random.default_rng(
            [self._noise_seed, zlib.crc32(self._clip.name.encode()), frame.index]
        )
        return torch.from_numpy(drawn.integers(0, 256, (3, *self._content), dtype=np.uint8))


class ReadAhead(FrameSequence):
    """The frames of a clip, the next few read by a thread while the current one is computed.

    For work that is not timed. What reading raises comes where the frame is asked for. Use it in a
    `with` statement, which ends the thread.
    """

    def __init__(self, images: Sequence[Tensor]) -> None:
        self._images = images
        self._reader = ThreadPoolExecutor(1, "reading frames")
        self._coming: dict[int, Future[Tensor]] = {}

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._images)

    def frame(self, index: int) -> Tensor:
        """Return a frame, and have the next few read."""
        for i in range(index, min(index + 1 + _AHEAD, len(self))):
            if i not in self._coming:
                self._coming[i] = self._reader.submit(self._images.__getitem__, i)
        return self._coming.pop(index).result()


class FrameFeed:
    """The clips of a scene with images, and how native frames lie in the input."""

    def __init__(  # noqa: PLR0913 - what is read, and how
        self,
        dataset: Dataset,
        clips: Sequence[Clip],
        geometry: Geometry,
        *,
        from_labels: bool,
        noise_seed: int | None,
        clip_boxes: bool = False,
        kept: KeptFrames | None = None,
    ) -> None:
        self._clips = clips
        self._from_labels, self._clip_boxes = from_labels, clip_boxes
        self.placements: list[Placement] = [
            placement(clip.frames[0].size, geometry.frame, geometry.input) for clip in clips
        ]
        self._kept = kept or KeptFrames()
        self._images = [
            Images(dataset, clip, placed.content, self._kept, noise_seed)
            for clip, placed in zip(clips, self.placements, strict=True)
        ]

    @property
    def fits(self) -> bool:
        """Tell whether all frames can be kept in memory, so that each is read once."""
        clips = zip(self._clips, self.placements, strict=True)
        size = sum(len(clip) * _CHANNELS * placed.content.area for clip, placed in clips)
        return size <= self._kept.budget

    def clips(self, views: Sequence[ClipView]) -> list[ClipInput]:
        """Join the images with the views of the same clips."""
        joined = zip(self._clips, self._images, views, self.placements, strict=True)
        return [
            ClipInput(clip.name, images, view, placed.content, self._from_labels, self._clip_boxes)
            for clip, images, view, placed in joined
        ]
