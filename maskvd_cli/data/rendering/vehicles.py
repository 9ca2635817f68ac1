"""Cars, vans and trucks as small meshes: bodies, cabins, windows, wheels and lamps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from maskvd_cli.data.rendering.camera import Camera, Floats
from maskvd_cli.data.rendering.light import Colour, Light
from maskvd_cli.data.rendering.sketch import Sketch

Body = tuple[float, float, float]
_PAINTS: tuple[Colour, ...] = (
    (222, 224, 226), (168, 172, 178), (108, 112, 120), (38, 40, 46), (24, 32, 60), (150, 26, 28),
    (40, 70, 140), (66, 98, 150), (196, 190, 170), (50, 84, 62), (214, 170, 42), (112, 62, 40),
    (208, 96, 36), (90, 140, 150),
)  # fmt: skip
_GLASS, _TYRE, _RIM, _TRIM, _PLATE = (
    (46, 56, 66), (26, 26, 28), (150, 152, 156), (38, 39, 42), (228, 226, 210),
)  # fmt: skip
_GLARE, _WHITE_LAMP, _RED_LAMP = (104, 122, 138), (238, 238, 226), (176, 24, 22)


class _Outline(NamedTuple):
    """Shares of length and height: cabin's foot and roof, rear and front; belt and bonnet."""

    foot: tuple[float, float]
    roof: tuple[float, float]
    belt: float
    bonnet: float
    tail: float
    narrow: float = 0.37


_OUTLINES = {
    "saloon": _Outline((-0.42, 0.22), (-0.24, 0.03), 0.60, 0.50, 0.56),
    "hatchback": _Outline((-0.49, 0.25), (-0.40, 0.06), 0.58, 0.50, 0.55, 0.38),
    "estate": _Outline((-0.49, 0.22), (-0.44, 0.05), 0.58, 0.49, 0.55),
    "off-roader": _Outline((-0.49, 0.21), (-0.45, 0.08), 0.60, 0.56, 0.57, 0.42),
    "van": _Outline((-0.50, 0.36), (-0.49, 0.20), 0.56, 0.46, 0.56, 0.45),
}


@dataclass(frozen=True)
class Mesh:
    """Faces in drawing order: corners (n, 3) forward, left, up (m), ends, normals, anchors.

    `lamps` (l, 4) are a light's face, its place in the mesh's axes; `white` says which they are.
    """

    corners: Floats
    ends: NDArray[np.int64]
    normals: Floats
    anchors: Floats
    colours: Floats
    fine: NDArray[np.bool_]
    lamps: Floats


class _Builder:
    """Collect faces; their normals point away from the middle of the part that they belong to."""

    def __init__(self) -> None:
        self.faces: list[Floats] = []
        self.colours: list[Colour] = []
        self.fine: list[bool] = []
        self.normals: list[Floats] = []
        self.lamps: list[list[float]] = []
        self.middle = np.zeros(3)

    def face(self, corners: object, colour: Colour, fine: bool = False) -> None:
        points = np.array(corners, dtype=np.float64)
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        normal /= max(float(np.linalg.norm(normal)), 1e-9)
        if normal @ (points.mean(axis=0) - self.middle) < 0:
            normal = -normal
        self.faces.append(points)
        self.colours.append(colour)
        self.fine.append(fine)
        self.normals.append(normal)

    def across(self, first: tuple[float, float], second: tuple[float, float], half: float,
               colour: Colour, fine: bool = False) -> None:  # fmt: skip
        """Add the face between two points (forward, up) from side to side."""
        (f1, u1), (f2, u2) = first, second
        self.face([(f1, -half, u1), (f1, half, u1), (f2, half, u2), (f2, -half, u2)], colour, fine)

    def sides(self, profile: object, half: float, colour: Colour, fine: bool = False,
              top: float | None = None) -> None:  # fmt: skip
        """Add a profile (forward, up, how far up the cabin 0..1) on both sides."""
        points = np.array(profile, dtype=np.float64)
        lean = points[:, 2] if points.shape[1] == 3 else np.zeros(len(points))
        reach = half + lean * ((top if top is not None else half) - half)
        for side in (-1, 1):
            self.face(np.column_stack([points[:, 0], side * reach, points[:, 1]]), colour, fine)

    def box(  # noqa: PLR0913, PLR0917 - the edges of a box
        self, back: float, front: float, low: float, high: float, half: float,
        colour: Colour,
    ) -> None:  # fmt: skip
        self.middle = np.array([(back + front) / 2, 0.0, (low + high) / 2])
        self.sides([(back, low), (front, low), (front, high), (back, high)], half, colour)
        self.across((back, low), (back, high), half, colour)
        self.across((front, low), (front, high), half, colour)
        self.across((back, high), (front, high), half, colour)

    def wheels(self, places: tuple[float, ...], radius: float, half: float) -> None:
        turn = np.linspace(0, 2 * math.pi, 13)[:-1]
        ring = np.column_stack([np.cos(turn), np.sin(turn)])
        for place in places:
            for size, colour, out in ((1.0, _TYRE, 0.01), (0.6, _RIM, 0.02), (0.2, _TRIM, 0.03)):
                profile = ring * radius * size + (place, radius)
                self.sides(profile, half + out, colour, fine=size < 1)

    def lamp(self, forward: float, side: float, up: float, white: bool) -> None:
        self.lamps.append([forward, side, up, float(white)])

    def mesh(self) -> Mesh:
        return Mesh(
            np.concatenate(self.faces),
            np.cumsum([len(face) for face in self.faces]),
            np.array(self.normals),
            np.array([face.mean(axis=0) for face in self.faces]),
            np.array(self.colours, dtype=np.float64),
            np.array(self.fine),
            np.array(self.lamps, dtype=np.float64).reshape(-1, 4),
        )


def _ends_of_car(build: _Builder, line: _Outline, half: float, scale: tuple[float, float]) -> None:
    """Add lamps, grille, plates and bumpers to front and rear."""
    length, height = scale
    for end, colour, tall in ((0.5, _WHITE_LAMP, line.bonnet), (-0.5, _RED_LAMP, line.tail)):
        place = end * length * 1.003
        build.across((place, 0.17 * height), (place, 0.27 * height), half, _TRIM, fine=True)
        low, high = (tall - 0.13) * height, (tall - 0.03) * height
        for side in (-1, 1):
            edges = (side * half * 0.58, side * half * 0.97)
            build.face([(place, edges[0], low), (place, edges[1], low), (place, edges[1], high),
                        (place, edges[0], high)], colour, fine=True)  # fmt: skip
            build.lamp(place, side * half * 0.78, (low + high) / 2, end > 0)
        wide = half * (0.5 if end > 0 else 0.28)
        inner = _TRIM if end > 0 else _PLATE
        build.across((place, low + 0.02 * height), (place, high - 0.02 * height), wide, inner, True)


def _car(outline: str, body: Body, paint: Colour) -> Mesh:
    """Return a car or van: a lower body, a cabin that leans inwards, and what is fixed to them."""
    height, width, length = body
    line, build, half = _OUTLINES[outline], _Builder(), width / 2
    profile = [(-0.5, 0.18), (-0.5, line.tail - 0.03), (-0.47, line.tail),
               (line.foot[0], line.belt), (line.foot[1], line.belt), (0.44, line.bonnet),
               (0.5, line.bonnet - 0.07), (0.5, 0.18)]  # fmt: skip
    lower = [(forward * length, up * height) for forward, up in profile]
    build.middle = np.array([0.0, 0.0, 0.35 * height])
    for first, second in pairwise(lower):
        build.across(first, second, half, paint)
    build.sides(lower, half, paint)
    _ends_of_car(build, line, half, (length, height))
    shade = (paint[0] * 0.55, paint[1] * 0.55, paint[2] * 0.55)
    sill = [(-0.5, 0.18), (0.5, 0.18), (0.5, 0.25), (-0.5, 0.25)]
    build.sides([(f * length, u * height) for f, u in sill], half * 1.002, shade, fine=True)
    for door in (0.16, -0.1) if outline != "van" else (0.18, -0.05):
        seam = [(door, 0.27), (door + 0.006, 0.27), (door + 0.006, line.belt), (door, line.belt)]
        build.sides([(f * length, u * height) for f, u in seam], half * 1.003, shade, fine=True)
    build.wheels((-0.31 * length, 0.32 * length), min(0.34, 0.22 * height), half)
    _cabin(build, outline, body, paint)
    return build.mesh()


def _cabin(build: _Builder, outline: str, body: Body, paint: Colour) -> None:
    height, width, length = body
    line, half = _OUTLINES[outline], width / 2
    top = line.narrow * width
    foot = [share * length for share in line.foot]
    roof = [share * length for share in line.roof]
    belt = line.belt * height
    build.middle = np.array([(foot[0] + foot[1]) / 2, 0.0, (belt + height) / 2])

    def along(end: int, up: float, inset: float = 0.0) -> tuple[float, float, float]:
        place = foot[end] + up * (roof[end] - foot[end])
        return place + (inset if end == 0 else -inset), belt + up * (height - belt), up

    def screen(end: int, up: tuple[float, float], narrow: float, colour: Colour) -> None:
        corners = []
        for share, sides in ((up[0], (-1, 1)), (up[1], (1, -1))):
            place, level, _ = along(end, share)
            reach = (half + share * (top - half)) * narrow
            corners += [(place, side * reach, level) for side in sides]
        build.face(corners, colour, fine=narrow < 1)

    frame = [along(0, 0), along(1, 0), along(1, 1), along(0, 1)]
    build.sides(frame, half, paint, top=top)
    for end in (0, 1):
        screen(end, (0.0, 1.0), 1.0, paint)
        screen(end, (0.06, 0.9), 0.9, _GLASS)
        screen(end, (0.55, 0.88), 0.86, _GLARE)
    _side_windows(build, outline, body, along)
    build.across((roof[0], height), (roof[1], height), top, paint)


def _side_windows(
    build: _Builder,
    outline: str,
    body: Body,
    along: Callable[[int, float, float], tuple[float, float, float]],
) -> None:
    height, width, length = body
    line, half, top = _OUTLINES[outline], width / 2, _OUTLINES[outline].narrow * width
    belt = line.belt * height
    low, high, gap = 0.08, 0.86, 0.02 * length
    split = 0.4 if outline != "van" else 0.72
    for first, last in ((0.0, split), (split, 1.0)):
        if outline == "van" and first == 0.0 and body[0] > 2.1:
            continue
        window = []
        for up, order in ((low, (first, last)), (high, (last, first))):
            back, front = along(0, up, gap)[0], along(1, up, gap)[0]
            for share in order:
                slack = gap / 2 if share == split else 0.0
                place = back + share * (front - back) + (slack if share == first else -slack)
                window.append((place, belt + up * (height - belt), up))
        build.sides(window, half * 1.003, _GLASS, fine=True, top=top * 1.003)


def _truck(body: Body, paint: Colour, box: Colour) -> list[Mesh]:
    """Return a cab and a load, apart, since either can stand before the other."""
    height, width, length = body
    half, joint = width / 2, 0.5 * length - min(2.1, 0.28 * length)
    load, cab = _Builder(), _Builder()
    load.box(-0.5 * length, joint - 0.15, 0.28 * height, height, half, box)
    band = [(-0.49 * length, 0.34 * height), (joint - 0.2, 0.34 * height),
            (joint - 0.2, 0.5 * height), (-0.49 * length, 0.5 * height)]  # fmt: skip
    load.sides(band, half * 1.002, paint, fine=True)
    rear = -0.5 * length
    for side in (-1, 1):
        edges = [side * half * share for share in (0.7, 0.95)]
        rows = [0.285 * height, 0.325 * height]
        load.face([(rear * 1.002, edges[0], rows[0]), (rear * 1.002, edges[1], rows[0]),
                   (rear * 1.002, edges[1], rows[1]), (rear * 1.002, edges[0], rows[1])],
                  _RED_LAMP, fine=True)  # fmt: skip
        load.lamp(rear, side * half * 0.82, 0.3 * height, False)
    load.across((rear * 1.002, 0.3 * height), (rear * 1.002, 0.96 * height), 0.012, _TRIM, True)
    load.across((rear, 0.13 * height), (rear, 0.28 * height), half * 0.9, _TRIM)
    load.wheels((-0.36 * length, -0.24 * length), 0.5, half * 0.98)
    front, top = 0.5 * length, min(0.86 * height, 2.9)
    cab.box(joint, front, 0.14 * height, top, half * 0.97, paint)
    cab.across((front * 1.002, 0.58 * top), (front * 1.002, 0.92 * top), half * 0.88, _GLASS, True)
    cab.across((front * 1.002, 0.2 * top), (front * 1.002, 0.42 * top), half * 0.6, _TRIM, True)
    for side in (-1, 1):
        edges = [side * half * share for share in (0.66, 0.92)]
        rows = [0.22 * top, 0.32 * top]
        cab.face([(front * 1.003, edges[0], rows[0]), (front * 1.003, edges[1], rows[0]),
                  (front * 1.003, edges[1], rows[1]), (front * 1.003, edges[0], rows[1])],
                 _WHITE_LAMP, fine=True)  # fmt: skip
        cab.lamp(front, side * half * 0.8, 0.27 * top, True)
    window = [(joint + 0.5, 0.58 * top), (front - 0.1, 0.58 * top), (front - 0.1, 0.9 * top),
              (joint + 0.5, 0.9 * top)]  # fmt: skip
    cab.sides(window, half * 0.975, _GLASS, fine=True)
    cab.wheels((front - 1.2,), 0.5, half * 0.98)
    return [load.mesh(), cab.mesh()]


@lru_cache(maxsize=512)
def vehicle(kind: str, body: Body, look: int) -> list[Mesh]:
    """Return the meshes of a vehicle of (height, width, length) m; `look` seeds shape and paint."""
    rng = np.random.default_rng([look, 11])
    paint = _tinted(rng, _PAINTS[rng.choice(len(_PAINTS))])
    if kind in ("Truck", "Tram", "Misc"):
        plain = ((216, 216, 212), (190, 186, 170), (70, 92, 130), (176, 56, 44))
        return _truck(body, paint, _tinted(rng, plain[rng.choice(len(plain))]))
    outline = (
        "van" if kind == "Van" else str(rng.choice(list(_OUTLINES)[:4], p=(0.3, 0.3, 0.2, 0.2)))
    )
    return [_car(outline, body, paint)]


def _tinted(rng: Generator, colour: Colour) -> Colour:
    red, green, blue = np.clip(np.array(colour) + rng.normal(0, 8, 3), 8, 240).tolist()
    return red, green, blue


def draw_mesh(  # noqa: PLR0913, PLR0917 - a mesh, where it stands, who looks, in which light
    mesh: Mesh, place: Floats, heading: float, camera: Camera, light: Light, depth_m: float
) -> Sketch:
    """Return a mesh as seen: faces turned away are left out, the others lit and veiled by air.

    `place` (3,) is the world point below its middle; `heading` turns as KITTI's rotation_y does.
    """
    cos, sin = math.cos(heading), math.sin(heading)
    turn = np.array([[cos, 0.0, -sin], [sin, 0.0, cos], [0.0, 1.0, 0.0]])
    eye = (np.array([camera.x, camera.height, camera.z]) - place) @ turn.T
    sees = ((eye - mesh.anchors) * mesh.normals).sum(axis=1) > 0
    pixels, _ = camera.project(mesh.corners @ turn + place)
    sizes = np.diff(mesh.ends, prepend=0)
    shades = light.shades(mesh.normals @ turn)
    colours = light.veiled(mesh.colours * shades[:, None], depth_m)[sees]
    lamps = np.zeros((len(mesh.lamps), 5))
    if len(lamps) and light.lamps:
        forward = np.sign(mesh.lamps[:, 0]) * (eye[0] - mesh.lamps[:, 0])
        lamps[:, :2] = camera.project(mesh.lamps[:, :3] @ turn + place)[0]
        lamps[:, 2] = np.where(mesh.lamps[:, 3] > 0, 0.55, 0.3) * camera.focal_px / max(depth_m, 1)
        lamps[:, 3] = mesh.lamps[:, 3]
        lamps[:, 4] = light.lamps * np.clip(forward / np.linalg.norm(eye), 0.0, 1.0)
    return Sketch(
        pixels[np.repeat(sees, sizes)],
        np.cumsum(sizes[sees]),
        colours,
        mesh.fine[sees],
        lamps[lamps[:, 4] > 0.05],
    )
