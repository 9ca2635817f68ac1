"""Fonts and colours of a film."""

from __future__ import annotations

import colorsys
from functools import cache
from importlib.resources import files
from pathlib import Path

from PIL import ImageFont

Colour = tuple[int, int, int]

INK: Colour = (236, 239, 244)
FAINT: Colour = (150, 158, 170)
GROUND: Colour = (22, 25, 31)
RULE: Colour = (62, 68, 80)
TRUTH: Colour = (255, 255, 255)
MISSED: Colour = (255, 45, 45)
MISSED_BY_BOTH: Colour = (176, 182, 192)
CLEAR: Colour = (102, 194, 255)
# Of classes, the first ones; none is near the red of misses or the white of objects.
_CLASSES: tuple[Colour, ...] = (
    (255, 193, 46), (64, 196, 255), (105, 240, 140), (214, 140, 255), (255, 145, 215),
    (190, 235, 70), (120, 150, 255), (60, 225, 205),
)  # fmt: skip
_GOLDEN = 0.381966
_HUES = (0.09, 0.92)


def class_colour(number: int) -> Colour:
    """Return the colour of a class; the same for the same number always."""
    if number < len(_CLASSES):
        return _CLASSES[number]
    low, high = _HUES
    hue = low + (high - low) * (number * _GOLDEN % 1.0)
    red, green, blue = colorsys.hls_to_rgb(hue, 0.66, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib, at a height in pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    folder = Path(str(files("matplotlib"))) / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / name), size)


def shortened(text: str, room: float, face: ImageFont.FreeTypeFont) -> str:
    """Return the text, cut with an ellipsis where it is wider than `room` pixels."""
    if face.getlength(text) <= room:
        return text
    while text and face.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text.rstrip()}…"
