"""Scenes of one action each: a figure, or two, before a camera that stands still."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from maskvd_cli.core.size import Size
from maskvd_cli.data.rendering.camera import Camera, Floats
from maskvd_cli.data.rendering.frames import (
    Pose,
    finish,
    paint_backdrop,
    paint_figure,
    paint_props,
    paint_walls,
)
from maskvd_cli.data.rendering.people import RIGHT_ARM, draw_limbs, figure, look_of
from maskvd_cli.data.rendering.sketch import Image
from maskvd_cli.data.rendering.world import Actors, World, build_world

SIZE = Size(128, 160)
FRAMES_PER_S = 25.0
_FOCAL_PX, _EYE_M, _AWAY_M = 250.0, 1.35, 7.5
_NOBODY = Actors([], np.zeros((0, 3)), np.zeros((0, 6)), [])
# From the toe's print to the next one of the same foot, as a share of the height.
_STRIDE = 0.8
Limbs = Floats


class Actor(NamedTuple):
    """Who acts: `kind` and `body` as of road users, their look, and where they are at a time.

    `path` gives x and z (m) relative to the middle of the scene, and the heading (rad);
    `bearing` changes limbs (n, 11), as `figure` gives them, to what they are at a time.
    """

    kind: str
    body: tuple[float, float, float]
    look: int
    speed_mps: float
    path: Callable[[float], tuple[float, float, float]]
    bearing: Callable[[Limbs, float], Limbs]


@dataclass(frozen=True)
class ActionScene:
    """One clip: who acts, where (a street without anybody), and the camera that watches."""

    world: World
    actors: tuple[Actor, ...]
    camera: Camera

    def image(self, frame: int) -> Image:
        """Return a frame (rows, cols, 3) uint8 RGB; it depends on no other frame."""
        time_s = frame / FRAMES_PER_S
        world, camera, light = self.world, self.camera, self.world.daylight.at(time_s)
        image = np.empty((*camera.size, 3), dtype=np.uint8)
        ids = np.zeros(camera.size, dtype=np.int16)
        placed = [self._posed(actor, time_s) for actor in self.actors]
        paint_backdrop(image, world, camera, light, [pose for pose, _ in placed])
        paint_walls(image, ids, world, camera, light)
        paint_props(image, ids, world, camera, light)
        far_to_near = sorted(enumerate(placed), key=lambda one: -float(one[1][0].place[2]))
        for item, (pose, limbs) in far_to_near:
            depth = float(pose.place[2]) - camera.z
            sketch = draw_limbs(limbs, pose.place, pose.heading, camera, light, depth)
            paint_figure(sketch, image, ids, item, depth)
        return finish(image, ids, light, [], (*world.seed, frame), world.noise, world.blur)

    def _posed(self, actor: Actor, time_s: float) -> tuple[Pose, Limbs]:
        x, z, heading = actor.path(time_s)
        middle = (self.camera.x, self.camera.z + _AWAY_M)
        place = np.array([middle[0] + x, 0.0, middle[1] + z])
        pose = Pose(actor.kind, actor.body, actor.look, place, heading, actor.speed_mps, time_s)
        look, cycles = look_of(actor.look), actor.kind == "Cyclist"
        stride = 4.4 if cycles else _STRIDE * 2 * actor.body[0]
        phase = look.start + 2 * math.pi * actor.speed_mps * time_s / stride * look.pace
        still = actor.speed_mps == 0.0
        return pose, actor.bearing(figure(actor.kind, actor.body, look, phase, still=still), time_s)


@lru_cache(maxsize=64)
def build_scene(seed: tuple[int, ...], number: int, frames: int) -> ActionScene:
    """Return the scene of a clip; all of it follows from the arguments.

    `number` chooses the action in turn, `seed` and `number` everything else.
    """
    rng = np.random.default_rng([*seed, 61, number])
    world = build_world("static", (*seed, 61, number), int(rng.integers(3)), frames)
    low, high = sorted(x for x, _ in world.walls)
    camera = Camera(
        x=float(rng.uniform(0.3 * low, 0.3 * high)),
        height=_EYE_M + float(rng.uniform(-0.15, 0.25)),
        z=float(rng.uniform(0.0, 20.0)),
        pitch=float(rng.uniform(0.0, 0.03)),
        focal_px=_FOCAL_PX * float(rng.uniform(0.92, 1.12)),
        size=SIZE,
        centre_x_px=SIZE.cols / 2,
        centre_y_px=SIZE.rows / 2,
    )
    action = tuple(ACTIONS.values())[number % len(ACTIONS)]
    actors = action(rng, frames / FRAMES_PER_S)
    return ActionScene(replace(world, actors=_NOBODY), tuple(actors), camera)


def _as_it_is(limbs: Limbs, time_s: float) -> Limbs:
    del time_s
    return limbs


def _person(
    rng: Generator,
    speed_mps: float,
    path: Callable[[float], tuple[float, float, float]],
    bearing: Callable[[Limbs, float], Limbs] = _as_it_is,
    kind: str = "Pedestrian",
) -> Actor:
    height = float(rng.uniform(1.58, 1.9))
    return Actor(kind, (height, 0.65, 1.75), int(rng.integers(2**31)), speed_mps, path, bearing)


def _across(
    rng: Generator, speed_mps: float, seconds: float, way: float | None = None, depth: float = 0.8
) -> Callable[[float], tuple[float, float, float]]:
    """Return a way across the image, through its middle at half time."""
    way = float(rng.choice((-1.0, 1.0))) if way is None else way
    z, shift = float(rng.uniform(-depth, depth)), float(rng.uniform(-0.4, 0.4))
    heading = 0.0 if way > 0 else math.pi
    return lambda time_s: (way * speed_mps * (time_s - seconds / 2) + shift, z, heading)


def _spot(
    rng: Generator, heading: float | None = None
) -> Callable[[float], tuple[float, float, float]]:
    """Return a place to stand at, facing the camera or nearly so."""
    x, z = float(rng.uniform(-1.0, 1.0)), float(rng.uniform(-1.0, 0.8))
    facing = math.pi / 2 + float(rng.uniform(-0.7, 0.7)) if heading is None else heading
    return lambda time_s: (x, z, facing)


def _walking(rng: Generator, seconds: float) -> Sequence[Actor]:
    speed = float(rng.uniform(1.0, 1.6))
    return [_person(rng, speed, _across(rng, speed, seconds))]


def _running(rng: Generator, seconds: float) -> Sequence[Actor]:
    speed = float(rng.uniform(2.6, 3.4))

    def bearing(limbs: Limbs, time_s: float) -> Limbs:
        # Longer steps, and the trunk leans.
        moved = limbs.copy()
        for forward, up in ((0, 2), (3, 5)):
            moved[:, forward] = 1.5 * limbs[:, forward] + 0.12 * np.maximum(limbs[:, up] - 0.8, 0.0)
            moved[:, up] += 0.05 * abs(math.sin(2 * math.pi * 1.5 * time_s))
        return moved

    return [_person(rng, speed, _across(rng, speed, seconds), bearing)]


def _along(rng: Generator, way: float) -> Sequence[Actor]:
    """Return somebody who walks away from the camera (`way` 1), or towards it."""
    speed, x = float(rng.uniform(1.1, 1.7)), float(rng.uniform(-0.9, 0.9))
    first = -2.4 if way > 0 else 1.2
    slant = float(rng.uniform(-0.15, 0.15))
    heading = -way * math.pi / 2 + slant
    return [
        _person(
            rng, speed, lambda time_s: (x + slant * time_s, first + way * speed * time_s, heading)
        )
    ]


def _approaching(rng: Generator, seconds: float) -> Sequence[Actor]:
    del seconds
    return _along(rng, -1.0)


def _leaving(rng: Generator, seconds: float) -> Sequence[Actor]:
    del seconds
    return _along(rng, 1.0)


def _turning(rng: Generator, seconds: float) -> Sequence[Actor]:
    rate = float(rng.choice((-1.0, 1.0)) * rng.uniform(1.6, 2.6) * math.pi) / seconds
    place = _spot(rng)

    def path(time_s: float) -> tuple[float, float, float]:
        x, z, heading = place(time_s)
        return x, z, heading + rate * time_s

    return [_person(rng, 0.0, path)]


def _waving(rng: Generator, seconds: float) -> Sequence[Actor]:
    del seconds
    hertz, start = float(rng.uniform(1.2, 2.0)), float(rng.uniform(0.0, 2 * math.pi))
    reach = float(rng.uniform(0.16, 0.2))

    def bearing(limbs: Limbs, time_s: float) -> Limbs:
        moved = limbs.copy()
        arm = moved[RIGHT_ARM]
        swing = 0.75 * math.sin(2 * math.pi * hertz * time_s + start)
        shoulder = arm[0, :3].copy()
        elbow = shoulder + reach * 1.75 * np.array([0.15, -0.75, 0.62])
        hand = elbow + reach * 1.6 * np.array([0.1, -math.sin(swing), math.cos(swing)])
        for row, first, second in (
            (0, shoulder, elbow), (1, elbow, hand), (2, hand, hand + (hand - elbow) * 0.2),
        ):  # fmt: skip
            arm[row, :3], arm[row, 3:6] = first, second
        return moved

    return [_person(rng, 0.0, _spot(rng), bearing)]


def _jumping(rng: Generator, seconds: float) -> Sequence[Actor]:
    del seconds
    hertz, start = float(rng.uniform(1.1, 1.7)), float(rng.uniform(0.0, math.pi))
    most = float(rng.uniform(0.22, 0.4))

    def bearing(limbs: Limbs, time_s: float) -> Limbs:
        moved = limbs.copy()
        moved[:, [2, 5]] += most * abs(math.sin(math.pi * hertz * time_s + start))
        return moved

    return [_person(rng, 0.0, _spot(rng), bearing)]


def _bending(rng: Generator, seconds: float) -> Sequence[Actor]:
    hertz = float(rng.uniform(0.9, 1.2)) / seconds
    start, most = float(rng.uniform(0.0, 2 * math.pi)), float(rng.uniform(0.9, 1.3))
    heading = float(rng.choice((0.0, math.pi)) + rng.uniform(-0.5, 0.5))

    def bearing(limbs: Limbs, time_s: float) -> Limbs:
        angle = most * (0.5 - 0.5 * math.cos(2 * math.pi * hertz * time_s + start))
        moved, hip = limbs.copy(), 0.52 * float(limbs[:, [2, 5]].max())
        for forward, up in ((0, 2), (3, 5)):
            above = limbs[:, up] - hip
            upper = above > 0
            ahead = limbs[:, forward]
            moved[upper, forward] = (ahead * math.cos(angle) + above * math.sin(angle))[upper]
            moved[upper, up] = hip + (above * math.cos(angle) - ahead * math.sin(angle))[upper]
        return moved

    return [_person(rng, 0.0, _spot(rng, heading), bearing)]


def _cycling(rng: Generator, seconds: float) -> Sequence[Actor]:
    speed = float(rng.uniform(2.4, 3.6))
    return [_person(rng, speed, _across(rng, speed, seconds), kind="Cyclist")]


def _crossing(rng: Generator, seconds: float) -> Sequence[Actor]:
    """Two people walk across in opposite directions, and pass each other."""
    speeds = rng.uniform(1.0, 1.6, 2).tolist()
    return [
        _person(rng, speed, _across(rng, speed, seconds, way=way))
        for speed, way in zip(speeds, (1.0, -1.0), strict=True)
    ]


def _standing(rng: Generator, seconds: float) -> Sequence[Actor]:
    del seconds
    return [_person(rng, 0.0, _spot(rng, float(rng.uniform(0.0, 2 * math.pi))))]


ACTIONS: dict[str, Callable[[Generator, float], Sequence[Actor]]] = {
    "approaching": _approaching,
    "bending": _bending,
    "crossing": _crossing,
    "cycling": _cycling,
    "jumping": _jumping,
    "leaving": _leaving,
    "running": _running,
    "standing": _standing,
    "turning": _turning,
    "walking": _walking,
    "waving": _waving,
}
