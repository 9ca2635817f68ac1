"""Synthetic clips, drawn when they are asked for: no folder, no download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.size import Size
from maskvd_cli.core.types import BoxTally, Clip, Frame, Silhouette
from maskvd_cli.data import silhouettes
from maskvd_cli.data.base import RAW, make_boxes
from maskvd_cli.data.drawn import DrawnDataset
from maskvd_cli.data.drawn_rows import DrawnRows
from maskvd_cli.data.kitti_labels import DROPPED, IGNORED, LABELS, NATIVE_CLASSES
from maskvd_cli.data.rendering.frames import render
from maskvd_cli.data.rendering.labels import clip_rows
from maskvd_cli.data.rendering.world import (
    FAMILIES,
    FRAMES_PER_S,
    SIZE,
    Family,
    World,
    build_world,
)
from maskvd_cli.data.synthetic import LabelRow

# Rises when the same seed gives other pictures or boxes, so that results of both stay apart.
REVISION = 1
SPLITS = {"train": (0, 120, 48), "val": (1, 16, 60)}


@dataclass(frozen=True)
class SyntheticFrame(Frame):
    """A frame that is drawn from these: family, seed and number of its clip, the clip's length."""

    family: Family = "driving"
    seed: tuple[int, ...] = (0,)
    number: int = 0
    frames: int = 1

    @property
    def world(self) -> World:
        """The world that the frame shows."""
        return build_world(self.family, self.seed, self.number, self.frames)

    def silhouettes(self) -> list[Silhouette]:
        """Return the visible pixels of each road user that is named, else all of the box."""
        boxes, ids = self.boxes, render(self.world, self.index, with_image=False).ids
        named = ~boxes.ignore & (boxes.track_ids >= 0)
        tracks = boxes.track_ids[named].tolist()
        own = iter(silhouettes.encoded(ids == track + 1 for track in tracks))
        whole = iter(silhouettes.of_boxes(boxes.xyxy[~named], self.size))
        return [next(own if known else whole) for known in named.tolist()]


@lru_cache(maxsize=512)
def _rows(family: Family, seed: tuple[int, ...], number: int, frames: int) -> tuple[LabelRow, ...]:
    """Return the rows of a clip; drawing its id maps takes a few ms a frame, so they are kept."""
    return tuple(clip_rows(build_world(family, seed, number, frames)))


class Synthetic(DrawnDataset[SyntheticFrame]):
    """Drawn street scenes with KITTI's classes; driving (10 fps) and watching (25 fps) in turn.

    Boxes bound the visible pixels of each road user. Protocols are KITTI's;
    by default what is too small or too hidden to be named is ignored. The splits are drawn
    from different seeds: 120 clips of 48 frames to train on, 16 of 60 to evaluate.
    """

    name = "synthetic"
    description = "synthetic street clips, drawn on the fly (driving and static camera)"
    env = "MASKVD_SYNTHETIC"
    splits = ("train", "val")
    protocols = ("kitti-ignore", "maskvd-paper")
    evaluation_split = "val"
    training_split = "train"
    frame_type = SyntheticFrame
    revision = REVISION
    without_root = (
        "leave --root (dataset.root) out; `maskvd synth -o DIR` writes such clips for "
        "--dataset kitti"
    )
    canvas = Size(384, 1280)
    frame = Size(370, 672)

    @property
    def classes(self) -> tuple[str, ...]:
        return NATIVE_CLASSES if self.protocol == RAW else ("pedestrian", "car", "cyclist")

    def clips(self) -> Iterator[Clip]:
        self.tally = BoxTally()
        seed, clips, count = SPLITS[self.split]
        with DrawnRows(REVISION, FAMILIES, seed, count) as rows:
            for clip in range(clips):
                yield self._clip(seed, clip, rows)

    def draw(self, frame: SyntheticFrame) -> NDArray[np.uint8]:
        drawn = render(frame.world, frame.index).image
        assert drawn is not None
        return drawn

    def frames_per_s(self, clip: Clip) -> float | None:
        first = clip.frames[0]
        return FRAMES_PER_S[first.family] if isinstance(first, SyntheticFrame) else None

    def _clip(self, seed: int, clip: int, rows: DrawnRows) -> Clip:
        family, number = FAMILIES[clip % len(FAMILIES)], clip // len(FAMILIES)
        _, _, count = SPLITS[self.split]
        by_frame: dict[int, list[LabelRow]] = {}
        for row in rows.get(clip, lambda: _rows(family, (seed,), number, count)):
            by_frame.setdefault(row.frame, []).append(row)
        frames = tuple(
            self._frame(index, by_frame.get(index, []), (family, (seed,), number, count))
            for index in range(count)
        )
        return Clip(f"r{REVISION}-{self.split}-{family}-{number:04d}", frames)

    def _frame(self, index: int, rows: list[LabelRow],
               place: tuple[Family, tuple[int, ...], int, int]) -> Frame:  # fmt: skip
        label_of = LABELS[self.protocol]
        kept = [row for row in rows if label_of[row.kind] != DROPPED]
        labels = [label_of[row.kind] for row in kept]
        boxes = make_boxes(
            [row.values[1:5] for row in kept],
            labels,
            [row.track for row in kept],
            [label == IGNORED for label in labels],
        )
        self.tally.read += len(boxes)
        return SyntheticFrame(index, None, SIZE, boxes, "the drawing", None, *place)
