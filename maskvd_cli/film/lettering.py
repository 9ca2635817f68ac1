"""Fonts and colours of a film."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from maskvd_cli.core.shown import shown

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
_WIDE_FONTS = ("cjk", "noto", "wqy", "unifont", "fallback", "ipa", "nanum", "han")
_MOST_FONTS = 200
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
    return ImageFont.truetype(str(_dejavu(bold=bold)), size)


def lettered(text: str, size: int, *, bold: bool = False) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return a text with the font to write it in.

    That is DejaVu Sans where it has all characters, else a font of this system that has, else
    DejaVu Sans with U+XXXX in place of each character that it lacks.
    """
    text = shown(text)
    if not missing(text):
        return text, font(size, bold=bold)
    other = _font_with(frozenset(text))
    if other is not None:
        return text, ImageFont.truetype(str(other), size)
    return escaped(text), font(size, bold=bold)


def escaped(text: str) -> str:
    """Return the text with `U+XXXX` in place of each character that DejaVu Sans lacks."""
    lacking = missing(text)
    spelled = "".join(f"U+{ord(each):04X}\0" if each in lacking else each for each in text)
    # A space between two of them alone.
    return spelled.replace("\0U+", " U+").replace("\0", "")


def missing(text: str) -> set[str]:
    """Return the characters that DejaVu Sans lacks."""
    return {each for each in text if ord(each) not in _characters(_dejavu(bold=False))}


def unwritable(texts: Iterable[str]) -> list[str]:
    """Return the texts that no font here has all characters of."""
    return [text for text in texts if missing(text) and _font_with(frozenset(text)) is None]


@cache
def _font_with(characters: frozenset[str]) -> Path | None:
    wanted = {ord(each) for each in characters}
    return next((path for path in _system_fonts() if wanted <= _characters(path)), None)


@cache
def _system_fonts() -> tuple[Path, ...]:
    paths = sorted(Path(path) for path in findSystemFonts())
    # Those that are made for East Asian texts first.
    paths.sort(key=lambda path: not any(hint in path.name.lower() for hint in _WIDE_FONTS))
    return tuple(paths[:_MOST_FONTS])


@cache
def _characters(path: Path) -> frozenset[int]:
    try:
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError):  # a font that cannot be read has no characters
        return frozenset()


def _dejavu(*, bold: bool) -> Path:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(str(files("matplotlib"))) / "mpl-data" / "fonts" / "ttf" / name


def wrapped(text: str, room: float, face: ImageFont.FreeTypeFont, *, most: int) -> list[str]:
    """Return the text in at most so many lines of `room` pixels, the last one cut if it must be."""
    lines: list[str] = []
    words = shown(" ".join(text.split())).split()
    while words and len(lines) < most - 1:
        count = len(words)
        while count > 1 and face.getlength(" ".join(words[:count])) > room:
            count -= 1
        lines.append(shortened(" ".join(words[:count]), room, face))
        words = words[count:]
    return [*lines, shortened(" ".join(words), room, face)] if words else lines


def shortened(text: str, room: float, face: ImageFont.FreeTypeFont) -> str:
    """Return the text, cut with an ellipsis where it is wider than `room` pixels."""
    text = shown(text)
    if face.getlength(text) <= room:
        return text
    while text and face.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text.rstrip()}…"
