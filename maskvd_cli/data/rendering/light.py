"""Daylight of a clip: where the sun stands, what colour things take, how it changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from maskvd_cli.data.rendering.camera import Floats

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """The light of one frame. Colours are RGB in 0..255, factors multiply what is drawn.

    `sun` (3,) points to the sun (x, height, z), `direct` and `ambient` are its light and the
    sky's, `grade` multiplies the finished image by channel, `lamps` is 0 by day and 1 at night.
    """

    sun: Floats
    direct: float
    ambient: float
    grade: Colour
    zenith: Colour
    haze: Colour
    haze_m: float
    lamps: float

    def shades(self, normals: Floats) -> Floats:
        """Return the brightness (n,) of surfaces with unit normals (n, 3)."""
        facing = np.maximum(normals @ self.sun, 0.0)
        return self.ambient * (0.8 + 0.2 * normals[:, 1]) + self.direct * facing

    def veiled(self, colours: Floats, depth_m: float) -> Floats:
        """Return colours (n, 3) as they look through `depth_m` of air."""
        share = math.exp(-max(depth_m, 0.0) / self.haze_m)
        return np.clip(colours * share + np.array(self.haze) * (1.0 - share), 0.0, 255.0)


class _Weather(NamedTuple):
    elevation_deg: tuple[float, float]
    direct: float
    ambient: float
    grade: Colour
    zenith: Colour
    haze: Colour
    haze_m: float
    lamps: float


_WEATHERS = (
    _Weather((35, 60), 0.66, 0.68, (1.0, 1.0, 1.0), (86, 138, 205), (205, 217, 228), 420.0, 0.0),
    _Weather((35, 55), 0.12, 1.0, (0.95, 0.97, 1.0), (150, 162, 176), (196, 203, 209), 210.0, 0.0),
    _Weather((14, 24), 0.72, 0.66, (1.06, 0.97, 0.84), (98, 134, 188), (238, 208, 170), 300.0, 0.0),
    _Weather((8, 14), 0.14, 0.78, (0.60, 0.58, 0.72), (72, 86, 140), (236, 164, 132), 230.0, 1.0),
)  # fmt: skip


@dataclass(frozen=True)
class Daylight:
    """The light of a clip, from which `at` tells that of any moment."""

    first: Light
    swing: float
    period_s: float
    phase: float
    clouds: float

    def at(self, time_s: float) -> Light:
        """Return the light at a moment: brightness swings, and clouds come and go."""
        turn = 2 * math.pi * time_s / self.period_s + self.phase
        gain = 1.0 + self.swing * math.sin(turn)
        cover = 1.0 - self.clouds * (0.5 + 0.5 * math.sin(1.7 * turn + 1.0)) ** 2
        red, green, blue = self.first.grade
        return replace(
            self.first,
            direct=self.first.direct * cover,
            grade=(red * gain, green * gain, blue * gain),
        )


def daylight(rng: Generator) -> Daylight:
    """Draw the light of a clip: sun, overcast, low sun or dusk."""
    weather = _WEATHERS[rng.choice(len(_WEATHERS), p=(0.4, 0.2, 0.22, 0.18))]
    elevation = math.radians(rng.uniform(*weather.elevation_deg))
    azimuth = rng.uniform(-math.pi, math.pi)
    sun = np.array(
        [
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        ]
    )
    first = Light(sun, *weather[1:])
    return Daylight(
        first,
        swing=rng.uniform(0.03, 0.14),
        period_s=rng.uniform(4.0, 12.0),
        phase=rng.uniform(0.0, 2 * math.pi),
        clouds=rng.choice((0.0, 0.7)) * weather.direct,
    )
