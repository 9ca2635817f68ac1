"""Pedestrians who walk and cyclists who pedal: limbs as tapered capsules on moving joints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from maskvd_cli.data.rendering.camera import NEAR_M, Camera, Floats
from maskvd_cli.data.rendering.light import Colour, Light
from maskvd_cli.data.rendering.sketch import Sketch

_SKINS: tuple[Colour, ...] = ((236, 196, 168), (216, 168, 134), (172, 120, 86), (112, 74, 52))
_HAIRS: tuple[Colour, ...] = ((34, 28, 26), (78, 52, 34), (150, 112, 64), (176, 172, 168))
_TOPS: tuple[Colour, ...] = (
    (188, 34, 38), (36, 70, 150), (234, 232, 226), (30, 32, 38), (224, 170, 40), (54, 120, 74),
    (130, 60, 130), (226, 116, 50), (120, 146, 176), (96, 96, 100), (210, 140, 160),
)  # fmt: skip
_BOTTOMS: tuple[Colour, ...] = (
    (38, 48, 78), (26, 26, 30), (104, 92, 74), (150, 138, 116), (70, 74, 80), (60, 40, 36),
)  # fmt: skip
_SHOE, _METAL, _RUBBER = (34, 30, 30), (120, 122, 128), (22, 22, 24)
# The rows of a walker's limbs that are its right arm: upper arm, forearm, hand.
RIGHT_ARM = slice(9, 12)
_TURN = np.linspace(0, 2 * math.pi, 11)[:-1]
_CAP = np.column_stack([np.cos(_TURN), np.sin(_TURN)])
_RING = np.linspace(0, 2 * math.pi, 15)


@dataclass(frozen=True)
class Appearance:
    """What a person wears and carries, and how they step."""

    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    bag: Colour | None
    skirt: bool
    helmet: Colour | None
    stout: float
    pace: float
    start: float
    bike: Colour


@lru_cache(maxsize=1024)
def look_of(seed: int) -> Appearance:
    """Return the look that a seed stands for."""
    rng = np.random.default_rng([seed, 13])

    def pick(colours: tuple[Colour, ...]) -> Colour:
        tinted = np.array(colours[rng.choice(len(colours))]) + rng.normal(0, 10, 3)
        red, green, blue = np.clip(tinted, 10, 245).tolist()
        return red, green, blue

    return Appearance(
        pick(_SKINS),
        pick(_HAIRS),
        pick(_TOPS),
        pick(_BOTTOMS),
        pick(_TOPS) if rng.uniform() < 0.35 else None,
        bool(rng.uniform() < 0.2),
        pick(_TOPS) if rng.uniform() < 0.7 else None,
        rng.uniform(0.9, 1.25),
        rng.uniform(0.85, 1.1),
        rng.uniform(0.0, 2 * math.pi),
        pick(_TOPS),
    )


class _Limbs:
    """Capsules: two ends (forward, left, up), two radii (m), a colour."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, ...]] = []

    def add(
        self, first: Floats, second: Floats, radii: tuple[float, float], colour: Colour
    ) -> None:
        self.rows.append((*first.tolist(), *second.tolist(), *radii, *colour))

    def array(self) -> Floats:
        return np.array(self.rows)


def _reach(start: Floats, end: Floats, upper: float, lower: float, bend: float) -> Floats:
    """Return where knee or elbow is, `bend` +1 forward or -1 back, for two bones."""
    across = end - start
    distance = min(max(float(np.linalg.norm(across)), 1e-6), upper + lower - 1e-6)
    along = (distance**2 + upper**2 - lower**2) / (2 * distance)
    out = math.sqrt(max(upper**2 - along**2, 0.0))
    unit = across / distance
    normal = np.array([-unit[2], 0.0, unit[0]])
    return start + unit * along + normal * out * (bend if normal[0] >= 0 else -bend)


def _point(forward: float, left: float, up: float) -> Floats:
    return np.array([forward, left, up])


def _head(limbs: _Limbs, neck: Floats, look: Appearance, size: float, helmet: bool) -> None:
    crown = neck + _point(0.025 * size, 0.0, 0.088 * size)
    limbs.add(neck - (0, 0, 0.02 * size), crown, (0.034 * size, 0.034 * size), look.skin)
    cover = look.helmet if helmet and look.helmet else look.hair
    limbs.add(
        crown, crown + _point(-0.018 * size, 0, 0.016 * size), (0.058 * size, 0.06 * size), cover
    )
    limbs.add(crown + _point(0.02 * size, 0, -0.022 * size), crown + _point(0.018 * size, 0, 0.0),
              (0.042 * size, 0.048 * size), look.skin)  # fmt: skip


def _arm(  # noqa: PLR0913, PLR0917 - whose arm, where it hangs, how far it swings
    limbs: _Limbs, look: Appearance, height: float, chest: Floats, side: int, arm: float
) -> None:
    thick = height * look.stout
    shoulder = chest + _point(0, side * 0.115 * height, 0.02 * height)
    elbow = shoulder + 0.17 * height * _point(math.sin(arm), side * 0.12, -math.cos(arm))
    fore = arm + 0.3
    hand = elbow + 0.15 * height * _point(math.sin(fore), 0, -math.cos(fore))
    limbs.add(shoulder, elbow, (0.032 * thick, 0.026 * thick), look.top)
    limbs.add(elbow, hand, (0.026 * thick, 0.018 * thick), look.top)
    limbs.add(
        hand, hand + _point(0.01, 0, -0.03 * height), (0.02 * height, 0.016 * height), look.skin
    )


def _walker(look: Appearance, height: float, phase: float, still: bool) -> Floats:
    """Return the limbs of somebody walking; `phase` is that of the step, in radians."""
    limbs, swing = _Limbs(), 0.0 if still else 0.46
    hip_up, wide = 0.515 * height, 0.055 * height * look.stout
    bob = 0.012 * height * math.cos(2 * phase)
    hips, chest = _point(0, 0, hip_up + bob), _point(0.012 * height, 0, 0.78 * height + bob)
    thick = height * look.stout
    for side, shift in ((1, 0.0), (-1, math.pi)):
        turn = phase + shift
        thigh, bend = swing * math.sin(turn), 0.0 if still else 0.5 * max(0.0, math.cos(turn)) ** 2
        hip = hips + _point(0, side * wide * 0.8, 0)
        knee = hip + 0.25 * height * _point(math.sin(thigh), 0, -math.cos(thigh))
        shin = thigh - bend - (0.0 if still else 0.12)
        foot = knee + 0.235 * height * _point(math.sin(shin), 0, -math.cos(shin))
        leg = look.skin if look.skirt else look.bottom
        limbs.add(hip, knee, (0.052 * thick, 0.038 * thick), leg)
        limbs.add(knee, foot, (0.037 * thick, 0.025 * thick), leg)
        limbs.add(foot, foot + _point(0.075 * height, 0, -0.006 * height),
                  (0.024 * height, 0.02 * height), _SHOE)  # fmt: skip
        _arm(limbs, look, height, chest, side, -0.8 * swing * math.sin(turn))
    for side in (-1, 1):
        limbs.add(hips + _point(0, side * 0.6 * wide, 0.02 * height),
                  chest + _point(0, side * 0.062 * height, 0), (0.062 * thick, 0.062 * thick),
                  look.top)  # fmt: skip
    if look.skirt:
        limbs.add(hips, hips - (0, 0, 0.14 * height), (0.085 * thick, 0.12 * thick), look.bottom)
    if look.bag:
        limbs.add(chest - (0.1 * height, 0, 0.03 * height),
                  chest - (0.1 * height, 0, 0.17 * height), (0.07 * height, 0.075 * height),
                  look.bag)  # fmt: skip
    _head(limbs, chest + _point(0.01 * height, 0, 0.07 * height), look, height, False)
    return limbs.array()


def _sitter(look: Appearance, height: float) -> Floats:
    """Return the limbs of somebody seated, `height` being that of the crown above the ground."""
    limbs, size = _Limbs(), height / 0.75
    hips, chest = _point(-0.1 * size, 0, 0.27 * size), _point(-0.08 * size, 0, 0.53 * size)
    for side in (1, -1):
        hip = hips + _point(0, side * 0.05 * size, 0)
        knee = hip + _point(0.24 * size, 0, 0.01 * size)
        limbs.add(hip, knee, (0.052 * size, 0.04 * size), look.bottom)
        limbs.add(knee, knee - (0, 0, 0.24 * size), (0.038 * size, 0.026 * size), look.bottom)
        shoulder = chest + _point(0, side * 0.115 * size, 0)
        hand = hip + _point(0.16 * size, 0, 0.05 * size)
        limbs.add(shoulder, hand, (0.034 * size, 0.02 * size), look.top)
        low, high = side * 0.04 * size, side * 0.06 * size
        limbs.add(hips + _point(0, low, 0.02 * size), chest + _point(0, high, 0),
                  (0.065 * size, 0.062 * size), look.top)  # fmt: skip
    _head(limbs, chest + _point(0, 0, 0.07 * size), look, size, False)
    return limbs.array()


def _cyclist(look: Appearance, body: tuple[float, float, float], phase: float) -> Floats:
    """Return the limbs of a rider and the tubes and tyres of the bicycle."""
    height, _, length = body
    size, limbs = height / 1.02, _Limbs()
    radius = min(0.34, 0.2 * length)
    rear, front = _point(-length / 2 + radius, 0, radius), _point(length / 2 - radius, 0, radius)
    saddle, bars = _point(-0.2, 0, 0.52 * size), _point(0.36 * length - 0.15, 0, 0.58 * size)
    crank, neck = _point(-0.02, 0, 0.3), _point(0.3 * length - 0.1, 0, 0.48 * size)
    for hub in (rear, front):
        rim = hub + radius * np.column_stack([np.cos(_RING), 0 * _RING, np.sin(_RING)])
        for first, second in pairwise(rim):
            limbs.add(first, second, (0.026, 0.026), _RUBBER)
        for turn in (phase, phase + 1.05, phase + 2.1):
            arm = radius * _point(math.cos(turn), 0, -math.sin(turn))
            limbs.add(hub - arm, hub + arm, (0.006, 0.006), _METAL)
    for first, second in ((rear, crank), (rear, saddle), (crank, saddle), (crank, neck),
                          (saddle, neck), (front, bars)):  # fmt: skip
        limbs.add(first, second, (0.022, 0.022), look.bike)
    hips, chest = saddle + _point(0.0, 0, 0.05 * size), _point(0.12, 0, 0.79 * size)
    for side, shift in ((1, 0.0), (-1, math.pi)):
        turn = phase + shift
        pedal = crank + 0.16 * _point(math.cos(turn), 0, -math.sin(turn)) + (0, side * 0.09, 0.05)
        hip = hips + _point(0, side * 0.08, 0)
        bone = 0.265 * size
        knee = _reach(hip, pedal, bone, bone, 1.0)
        limbs.add(hip, knee, (0.055 * size, 0.042 * size), look.bottom)
        limbs.add(knee, pedal, (0.04 * size, 0.026 * size), look.bottom)
        limbs.add(pedal, pedal + _point(0.12, 0, -0.01), (0.034, 0.03), _SHOE)
        grip, shoulder = bars + _point(0, side * 0.2, 0.02), chest + _point(0, side * 0.17, 0)
        elbow = _reach(shoulder, grip, 0.17 * size, 0.17 * size, -1.0)
        limbs.add(shoulder, elbow, (0.036 * size, 0.028 * size), look.top)
        limbs.add(elbow, grip, (0.028 * size, 0.02 * size), look.skin)
        limbs.add(hips + _point(0, side * 0.06, 0), chest + _point(0, side * 0.1, 0),
                  (0.065 * size, 0.07 * size), look.top)  # fmt: skip
    limbs.add(bars - (0, 0.24, 0), bars + _point(0, 0.24, 0), (0.018, 0.018), _METAL)
    if look.bag:
        limbs.add(chest - (0.12, 0, -0.02), hips + _point(0.0, 0, 0.2), (0.1, 0.11), look.bag)
    _head(limbs, chest + _point(0.05, 0, 0.06 * size), look, 0.95 * size, True)
    return limbs.array()


def figure(kind: str, body: tuple[float, float, float], look: Appearance, phase: float, *,
           still: bool) -> Floats:  # fmt: skip
    """Return capsules (n, 11): ends (forward, left, up), radii (m), RGB. `phase` in radians."""
    if kind == "Cyclist":
        return _cyclist(look, body, phase)
    if kind == "Person_sitting":
        return _sitter(look, body[0])
    return _walker(look, body[0], phase, still)


def draw_limbs(  # noqa: PLR0913, PLR0917 - limbs, where they stand, who looks, in which light
    limbs: Floats, place: Floats, heading: float, camera: Camera, light: Light, depth_m: float
) -> Sketch:
    """Return capsules as seen, the farthest first; near ones get a lit flank."""
    cos, sin = math.cos(heading), math.sin(heading)
    turn = np.array([[cos, 0.0, -sin], [sin, 0.0, cos], [0.0, 1.0, 0.0]])
    ends = limbs[:, :6].reshape(-1, 3) @ turn + place
    pixels, depth = camera.project(ends)
    scale = camera.focal_px / np.maximum(depth, NEAR_M)
    radii = limbs[:, 6:8] * scale.reshape(-1, 2)
    order = np.argsort(-depth.reshape(-1, 2).mean(axis=1), kind="stable")
    pixels, radii = pixels.reshape(-1, 2, 2)[order], radii[order]
    side = float(np.clip(camera.to_camera(light.sun[None] * 1e6)[0, 0] / 1e6, -1.0, 1.0))
    towards = light.ambient + light.direct * (0.35 - 0.25 * light.sun @ _ahead(camera))
    colours = limbs[order, 8:11]
    dark = _capsules(pixels, radii)
    if depth_m > 28.0:
        shown, tints = dark, light.veiled(colours * towards, depth_m)
        fine = np.zeros(len(shown), dtype=np.bool_)
    else:
        shift = np.array([0.3 * side, -0.12]) * radii[..., None]
        lit = _capsules(pixels + shift, radii * 0.66)
        shown = np.stack([dark, lit], axis=1).reshape(-1, dark.shape[1], 2)
        pair = np.stack([colours * towards * 0.84, colours * (towards + 0.22 * light.direct)], 1)
        tints = light.veiled(pair.reshape(-1, 3), depth_m)
        fine = np.tile([False, True], len(dark))
    count = shown.shape[1]
    return Sketch(shown.reshape(-1, 2), count * np.arange(1, len(shown) + 1), tints, fine)


def _ahead(camera: Camera) -> Floats:
    return np.array([math.sin(camera.yaw), 0.0, math.cos(camera.yaw)])


def _capsules(ends: Floats, radii: Floats) -> Floats:
    """Return the outlines (n, corners, 2) of capsules with ends (n, 2, 2) and radii (n, 2)."""
    along = ends[:, 1] - ends[:, 0]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    unit = along / length
    # A corner of the cap belongs to the end that it points away from.
    forward = np.stack([unit, np.column_stack([-unit[:, 1], unit[:, 0]])], axis=1)
    corners = np.einsum("kc,ncd->nkd", _CAP, forward)
    far = (_CAP[:, 0] > 0)[None, :, None]
    reach = np.where(far, radii[:, 1, None, None], radii[:, 0, None, None])
    base = np.where(far, ends[:, 1][:, None], ends[:, 0][:, None])
    return base + corners * reach
