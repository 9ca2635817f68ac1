"""The picture of one shot: tokens dimmed that were not recomputed, then objects and detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from maskvd_cli.core.placement import Placement
from maskvd_cli.core.size import Size
from maskvd_cli.film.footage import Image
from maskvd_cli.film.lettering import MISSED, MISSED_BY_BOTH, TRUTH, Colour, class_colour, lettered
from maskvd_cli.film.misses import Fate
from maskvd_cli.film.shots import Shot

Box = tuple[float, float, float, float]

# What is left of the light and of the colour of a token that no layer recomputes.
_LIGHT, _COLOUR = 0.42, 0.25
# Tokens that few layers recompute would hardly differ from those that none does.
_GAMMA = 0.6


@dataclass(frozen=True)
class Layout:
    """Sizes of a film in pixels, all even: the picture in the middle above the strip."""

    picture: Size
    width: int
    text: int

    @classmethod
    def of(cls, native: Size, width: int | None = None) -> Layout:
        """Fit frames of a native size; by default as they are, between 640 and 1280 wide."""
        wanted = width or min(max(native.cols, 640), 1280)
        scale = min(wanted / native.cols, 1.5 * wanted / native.rows)
        picture = Size(_even(native.rows * scale), _even(native.cols * scale))
        return cls(picture, _even(wanted), max(11, round(wanted / 57)))


def _even(pixels: float) -> int:
    return max(2, 2 * round(pixels / 2))


def dimmed(
    image: Image, share: NDArray[np.float64], placed: Placement, patch: int
) -> NDArray[np.uint8]:
    """Return the picture (rows, cols, 3) with each token as bright as its share in 0..1.

    `share` (rows, cols) of the input's token grid; what lies on padding does not show.
    """
    rows, cols = image.shape[:2]
    row = ((np.arange(rows) + 0.5) * placed.content.rows / rows).astype(np.int64) // patch
    col = ((np.arange(cols) + 0.5) * placed.content.cols / cols).astype(np.int64) // patch
    clear = (share**_GAMMA)[row][:, col][..., None].astype(np.float32)
    colours = image.astype(np.float32)
    grey = colours.mean(axis=2, keepdims=True)
    dark = _LIGHT * (_COLOUR * colours + (1 - _COLOUR) * grey)
    return np.rint(clear * colours + (1 - clear) * dark).astype(np.uint8)


def draw_picture(
    shot: Shot, layout: Layout, placed: Placement, patch: int, classes: Sequence[str]
) -> Pillow.Image:
    """Return the frame with its tokens, objects and detections, of the layout's picture size."""
    rows, cols = layout.picture
    native = Size(*shot.image.shape[:2])
    smaller = rows < native.rows
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(shot.image, (cols, rows), interpolation=way), dtype=np.uint8)
    picture = Pillow.fromarray(dimmed(scaled, shot.kept.share, placed, patch))
    pen = _Pen(ImageDraw.Draw(picture), layout, (cols / native.cols, rows / native.rows))
    judged = list(zip(shot.objects.xyxy.tolist(), shot.fates, strict=True))
    for box, fate in judged:
        if fate is Fate.FOUND:
            pen.frame(box, TRUTH, 1)
        elif fate is Fate.BOTH:
            pen.dashed(box, MISSED_BY_BOTH)
    found = shot.found
    rows_of = zip(found.xyxy.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True)
    tags: list[tuple[Box, str, Colour]] = []
    for box, number, score in rows_of:
        pen.frame(box, class_colour(number), pen.line)
        tags.append((box, f"{classes[number]} {score:.2f}", class_colour(number)))
    for (box, fate), number in zip(judged, shot.objects.classes.tolist(), strict=True):
        if fate is Fate.MASKED:
            pen.frame(box, MISSED, pen.line + 1)
            tags.insert(0, (box, f"missed {classes[number]}", MISSED))
    for box, text, colour in tags:
        pen.tag(box, text, colour)
    return picture


class _Pen:
    """Draws boxes of native pixels on the scaled picture; `scale` is (x, y)."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, layout: Layout, scale: tuple[float, float]
    ) -> None:
        self._draw, self._scale = draw, scale
        self._width, self._height = layout.picture.cols, layout.picture.rows
        self._text = max(9, round(layout.text * 0.7))
        self._taken: list[Box] = []
        self.line = max(2, round(layout.width / 500))

    def _scaled(self, box: Sequence[float]) -> tuple[int, int, int, int]:
        x, y = self._scale
        x1, y1, x2, y2 = box[0] * x, box[1] * y, box[2] * x, box[3] * y
        left, top = min(max(round(x1), 0), self._width - 2), min(max(round(y1), 0),
                                                                 self._height - 2)  # fmt: skip
        right = min(max(round(x2), left + 1), self._width - 1)
        return left, top, right, min(max(round(y2), top + 1), self._height - 1)

    def frame(self, box: Sequence[float], colour: Colour, line: int) -> None:
        """Outline a box."""
        self._draw.rectangle(self._scaled(box), outline=colour, width=line)

    def dashed(self, box: Sequence[float], colour: Colour) -> None:
        """Outline a box with a thin dashed line."""
        outline_dashed(self._draw, self._scaled(box), colour)

    def tag(self, box: Sequence[float], text: str, colour: Colour) -> None:
        """Write on a colour above a box, below or inside it; not at all over another tag."""
        left, top, _, bottom = self._scaled(box)
        text, face = lettered(text, self._text, bold=True)
        _, high, wide, low = face.getbbox(text)
        width, height = round(wide) + 5, round(low - high) + 5
        x = max(0, min(left, self._width - width))
        for y in (top - height, bottom + 1, top):
            place = (x, y, x + width, y + height)
            if y < 0 or y + height > self._height or any(_meet(place, o) for o in self._taken):
                continue
            self._taken.append(place)
            self._draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
            ink = (255, 255, 255) if colour == MISSED else (16, 18, 22)
            self._draw.text((x + 2, y + 2 - high), text, font=face, fill=ink)
            return


def outline_dashed(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: Colour
) -> None:
    """Outline a box of pixels with a dashed line, 1 pixel thin."""
    left, top, right, bottom = box
    for low, high in _dashes(left, right):
        draw.line((low, top, high, top), fill=colour)
        draw.line((low, bottom, high, bottom), fill=colour)
    for low, high in _dashes(top, bottom):
        draw.line((left, low, left, high), fill=colour)
        draw.line((right, low, right, high), fill=colour)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _dashes(start: int, end: int, dash: int = 4, gap: int = 3) -> Iterator[tuple[int, int]]:
    for low in range(start, end + 1, dash + gap):
        yield low, min(low + dash - 1, end)
