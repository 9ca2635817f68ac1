"""What a film is made from: native frames, the same frames as the model sees them, and the truth.

A dataset's clip has annotated objects; a user's video has none, and there the detections of the
frame before drive the masks whatever the recipe says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.placement import Placement, placement
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Boxes
from maskvd_cli.data.resize import resized
from maskvd_cli.film.choice import choose_clip
from maskvd_cli.film.misses import Labelled
from maskvd_cli.film.video import Video
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.clips import ClipInput
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.scenes.frame_sequence import FrameSequence
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.work.plan import PointSpec

Image = NDArray[np.uint8]


class Stills(FrameSequence):
    """Frames as the model sees them, of which the last that was asked for is held natively too.

    So two methods that run side by side, and the picture, decode a frame once.
    """

    def __init__(self, read: Callable[[int], Image], frames: int, content: Size) -> None:
        self._read, self._frames, self._content = read, frames, content
        self._held: tuple[int, Image, Tensor] | None = None

    def __len__(self) -> int:
        return self._frames

    def frame(self, index: int) -> Tensor:
        """Return a frame as the model sees it."""
        return self._hold(index)[2]

    def native(self, index: int) -> Image:
        """Return a frame (rows, cols, 3) uint8 RGB as it was recorded."""
        return self._hold(index)[1]

    def _hold(self, index: int) -> tuple[int, Image, Tensor]:
        if self._held is None or self._held[0] != index:
            image = self._read(index)
            self._held = (index, image, resized(image, self._content))
        return self._held


@dataclass(frozen=True)
class Footage:
    """One clip: as the model sees it, its native frames, how these lie in the input, the truth.

    `objects` gives the annotated objects of each frame; None where nothing is annotated.
    `remarks` are for the strip or the terminal.
    """

    clip: ClipInput
    stills: Stills
    size: Size
    placed: Placement
    objects: Sequence[Labelled] | None
    frames_per_s: float | None
    remarks: tuple[str, ...] = ()


def clip_of(scene: Scene, task: PointSpec, wanted: str | None) -> Footage:
    """Return the clip of the dataset that `wanted` names. Raises UsageError where there is none."""
    source = _annotations(scene)
    if scene.recipe.dataset.pixels == "noise":
        raise UsageError(
            "frames of noise show nothing", remedy="give images: --set dataset.pixels=images"
        )
    position = choose_clip([clip.name for clip in source.clips], wanted)
    chosen, placed = source.clips[position], scene.feed.placements[position]
    views = scene.views(with_scores=task.needs_heatmap)
    recorded, stride = source.dataset.frames_per_s(chosen), scene.recipe.dataset.frame_stride
    stills = Stills(lambda i: source.dataset.image(chosen.frames[i]), len(chosen), placed.content)
    return Footage(
        clip=replace(scene.feed.clips(views)[position], images=stills),
        stills=stills,
        size=chosen.frames[0].size,
        placed=placed,
        objects=[_objects(frame.boxes) for frame in chosen.frames],
        frames_per_s=None if recorded is None else recorded / stride,
    )


def video_of(scene: Scene, task: PointSpec, path: Path, frames: int) -> Footage:
    """Return the first frames of a video file, laid into the input as the dataset's frames are.

    Raises DatasetError for a file that cannot be decoded.
    """
    video = Video(path, frames)
    geometry = scene.geometry
    placed = placement(video.size, geometry.frame, geometry.input)
    scores = None
    if task.needs_heatmap:
        scores = _annotations(scene).region_scores(geometry, video.size)
    view = ClipView(
        frames=video.frames, input=geometry.input, patch=geometry.arch.patch, region_scores=scores,
        real=real_tokens(placed.content, geometry.input, geometry.arch.patch),
    )  # fmt: skip
    stills = Stills(_in_order(video), video.frames, placed.content)
    remarks = () if video.whole else (f"{path} is damaged after frame {video.frames}",)
    return Footage(
        clip=ClipInput(path.stem, stills, view, placed.content, from_labels=False,
                       clip_boxes=scene.recipe.dataset.clip_boxes),
        stills=stills, size=video.size, placed=placed, objects=None,
        frames_per_s=video.frames_per_s, remarks=remarks,
    )  # fmt: skip


def class_names(scene: Scene) -> tuple[str, ...]:
    """Return the names of the dataset's classes."""
    return tuple(_annotations(scene).dataset.classes)


def _annotations(scene: Scene) -> Annotations:
    if not isinstance(scene.source, Annotations):
        raise UsageError("statistics have no frames", remedy="give the dataset itself")
    return scene.source


def _objects(boxes: Boxes) -> Labelled:
    shown = ~boxes.ignore
    return Labelled.objects(boxes.xyxy[shown], boxes.labels[shown])


def _in_order(video: Video) -> Callable[[int], Image]:
    """Return a reader of frames that are asked for one after the other, from the first on."""
    frames: Iterator[Image] = iter(video)
    following = 0

    def read(index: int) -> Image:
        nonlocal frames, following
        if index < following:
            frames, following = iter(video), 0
        while following < index:
            next(frames)
            following += 1
        following += 1
        return next(frames)

    return read
