"""Textures of ground, buildings, trees and sky, drawn once in a process and shared by all clips."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskvd_cli.data.rendering.camera import Floats
from maskvd_cli.data.rendering.light import Colour
from maskvd_cli.data.rendering.sketch import Image

Ground = Literal["street", "motorway", "country"]
Wall = Literal["houses", "offices", "hedges", "forest"]
VARIANTS = 4
# The ground repeats after this many metres, as do the walls: lengths that dashes divide.
GROUND_PERIOD_M, WALL_PERIOD_M = 48, 120
GROUND_HALF_M, WALL_HEIGHT_M = 16, 16
NEAR_TEXELS, FAR_TEXELS, WALL_TEXELS = 24, 10, 18


def clouded(rng: Generator, rows: int, cols: int, grain: int) -> Floats:
    """Return smooth noise (rows, cols) of mean 0 and deviation 1 that tiles both ways."""
    coarse = rng.normal(size=(max(rows // grain, 2), max(cols // grain, 2)))
    tiled = np.pad(coarse, 2, mode="wrap")
    scale = (rows / coarse.shape[0], cols / coarse.shape[1])
    size = (round(tiled.shape[1] * scale[1]), round(tiled.shape[0] * scale[0]))
    large = cv2.resize(tiled, size, interpolation=cv2.INTER_CUBIC)
    top, left = round(2 * scale[0]), round(2 * scale[1])
    cut = large[top : top + rows, left : left + cols]
    return (cut - cut.mean()) / max(float(cut.std()), 1e-9)


def _surface(rng: Generator, shape: tuple[int, int], colour: Colour, rough: float) -> Floats:
    """Return a mottled surface (rows, cols, 3)."""
    noise = 0.5 * clouded(rng, *shape, 64) + 0.35 * clouded(rng, *shape, 9)
    noise += 0.7 * rng.normal(size=shape)
    return np.array(colour) + rough * noise[..., None]


def _speckled(rng: Generator, shape: tuple[int, int]) -> Floats:
    """Return grass (rows, cols, 3)."""
    tone = clouded(rng, *shape, 40)[..., None] * (9, 5, 3)
    blades = rng.normal(size=shape)[..., None] * (9, 12, 7)
    return np.array((88.0, 112.0, 58.0)) + tone + blades + 6 * clouded(rng, *shape, 7)[..., None]


_ROADS: dict[Ground, tuple[float, float]] = {
    "street": (-8.1, 4.25), "motorway": (-6.2, 6.2), "country": (-5.6, 2.1),
}  # fmt: skip


@lru_cache(maxsize=32)
def ground(kind: Ground, variant: int) -> tuple[Image, Image]:
    """Return near and far ground, rows ahead, columns rightwards; one period long.

    Texels a metre: `NEAR_TEXELS` and `FAR_TEXELS`; the middle column lies below the camera's path.
    """
    rng = np.random.default_rng([variant, 17, list(_ROADS).index(kind)])
    shape = (GROUND_PERIOD_M * NEAR_TEXELS, 2 * GROUND_HALF_M * NEAR_TEXELS)
    grey = rng.uniform(84, 118)
    made = _speckled(rng, shape)
    left, right = _ROADS[kind]

    def strip(low: float, high: float) -> slice:
        edges = [round((edge + GROUND_HALF_M) * NEAR_TEXELS) for edge in (low, high)]
        return slice(max(edges[0], 0), max(edges[1], 0))

    def lay(low: float, high: float, colour: Colour, rough: float) -> None:
        part = strip(low, high)
        made[:, part] = _surface(rng, (shape[0], part.stop - part.start), colour, rough)

    if kind == "street":
        stone = rng.uniform(148, 178)
        lay(-GROUND_HALF_M, GROUND_HALF_M, (stone, stone * 0.97, stone * 0.92), 6)
        joint = round(1.0 * NEAR_TEXELS)
        made[::joint] *= 0.86
        made[:, ::joint] *= 0.86
        lay(left - 0.18, right + 0.18, (186, 184, 178), 5)
    lay(left, right, (grey, grey, grey * 1.03), 7)
    _wear(rng, made, strip(left, right))
    _markings(rng, made, kind, strip)
    near = np.clip(made, 0, 255).astype(np.uint8)
    wide = (shape[1] * FAR_TEXELS // NEAR_TEXELS, GROUND_PERIOD_M * FAR_TEXELS)
    far = cv2.resize(near, wide, interpolation=cv2.INTER_AREA).astype(np.uint8)
    tiled = np.concatenate([far, far, far])
    smooth = cv2.blur(tiled, (1, 7))[len(far) : 2 * len(far)]
    return near, np.ascontiguousarray(smooth).astype(np.uint8)


def _wear(rng: Generator, made: Floats, road: slice) -> None:
    """Darken tracks and patches, and draw cracks on a road."""
    part = made[:, road]
    part *= (1.0 + 0.05 * clouded(rng, part.shape[0], part.shape[1], 150))[..., None]
    for _ in range(5):
        row, col = (int(rng.integers(0, side - 80)) for side in part.shape[:2])
        size = rng.integers(30, 110, 2)
        part[row : row + size[0], col : col + size[1]] *= rng.uniform(0.84, 0.94)
    for _ in range(3):
        path = np.cumsum(rng.normal(0, 9, (24, 2)) + np.array([11, 0]), axis=0) + rng.uniform(
            0, 500, 2
        )
        cv2.polylines(part_view := np.ascontiguousarray(part), [path.astype(np.int32)[:, ::-1]],
                      False, (84, 84, 86), 1)  # fmt: skip
        part[:] = part_view


def _markings(rng: Generator, made: Floats, kind: Ground, strip: object) -> None:
    """Paint lines along the road."""
    period, stroke = (12, 6) if kind == "motorway" else (8, 4)
    rows = np.arange(len(made)) / NEAR_TEXELS
    dashed = rows % period < stroke
    solid = np.ones_like(dashed)
    lines = {
        "street": [(-1.8, dashed)],
        "motorway": [(-5.6, solid), (-1.85, dashed), (1.85, dashed), (5.6, solid)],
        "country": [(-5.3, solid), (-1.8, dashed), (1.8, solid)],
    }[kind]
    worn = 0.75 + 0.25 * np.clip(clouded(rng, made.shape[0], made.shape[1], 6), -1, 1)
    for place, where in lines:
        part = strip(place - 0.08, place + 0.08)  # type: ignore[operator]
        share = (worn[:, part] * where[:, None])[..., None]
        made[:, part] = made[:, part] * (1 - share) + share * np.array((226, 226, 218))


_PLASTERS: tuple[Colour, ...] = (
    (206, 190, 160), (188, 120, 92), (170, 172, 176), (222, 214, 196), (150, 104, 84),
    (196, 178, 132), (160, 150, 140), (214, 170, 140), (132, 140, 150),
)  # fmt: skip


def _facade(rng: Generator, rows: int, cols: int, offices: bool) -> Floats:
    """Return one building front (rows, cols, 3), its foot in the first row."""
    plaster = _PLASTERS[rng.choice(len(_PLASTERS))]
    front = _surface(rng, (rows, cols), plaster, 5)
    if rng.uniform() < 0.4:
        front[::4] *= 0.93
    front[: WALL_TEXELS // 2] *= 0.75
    storey, step = round(3.1 * WALL_TEXELS), round(rng.uniform(1.9, 3.0) * WALL_TEXELS)
    tall, wide = round(1.6 * WALL_TEXELS), round(step * (0.75 if offices else 0.48))
    trim = np.clip(np.array(plaster) * rng.choice((0.7, 1.18)), 20, 245)
    for low in range(0, rows - storey + 1, storey):
        shop = low == 0 and rng.uniform() < 0.5
        sill = low + round((0.3 if shop else 0.9) * WALL_TEXELS)
        for left in range(step // 4, cols - wide - 2, step):
            high = sill + (round(2.2 * WALL_TEXELS) if shop else tall)
            front[sill - 2 : high + 3, left - 2 : left + wide + 2] = trim
            glass = np.array((70, 84, 100)) + rng.normal(0, 5, 3) + rng.uniform(0, 40)
            ramp = np.linspace(0.75, 1.3, high - sill)[:, None, None]
            front[sill:high, left : left + wide] = glass * ramp
            if not shop:
                front[sill:high, left + wide // 2 - 1 : left + wide // 2 + 1] = trim
        if shop:
            band = slice(round(2.55 * WALL_TEXELS), round(3.0 * WALL_TEXELS))
            front[band] = np.array(rng.uniform(40, 220, 3))
        front[low + storey - 3 : low + storey] *= 0.82
    front[-5:] = trim * 0.8
    front[:, :2] *= 0.6
    return front


@lru_cache(maxsize=32)
def wall(kind: Wall, variant: int) -> Image:
    """Return an upright plane (rows upwards from the foot, columns ahead, RGBA), one period."""
    rng = np.random.default_rng(
        [variant, 19, ("houses", "offices", "hedges", "forest").index(kind)]
    )
    shape = (WALL_HEIGHT_M * WALL_TEXELS, WALL_PERIOD_M * WALL_TEXELS)
    made = np.zeros((*shape, 4))
    if kind in ("hedges", "forest"):
        _foliage(rng, made, (1.2, 4.5) if kind == "hedges" else (7.0, 13.0))
        return np.clip(made, 0, 255).astype(np.uint8)
    col = 0
    while col < shape[1]:
        cols = min(round(rng.uniform(8, 20) * WALL_TEXELS), shape[1] - col)
        if shape[1] - col - cols < 6 * WALL_TEXELS:
            cols = shape[1] - col
        storeys = rng.integers(3, 6) if kind == "offices" else rng.integers(2, 5)
        rows = min(round((3.1 * storeys + 0.5) * WALL_TEXELS), shape[0])
        made[:rows, col : col + cols, :3] = _facade(rng, rows, cols, kind == "offices")
        made[:rows, col : col + cols, 3] = 255
        if kind == "houses":
            _roof(made[:, col : col + cols], rows, rng)
        col += cols
    return np.clip(made, 0, 255).astype(np.uint8)


def _roof(part: Floats, rows: int, rng: Generator) -> None:
    tile = np.array(((138, 74, 56), (92, 84, 84), (112, 96, 84))[rng.integers(3)])
    high = min(rows + round(rng.uniform(1.2, 2.2) * WALL_TEXELS), len(part))
    for row in range(rows, high):
        inset = (row - rows) // 2
        part[row, inset : part.shape[1] - inset, :3] = tile * (0.9 + 0.1 * (row % 5 != 0))
        part[row, inset : part.shape[1] - inset, 3] = 255


def _foliage(rng: Generator, made: Floats, heights: tuple[float, float]) -> None:
    rows, cols = made.shape[:2]
    wave = clouded(rng, 8, cols, 90)[0] + 0.4 * clouded(rng, 8, cols, 24)[0]
    wave += 0.15 * clouded(rng, 8, cols, 5)[0]
    middle, half = sum(heights) / 2, (heights[1] - heights[0]) / 2
    top = np.clip(middle + half * 0.55 * wave, *heights) * WALL_TEXELS
    inside = np.arange(rows)[:, None] < top[None]
    tone = 0.75 + 0.4 * np.arange(rows)[:, None] / top[None]
    leaf = tone + 0.16 * clouded(rng, rows, cols, 22) + 0.13 * clouded(rng, rows, cols, 6)
    leaf += 0.08 * rng.normal(size=(rows, cols))
    made[..., :3] = np.array((72, 98, 52)) * np.clip(leaf, 0.25, 1.7)[..., None]
    made[..., 3] = np.where(inside, 255, 0)


@lru_cache(maxsize=32)
def tree(variant: int) -> Image:
    """Return a tree (RGBA), the foot in the middle of the last row; 320 x 256."""
    rng = np.random.default_rng([variant, 23])
    picture = np.zeros((320, 256, 4), dtype=np.uint8)
    bark = (86 + int(rng.integers(-15, 20)), 72, 58)
    trunk = np.array([[121, 319], [135, 319], [131, 150], [125, 150]])
    cv2.fillConvexPoly(picture, trunk, (*bark, 255))
    for _ in range(5):
        tip = (int(128 + rng.uniform(-70, 70)), int(rng.uniform(60, 150)))
        cv2.line(picture, (128, int(rng.uniform(150, 200))), tip, (*bark, 255), 4)
    leaf = np.array(((70, 104, 48), (92, 112, 50), (52, 92, 54), (128, 104, 46))[variant % 4])
    centres = rng.normal((128, 100), (42, 34), (420, 2))
    inside = (((centres - (128, 100)) / (104, 88)) ** 2).sum(axis=1) < 1
    centres = centres[inside][np.argsort(-centres[inside][:, 1] + rng.normal(0, 25, inside.sum()))]
    for x, y in centres.tolist():
        shade = float(np.clip(1.25 - (y - 20) / 190 + rng.normal(0, 0.13), 0.45, 1.6))
        red, green, blue = np.clip(leaf * shade, 0, 255).tolist()
        radius = int(rng.integers(6, 17))
        cv2.circle(picture, (round(x), round(y)), radius, (red, green, blue, 255), -1)
    return picture


@lru_cache(maxsize=8)
def skyline(variant: int) -> NDArray[np.float32]:
    """Return clouds and far hills around the camera: (400, 2600, 2), the horizon in row 360.

    Channel 0: cloud cover 0..1; channel 1: how much of a hill hides the sky.
    """
    rng = np.random.default_rng([variant, 29])
    rows, cols = 400, 2600
    cloud = 0.6 * clouded(rng, rows, cols, 130) + 0.4 * clouded(rng, rows, cols, 45)
    cloud += 0.2 * clouded(rng, rows, cols, 14)
    cover = (
        np.clip((cloud - rng.uniform(-0.2, 0.6)) * 0.9, 0, 1) * np.linspace(0.7, 1, rows)[:, None]
    )
    ridge = 22 + 9 * clouded(rng, 8, cols, 160)[0] + 3 * clouded(rng, 8, cols, 20)[0]
    hill = np.arange(rows)[:, None] > 360 - ridge[None]
    return np.stack([cover, hill.astype(np.float64)], axis=-1).astype(np.float32)


@lru_cache(maxsize=4)
def grain(variant: int) -> Image:
    """Return a (256, 256, 3) texture to multiply figures with: dirt, reflections; 200 is 1."""
    rng = np.random.default_rng([variant, 31])
    shine = 0.5 * clouded(rng, 256, 256, 60) + 0.35 * clouded(rng, 256, 256, 16)
    shine += 0.25 * rng.normal(size=(256, 256))
    ramp = np.linspace(1.12, 0.86, 256)[:, None]
    made = 200 * (ramp + 0.07 * shine)
    return np.repeat(np.clip(made, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@lru_cache(maxsize=4)
def sensor_noise(variant: int) -> NDArray[np.int16]:
    """Return a (640, 1536, 3) field of normal noise with deviation 16."""
    rng = np.random.default_rng([variant, 37])
    shared = rng.normal(0, 11, (640, 1536, 1))
    return np.rint(shared + rng.normal(0, 11, (640, 1536, 3))).astype(np.int16)
