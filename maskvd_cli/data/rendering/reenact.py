"""Real label files acted again: drawn figures in the boxes of KITTI, over a drawn road."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from maskvd_cli.core.size import Size
from maskvd_cli.data.rendering.camera import CAMERA_HEIGHT_M, Camera, Floats
from maskvd_cli.data.rendering.frames import (
    Pose,
    finish,
    paint_backdrop,
    paint_figure,
    paint_props,
    paint_walls,
    sketch_of,
)
from maskvd_cli.data.rendering.sketch import Image, Sketch
from maskvd_cli.data.rendering.world import World, empty_world
from maskvd_cli.data.synthetic import LabelRow

FRAMES_PER_S = 10.0
_MOST_STEP_M, _SMOOTH_FRAMES, _AT_BORDER_PX = 3.0, 9, 2.0
_VEHICLES = ("Car", "Van", "Truck", "Tram", "Misc")
_PACES_MPS = {"Pedestrian": 1.3, "Person": 1.3, "Cyclist": 4.0}


def parse_rows(text: str) -> list[LabelRow]:
    """Read a label file that was checked before; truncated and occluded are cut to whole ones."""
    rows: list[LabelRow] = []
    for line in text.splitlines():
        fields = line.split()
        if fields:
            heads = (int(fields[0]), int(fields[1]), fields[2])
            states = (int(float(fields[3])), int(float(fields[4])))
            rows.append(LabelRow(*heads, *states, tuple(map(float, fields[5:]))))
    return rows


@dataclass(frozen=True)
class Reenactment:
    """A sequence: its label rows, number of frames and frame size; `seed` chooses the looks.

    Each named row becomes a figure of its class, size and heading, stretched to the row's box;
    nearer ones come last. DontCare regions stay empty. The road moves as the median car says.
    """

    rows: tuple[LabelRow, ...]
    frames: int
    size: Size
    seed: tuple[int, ...]

    @cached_property
    def world(self) -> World:
        """The place without anybody in it."""
        return empty_world(self.seed, travel_m(self.rows, self.frames))

    @cached_property
    def _by_frame(self) -> dict[int, list[LabelRow]]:
        made: dict[int, list[LabelRow]] = {}
        for row in self.rows:
            if row.kind != "DontCare":
                made.setdefault(row.frame, []).append(row)
        return made

    def image(self, frame: int) -> Image:
        """Return a frame (rows, cols, 3) uint8 RGB; it depends on no other frame's image."""
        world, time_s = self.world, frame / FRAMES_PER_S
        camera = Camera(z=float(world.path[frame, 2]), size=self.size)
        light = world.daylight.at(time_s)
        image = np.empty((*self.size, 3), dtype=np.uint8)
        ids = np.zeros(self.size, dtype=np.int16)
        rows = sorted(self._by_frame.get(frame, []), key=_nearness)
        poses = [self._pose(row, camera, time_s) for row in rows]
        paint_backdrop(image, world, camera, light, poses)
        paint_walls(image, ids, world, camera, light)
        # Trees and signs stay behind everybody, since the labels know nothing of them.
        paint_props(image, ids, world, camera, light)
        glows: list[tuple[int, Floats]] = []
        for item, (row, pose) in enumerate(zip(rows, poses, strict=True)):
            depth = float(pose.place[2]) - camera.z
            sketch = fitted(sketch_of(pose, camera, light, depth), row.values[1:5], self.size)
            x1, y1 = (max(0, int(np.floor(edge))) for edge in row.values[1:3])
            x2, y2 = (int(np.ceil(edge)) + 1 for edge in row.values[3:5])
            inside = sketch.moved(np.ones(2), np.array([-x1, -y1], dtype=np.float64))
            paint_figure(inside, image[y1:y2, x1:x2], ids[y1:y2, x1:x2], item, depth)
            glows.append((item, sketch.lamps))
        return finish(image, ids, light, glows, (*self.seed, frame), world.noise, world.blur)

    def _pose(self, row: LabelRow, camera: Camera, time_s: float) -> Pose:
        height, width, length, x, y, z, turn = row.values[5:]
        # What reaches behind the lens is moved before it; the box decides where it shows.
        ahead = max(z, length / 2 + 1.0)
        place = np.array([x, CAMERA_HEIGHT_M - y, camera.z + ahead])
        look = int(np.random.default_rng([*self.seed, 47, max(row.track, 0)]).integers(2**31))
        body = (max(height, 0.3), max(width, 0.2), max(length, 0.2))
        return Pose(row.kind, body, look, place, turn, _PACES_MPS.get(row.kind, 0.0), time_s)


def _nearness(row: LabelRow) -> tuple[float, float]:
    """Order rows from far to near: by depth, then by the bottom edge of the box."""
    return -row.values[10], row.values[4]


def fitted(sketch: Sketch, box: tuple[float, ...], size: Size) -> Sketch:
    """Stretch a figure to its box; a side that the image's border cuts stays where it is."""
    low, high = sketch.corners.min(axis=0), sketch.corners.max(axis=0)
    target_low, target_high = np.array(box[:2]), np.array(box[2:4])
    last = np.array([size.cols - 1, size.rows - 1])
    target_low = np.where((target_low <= _AT_BORDER_PX) & (low < target_low), low, target_low)
    cut = (target_high >= last - _AT_BORDER_PX) & (high > target_high)
    target_high = np.where(cut, high, target_high)
    scale = (target_high - target_low) / np.maximum(high - low, 1e-6)
    return sketch.moved(scale, target_low - low * scale)


def travel_m(rows: tuple[LabelRow, ...], frames: int) -> Floats:
    """Return how far the camera has driven by each frame (frames,), as vehicles' depths suggest.

    The median change of depth of vehicles stands for the camera's step; frames without any take
    the step before. It moves the road under the figures and touches no label.
    """
    depths: dict[tuple[int, int], float] = {}
    for row in rows:
        if row.kind in _VEHICLES and row.track >= 0:
            depths[row.frame, row.track] = row.values[10]
    changes: dict[int, list[float]] = {}
    for (frame, track), depth in depths.items():
        before = depths.get((frame - 1, track))
        if before is not None:
            changes.setdefault(frame, []).append(before - depth)
    steps = np.zeros(frames)
    for frame in range(1, frames):
        found = changes.get(frame)
        step = float(np.median(found)) if found else float(steps[frame - 1])
        steps[frame] = min(max(step, 0.0), _MOST_STEP_M)
    half = _SMOOTH_FRAMES // 2
    padded = np.pad(steps, half, mode="edge")
    return np.cumsum(np.convolve(padded, np.full(_SMOOTH_FRAMES, 1 / _SMOOTH_FRAMES), "valid"))
