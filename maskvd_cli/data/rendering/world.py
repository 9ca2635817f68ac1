"""What a clip shows: a camera's path, road users who move, things that stand, and the light."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator

from maskvd_cli.data.rendering.camera import CAMERA_HEIGHT_M, FOCAL_PX, SIZE, Camera, Floats
from maskvd_cli.data.rendering.light import Daylight, daylight
from maskvd_cli.data.rendering.textures import VARIANTS, Ground, Wall
from maskvd_cli.data.synthetic import BODIES, CARS, TRAFFIC, Lane, Range, fill_lane

Family = Literal["driving", "static"]
FAMILIES: tuple[Family, ...] = ("driving", "static")
FRAMES_PER_S: dict[Family, float] = {"driving": 10.0, "static": 25.0}
_PEOPLE = (*("Pedestrian",) * 8, "Cyclist")
_CYCLISTS = ("Cyclist",)

_LANES = {
    "parked right": Lane(CARS, (3.0, 3.3), (0.0, 0.0), 6.8),
    "parked left": Lane(CARS, (-7.0, -6.5), (0.0, 0.0), 6.8),
    "yards": Lane(CARS, (9.0, 15.0), (0.0, 0.0), 9.0, mingle=True),
    "lead": Lane(TRAFFIC, (-0.3, 0.3), (0.0, 0.4), 16.0, follow=True, nearest_m=8.0),
    "passing": Lane(TRAFFIC, (-3.8, -3.5), (0.3, 2.0), 18.0, follow=True),
    "passed": Lane(TRAFFIC, (3.5, 3.8), (-2.0, -0.3), 18.0, follow=True),
    "ahead": Lane(TRAFFIC, (-0.2, 0.3), (5.0, 10.0), 15.0),
    "oncoming": Lane(TRAFFIC, (-4.0, -3.5), (-12.0, -6.0), 16.0),
    "pavement right": Lane(_PEOPLE, (4.9, 7.2), (-1.6, 1.6), 2.5, mingle=True),
    "pavement left": Lane(_PEOPLE, (-11.0, -8.9), (-1.6, 1.6), 2.5, mingle=True),
    "cycle right": Lane(_CYCLISTS, (1.8, 2.1), (2.5, 5.0), 9.0),
    "cycle left": Lane(_CYCLISTS, (-5.6, -5.3), (-5.0, -2.5), 9.0),
    "crossing people": Lane(_PEOPLE, (5.5, 11.0), (-1.7, 1.7), 2.5, across=True, mingle=True),
    "crossing traffic": Lane(TRAFFIC, (14.5, 19.5), (5.0, 9.0), 16.0, across=True),
}


_Walls = tuple[tuple[float, Wall], tuple[float, Wall]]


class _Setting(NamedTuple):
    """Kind of place: ground, walls left and right (x, kind), camera's speed, fullness of lanes."""

    ground: Ground
    walls: _Walls
    speed_mps: Range
    fullness: dict[str, float]
    cross: bool = False


_STREET: _Walls = (-13.5, "houses"), (9.6, "houses")
_SHOPS: _Walls = (-13.5, "offices"), (9.6, "offices")
_GREEN: _Walls = (-19.0, "forest"), (19.0, "forest")
_FIELDS: _Walls = (-18.0, "hedges"), (21.0, "forest")
_DRIVES: tuple[_Setting, ...] = (
    _Setting("street", _STREET, (5.0, 9.0),
             {"parked right": 0.45, "parked left": 0.4, "lead": 0.2, "oncoming": 0.25,
              "cycle right": 0.18, "cycle left": 0.1, "pavement right": 0.1,
              "pavement left": 0.07}),
    _Setting("street", _SHOPS, (-0.8, 1.2),
             {"crossing people": 0.22, "crossing traffic": 0.35, "pavement right": 0.14,
              "pavement left": 0.08, "cycle right": 0.15}, cross=True),
    _Setting("motorway", _GREEN, (15.0, 22.0), {"lead": 0.5, "passing": 0.45, "passed": 0.45}),
    _Setting("country", _FIELDS, (7.0, 12.0),
             {"lead": 0.15, "oncoming": 0.3, "yards": 0.2, "cycle right": 0.25,
              "pavement right": 0.03}),
    _Setting("street", _SHOPS, (1.0, 2.8),
             {"pavement right": 0.22, "pavement left": 0.14, "crossing people": 0.12,
              "cycle right": 0.18, "cycle left": 0.15, "parked left": 0.4}),
)  # fmt: skip
_WATCHED: tuple[_Setting, ...] = (
    _Setting("street", _STREET, (0.0, 0.0),
             {"parked right": 0.35, "ahead": 0.35, "oncoming": 0.35, "pavement right": 0.12,
              "pavement left": 0.1, "cycle right": 0.25, "cycle left": 0.2}),
    _Setting("street", _SHOPS, (0.0, 0.0),
             {"pavement right": 0.2, "pavement left": 0.2, "crossing people": 0.25,
              "cycle right": 0.25, "oncoming": 0.2}),
    _Setting("country", _FIELDS, (0.0, 0.0),
             {"ahead": 0.35, "oncoming": 0.4, "cycle right": 0.3, "yards": 0.15,
              "pavement right": 0.06}),
)  # fmt: skip


class Actors(NamedTuple):
    """The n road users: `bodies` (n, 3) height, width, length (m); `motion` (n, 6) as lanes say."""

    kinds: list[str]
    bodies: Floats
    motion: Floats
    looks: list[int]


class Props(NamedTuple):
    """The n things that stand: `places` (n, 3) x, z, height (m)."""

    kinds: list[str]
    places: Floats
    looks: list[int]


@dataclass(frozen=True)
class World:
    """One clip. `path` (frames, 5): x, height, z of the camera, yaw, pitch; speeds in m and s."""

    family: Family
    seed: tuple[int, ...]
    fps: float
    path: Floats
    focal_px: float
    ground: Ground
    walls: tuple[tuple[float, Wall], ...]
    variant: int
    cross_m: tuple[float, float] | None
    actors: Actors
    props: Props
    daylight: Daylight
    noise: float
    blur: float

    def camera(self, frame: int) -> Camera:
        """Return the camera of a frame."""
        return Camera(*self.path[frame].tolist(), focal_px=self.focal_px, size=SIZE)

    def places(self, frame: int) -> Floats:
        """Return where the actors are in a frame: (n, 2) world x and z."""
        start_x, start_z, speed_x, speed_z, _, left = self.actors.motion.T
        time_s = frame / self.fps
        carried = (1.0 - left) * self.path[frame, 2]
        return np.column_stack([start_x + speed_x * time_s, start_z + speed_z * time_s + carried])


@lru_cache(maxsize=256)
def build_world(family: Family, seed: tuple[int, ...], number: int, frames: int) -> World:
    """Return the world of a clip; all of it follows from the arguments.

    `number` chooses the kind of place in turn, `seed` everything else.
    """
    rng = np.random.default_rng([*seed, 41, number, FAMILIES.index(family)])
    settings = _DRIVES if family == "driving" else _WATCHED
    setting, fps = settings[number % len(settings)], FRAMES_PER_S[family]
    path = _driving(rng, setting, frames) if family == "driving" else _standing(rng, frames)
    end_m = float(path[-1, 2])
    cross = (end_m + 11.5, end_m + 22.5) if setting.cross else None
    return World(
        family,
        (*seed, number),
        fps,
        path,
        FOCAL_PX if family == "driving" else float(rng.uniform(680, 860)),
        setting.ground,
        setting.walls,
        int(rng.integers(VARIANTS)),
        cross,
        _actors(rng, setting, end_m, frames / fps),
        _props(rng, setting, path, cross),
        daylight(rng),
        noise=rng.uniform(1.5, 4.5),
        blur=rng.uniform(0.35, 0.65),
    )


def _driving(rng: Generator, setting: _Setting, frames: int) -> Floats:
    fps = FRAMES_PER_S["driving"]
    period_s = rng.uniform((8.0, 9.0, 1.5), (20.0, 20.0, 4.0))[:, None]
    turns = np.arange(frames) / fps / period_s + rng.uniform(size=(3, 1))
    hurry, sway, nod = np.sin(2 * math.pi * turns) * ((0.25,), (0.07,), (0.007,))
    speed = max(0.0, rng.uniform(*setting.speed_mps)) * (1.0 + hurry)
    # A camera that stands still must not swing either.
    calm = min(1.0, float(speed[0]) / 4.0)
    travel = np.cumsum(speed) / fps
    still = np.full(frames, CAMERA_HEIGHT_M)
    yaw = sway * calm + rng.normal(0.0, 0.02)
    return np.stack([0 * travel, still, travel, yaw, nod * calm + rng.normal(0, 0.006)], axis=1)


def _standing(rng: Generator, frames: int) -> Floats:
    right = rng.uniform() < 0.4
    x = rng.uniform(6.0, 8.0) if right else rng.uniform(-12.0, -9.0)
    yaw = rng.uniform(0.3, 0.62) * (-1.0 if right else 1.0)
    pose = (x, rng.uniform(4.2, 6.2), 0.0, yaw, rng.uniform(0.13, 0.22))
    return np.tile(np.array(pose), (frames, 1))


def _actors(rng: Generator, setting: _Setting, end_m: float, time_s: float) -> Actors:
    kinds: list[str] = []
    motion = np.zeros((0, 6))
    for name, fullness in setting.fullness.items():
        added = fill_lane(rng, _LANES[name], fullness, end_m, time_s)
        motion = np.concatenate([motion, added])
        kinds += rng.choice(_LANES[name].kinds, len(added)).tolist()
    bodies = np.array([BODIES[kind] for kind in kinds]).reshape(-1, 5)
    sizes = bodies[:, :3] * (1.0 + bodies[:, 3:4] * rng.uniform(-1.0, 1.0, (len(bodies), 3)))
    # Cars are long in proportion to their width, or they look like toys.
    wide = np.isin(kinds, ("Car", "Van"))
    sizes[wide, 2] = np.maximum(sizes[wide, 2], 2.2 * sizes[wide, 1])
    return Actors(kinds, sizes.round(3), motion, rng.integers(0, 2**31, len(kinds)).tolist())


def _props(
    rng: Generator, setting: _Setting, path: Floats, cross: tuple[float, float] | None
) -> Props:
    """Put trees, lamp posts, signs and bins beside the road."""
    kinds: list[str] = []
    places: list[tuple[float, float, float]] = []
    left, right = {"street": (-8.5, 4.6), "motorway": (-9.5, 9.5), "country": (-7.5, 4.2)}[
        setting.ground
    ]
    chances = {"street": (0.4, 0.25, 0.2, 0.15), "motorway": (0.35, 0.4, 0.25, 0.0),
               "country": (0.7, 0.1, 0.2, 0.0)}[setting.ground]  # fmt: skip
    for side in (left, right):
        for z in np.arange(-6.0, path[-1, 2] + 90.0, 7.5) + rng.uniform(-2.5, 2.5):
            kind = str(rng.choice(("tree", "lamp", "sign", "bin"), p=chances))
            x = side + rng.uniform(-0.15, 0.15)
            if kind == "tree" and setting.ground != "street":
                x = side * rng.uniform(1.2, 1.7)
            skip = rng.uniform() < 0.25
            blocks = path[0, 2] == path[-1, 2] and abs(z) < 14 and abs(x - path[0, 0]) < 8
            if skip or blocks or (cross and cross[0] - 1 < z < cross[1] + 1):
                continue
            tall = {"tree": rng.uniform(5.5, 9.0), "lamp": rng.uniform(6.0, 8.0),
                    "sign": rng.uniform(2.3, 3.0), "bin": rng.uniform(0.9, 1.2)}[kind]  # fmt: skip
            kinds.append(kind)
            places.append((x, float(z), float(tall)))
    looks = rng.integers(0, 2**31, len(kinds)).tolist()
    return Props(kinds, np.array(places, dtype=np.float64).reshape(-1, 3), looks)


def empty_world(seed: tuple[int, ...], travel_m: Floats) -> World:
    """Return a country road without anybody; the camera has driven `travel_m` (frames,)."""
    rng = np.random.default_rng([*seed, 53])
    setting = _DRIVES[3]
    still, none = np.full(len(travel_m), CAMERA_HEIGHT_M), np.zeros(len(travel_m))
    path = np.stack([none, still, travel_m, none, none], axis=1)
    return World(
        "driving",
        seed,
        FRAMES_PER_S["driving"],
        path,
        FOCAL_PX,
        setting.ground,
        setting.walls,
        int(rng.integers(VARIANTS)),
        None,
        Actors([], np.zeros((0, 3)), np.zeros((0, 6)), []),
        _props(rng, setting, path, None),
        daylight(rng),
        noise=rng.uniform(1.5, 4.5),
        blur=rng.uniform(0.35, 0.65),
    )
