"""Made-up KITTI tracking labels: a set to run the label-driven sweep on without KITTI itself.

It is synthetic: simple road traffic before a pinhole camera like KITTI's, in KITTI's conventions,
without images. No figure measured on such a set says anything about KITTI.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.data.kitti import native_size
from maskvd_cli.store.atomic import write_folder

FOCAL_PX, CENTRE_X_PX, CENTRE_Y_PX = 721.5377, 609.5593, 172.854
CAMERA_HEIGHT_M, FRAMES_PER_S = 1.65, 10.0
SIGHT_M, _NEAR_M, _SIDE_M = 75.0, 0.4, 40.0
_LEAST_BOX_PX, _CELL_PX = 8.0, 4
_LEAST_INSIDE, _MOST_HIDDEN, _GONE = 0.12, 0.8, 0.95
# What KITTI writes before and after the box of a region that stands for no single object.
_NO_ALPHA, _NO_3D = -10.0, (-1000.0, -1000.0, -1000.0, -10.0, -1.0, -1.0, -1.0)

Floats = NDArray[np.float64]
Range = tuple[float, float]

# Mean height, width, length (m), their spread as a share, and the depth (m) where DontCare begins.
BODIES = {
    "Car": (1.52, 1.63, 3.9, 0.15, 60.0),
    "Van": (2.15, 1.87, 4.9, 0.15, 65.0),
    "Truck": (3.4, 2.6, 9.5, 0.2, 70.0),
    "Pedestrian": (1.74, 0.7, 0.88, 0.1, 30.0),
    "Cyclist": (1.74, 0.65, 1.76, 0.08, 40.0),
}
CARS, TRAFFIC = (*("Car",) * 7, "Van"), (*("Car",) * 9, "Van", "Van", "Truck")
_PEOPLE = (*("Pedestrian",) * 9, "Cyclist")


class Lane(NamedTuple):
    """Places `pitch_m` apart, `offset_m` right of the camera's path (`across`: beyond its end).

    Objects that `follow` keep the camera's pace, `speed_mps` being relative to it; those that
    `mingle` have a speed each; others share one, lest vehicles drive through each other.
    """

    kinds: tuple[str, ...]
    offset_m: Range
    speed_mps: Range
    pitch_m: float
    across: bool = False
    follow: bool = False
    mingle: bool = False
    nearest_m: float = -math.inf


LANES = {
    "parked right": Lane(CARS, (3.0, 3.5), (0.0, 0.0), 6.8),
    "parked left": Lane(CARS, (-7.2, -6.4), (0.0, 0.0), 6.8),
    "yards": Lane(CARS, (12.0, 19.0), (0.0, 0.0), 9.0, mingle=True),
    "lead": Lane(TRAFFIC, (-0.3, 0.3), (0.0, 0.4), 16.0, follow=True, nearest_m=8.0),
    "passing": Lane(TRAFFIC, (-3.7, -3.3), (0.3, 2.0), 18.0, follow=True),
    "passed": Lane(TRAFFIC, (3.4, 3.8), (-2.0, -0.3), 18.0, follow=True),
    "oncoming": Lane(TRAFFIC, (-3.9, -3.3), (-13.0, -6.0), 18.0),
    "pavement right": Lane(_PEOPLE, (4.8, 6.8), (-1.6, 1.6), 2.5, mingle=True),
    "pavement left": Lane(_PEOPLE, (-10.5, -8.5), (-1.6, 1.6), 2.5, mingle=True),
    "cycle": Lane(("Cyclist",), (1.7, 2.0), (2.5, 5.0), 14.0),
    "crossing people": Lane(_PEOPLE, (4.5, 11.0), (-1.7, 1.7), 2.5, across=True, mingle=True),
    "crossing traffic": Lane(TRAFFIC, (14.0, 20.0), (5.0, 9.0), 16.0, across=True),
}
# Clips take turns: street, crossing, motorway, country, shops; speed (m/s) and fullness of lanes.
_SCENES: tuple[tuple[Range, dict[str, float]], ...] = (
    ((5.0, 9.0), {"parked right": 0.5, "parked left": 0.4, "lead": 0.2, "oncoming": 0.25,
                  "cycle": 0.1, "pavement right": 0.05, "pavement left": 0.04}),
    ((-0.8, 1.2), {"crossing people": 0.2, "crossing traffic": 0.35, "pavement right": 0.1,
                   "pavement left": 0.07, "lead": 0.05, "oncoming": 0.2}),
    ((17.0, 25.0), {"lead": 0.4, "passing": 0.35, "passed": 0.4}),
    ((8.0, 13.0), {"lead": 0.05, "oncoming": 0.2, "yards": 0.12, "cycle": 0.06}),
    ((1.0, 2.5), {"pavement right": 0.2, "pavement left": 0.12, "crossing people": 0.12,
                  "cycle": 0.1, "parked left": 0.4, "yards": 0.2}),
)  # fmt: skip


class LabelRow(NamedTuple):
    """One row; `values`: alpha, x1 y1 x2 y2 (px), h w l, x y z (m), rotation_y (rad)."""

    frame: int
    track: int
    kind: str
    truncated: int
    occluded: int
    values: tuple[float, ...]

    def line(self) -> str:
        """Return the row in KITTI's 17 columns."""
        return " ".join([*map(str, self[:5]), *(f"{value:.6f}" for value in self.values)]) + "\n"


@dataclass(frozen=True)
class LabelSummary:
    """What was written: clips, frames over all clips, and rows by class (DontCare too)."""

    clips: int
    frames: int
    boxes: dict[str, int]


class _Scene(NamedTuple):
    """The n objects of a clip on the ground plane (x right, z ahead) and the camera's path.

    `bodies` (n, 5) as in the table; `motion` (n, 6) x, z (m), their speeds (m/s), rotation_y, 1 for
    what the camera leaves behind; `path` (frames, 3) travel (m), yaw (rad), slope of the road.
    """

    kinds: list[str]
    bodies: Floats
    motion: Floats
    path: Floats


def fill_lane(
    rng: Generator, lane: Lane, fullness: float, travel_m: float, time_s: float
) -> Floats:
    """Put objects on a lane, wherever they come into view within `time_s`: rows of `motion`."""
    pace = np.array(lane.speed_mps if lane.mingle else [rng.uniform(*lane.speed_mps)])
    passed = (0.0 if lane.across or lane.follow else travel_m) - pace * time_s
    behind, ahead = (_SIDE_M, _SIDE_M) if lane.across else (6.0, SIGHT_M)
    first = max(min(0.0, passed.min()) - behind, lane.nearest_m)
    along = np.arange(first, max(0.0, passed.max()) + ahead, lane.pitch_m)
    along = along[rng.uniform(size=len(along)) < fullness * rng.uniform(0.6, 1.4)]
    count = len(along)
    along += lane.pitch_m * rng.uniform(0.0, 0.15, count)
    speed = rng.uniform(pace[0], pace[-1], count)
    side = rng.normal(rng.uniform(*lane.offset_m, size=count if lane.mingle else 1), 0.08, count)
    # Traffic keeps right: what stands on the left faces the camera.
    facing = np.where(speed == 0.0, np.sign(side), np.sign(1.0 if lane.follow else speed))
    turn = rng.normal(0.0, 0.15 if lane.mingle else 0.02, count)
    none, left = np.zeros(count), np.full(count, 0.0 if lane.follow else 1.0)
    if lane.across:
        way = rng.choice((-1.0, 1.0))
        turn += math.pi * (way * facing < 0)
        return np.stack([way * along, travel_m + side, way * speed, none, turn, left], axis=1)
    return np.stack([side, along, none, speed, turn - math.pi / 2 * facing, left], axis=1)


def _scene(rng: Generator, clip: int, frames: int) -> _Scene:
    """Draw the objects and the camera's path of one clip."""
    speeds, fullness = _SCENES[clip % len(_SCENES)]
    period_s = rng.uniform((8.0, 9.0, 1.5), (20.0, 20.0, 4.0))[:, None]
    turns = np.arange(frames) / FRAMES_PER_S / period_s + rng.uniform(size=(3, 1))
    hurry, *swings = np.sin(2 * math.pi * turns) * ((0.25,), (0.08,), (0.008,))
    speed = max(0.0, rng.uniform(*speeds)) * (1.0 + hurry)
    # A camera that stands still must not swing either.
    swings = np.array(swings) * min(1.0, float(speed[0]) / 4.0)
    travel = np.cumsum(speed) / FRAMES_PER_S
    path = np.stack([travel, *(swings + rng.normal(0.0, ((0.02,), (0.008,))))], axis=1)
    kinds: list[str] = []
    motion = np.zeros((0, 6))
    for name, full in fullness.items():
        added = fill_lane(rng, LANES[name], full, float(travel[-1]), frames / FRAMES_PER_S)
        motion = np.concatenate([motion, added])
        kinds += rng.choice(LANES[name].kinds, len(added)).tolist()
    bodies = np.array([BODIES[kind] for kind in kinds]).reshape(-1, 5)
    bodies[:, :3] *= 1.0 + bodies[:, 3:4] * rng.uniform(-1.0, 1.0, (len(bodies), 3))
    return _Scene(kinds, bodies, motion, path)


def _project(scene: _Scene, frame: int, size: Size) -> tuple[Floats, Floats, Floats]:
    """Return `values` of rows (n, 12), boxes' share inside (n,), depth of nearest corners (n,)."""
    travel, yaw, slope = scene.path[frame]
    start_x, start_z, speed_x, speed_z, heading, left_behind = scene.motion.T
    side = start_x + speed_x * frame / FRAMES_PER_S
    ahead = start_z + speed_z * frame / FRAMES_PER_S - left_behind * travel
    x = side * math.cos(yaw) - ahead * math.sin(yaw)
    z = side * math.sin(yaw) + ahead * math.cos(yaw)
    y = CAMERA_HEIGHT_M + slope * z
    height, width, length = scene.bodies.T[:3]
    forward = length / 2 * np.array([[1], [1], [-1], [-1]])
    sideways = width / 2 * np.array([[1], [-1], [-1], [1]])
    cos, sin = np.cos(heading - yaw), np.sin(heading - yaw)
    depth = z - sin * forward + cos * sideways
    # What reaches behind the lens has no image: the caller leaves it out by its depth.
    scale = FOCAL_PX / np.maximum(depth, _NEAR_M)
    u = CENTRE_X_PX + scale * (x + cos * forward + sin * sideways)
    low, high = CENTRE_Y_PX + scale * y, CENTRE_Y_PX + scale * (y - height)
    hull = np.stack([u.min(0), high.min(0), u.max(0), low.max(0)])
    box = np.clip(hull, 0.0, np.array([[size.cols - 1], [size.rows - 1]] * 2))
    inside = np.prod(box[2:] - box[:2], axis=0) / np.prod(hull[2:] - hull[:2], axis=0)
    turns = np.stack([heading - yaw - np.arctan2(x, z), heading - yaw])
    alpha, rotation_y = (turns + math.pi) % (2 * math.pi) - math.pi
    values = np.stack([alpha, *box, height, width, length, x, y, z, rotation_y], axis=1)
    return values, inside, depth.min(0)


def _frame_rows(scene: _Scene, frame: int, size: Size, tracks: dict[int, int]) -> list[LabelRow]:
    """Return the rows of one frame; an object first seen gets the next id of `tracks`."""
    values, inside, depth = _project(scene, frame, size)
    seen = (depth >= _NEAR_M) & (depth < SIGHT_M) & (inside >= _LEAST_INSIDE)
    seen &= values[:, 4] - values[:, 2] >= _LEAST_BOX_PX
    taken = np.zeros(size.tiles(_CELL_PX), dtype=np.bool_)
    rows: list[LabelRow] = []
    for item in sorted(np.flatnonzero(seen).tolist(), key=depth.tolist().__getitem__):
        row = tuple(values[item].tolist())
        x1, y1, x2, y2 = (int(edge / _CELL_PX) for edge in row[1:5])
        behind = taken[y1 : y2 + 1, x1 : x2 + 1]
        hidden = float(behind.mean())
        behind[:] = True
        if hidden <= _MOST_HIDDEN and depth[item] < scene.bodies[item, 4]:
            track = tracks.setdefault(item, len(tracks))
            states = int(inside[item] < 0.98), int(hidden > 0.1) + int(hidden > 0.5)
            rows.append(LabelRow(frame, track, scene.kinds[item], *states, row))
        elif hidden <= _GONE:
            rows.append(LabelRow(frame, -1, "DontCare", -1, -1, (_NO_ALPHA, *row[1:5], *_NO_3D)))
    return sorted(rows)


def scene_rows(clip: int, frames: int, seed: int) -> list[LabelRow]:
    """Return the rows of one clip, sorted by frame, then track; they depend on nothing else."""
    scene = _scene(np.random.default_rng([seed, clip]), clip, frames)
    size, tracks = native_size(f"{clip:04d}"), dict[int, int]()
    return [row for frame in range(frames) for row in _frame_rows(scene, frame, size, tracks)]


def check_numbers(clips: int, frames: int, seed: int) -> None:
    """Raise UsageError for a number out of range."""
    for what, value, least in (("clips", clips, 1), ("frames", frames, 2), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"{value} is too small", where=what, remedy=f"give {least} or more")


def refuse_full(folder: Path) -> None:
    """Raise UsageError for a folder that exists and is not empty."""
    if os.path.exists(folder) and not (folder.is_dir() and next(folder.iterdir(), None) is None):
        raise UsageError("is not an empty folder", where=folder, remedy="name a new or empty one")


def write_labels(folder: Path, clips: int, frames: int, seed: int) -> LabelSummary:
    """Write a synthetic set of `clips` sequences of `frames` frames in KITTI's layout, no images.

    The same arguments give the same bytes. Raises UsageError for a number out of range, and for a
    folder that exists and is not empty: a dataset is never overwritten.
    """
    check_numbers(clips, frames, seed)
    refuse_full(folder)
    boxes: Counter[str] = Counter()
    files: dict[str, bytes] = {}
    for clip in range(clips):
        rows = scene_rows(clip, frames, seed)
        boxes.update(row.kind for row in rows)
        text = "".join(row.line() for row in rows)
        files[f"training/label_02/{clip:04d}.txt"] = text.encode("ascii")
    seqmap = "".join(f"{clip:04d} empty 000000 {frames:06d}\n" for clip in range(clips))
    files["training/evaluate_tracking.seqmap.training"] = seqmap.encode("ascii")
    write_folder(folder, files)
    return LabelSummary(clips, clips * frames, dict(sorted(boxes.items())))
