"""The line below a strip's facts: what bright tokens and the marks in the picture mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw, ImageFont

from maskvd_cli.film.lettering import FAINT, MISSED, MISSED_BY_BOTH, TRUTH, Colour
from maskvd_cli.film.picture import outline_dashed

Face = ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Mark:
    """A kind of box in the picture and what it stands for."""

    text: str
    colour: Colour
    is_dashed: bool = False


def marks_of(baseline: str, *, annotated: bool, skips: bool) -> list[Mark]:
    """Return the marks of a film; see `Caption` for the arguments."""
    marks: list[Mark] = []
    if annotated or skips:
        marks.append(Mark("object" if annotated else f"{baseline}'s", TRUTH))
    if skips:
        marks.append(Mark(f"missed, {baseline} finds it", MISSED))
        if annotated:
            marks.append(Mark("missed by both", MISSED_BY_BOTH, is_dashed=True))
    elif annotated:
        marks.append(Mark("missed", MISSED_BY_BOTH, is_dashed=True))
    return marks


def width_of(marks: Sequence[Mark], face: Face, gap: int) -> int:
    """Return the pixels that the marks take in one row."""
    return sum(_width(mark, face) for mark in marks) + gap * max(len(marks) - 1, 0)


def rows_of(marks: Sequence[Mark], face: Face, gap: int, room: int) -> list[list[Mark]]:
    """Return the marks in as few rows of at most `room` pixels as their order allows."""
    rows: list[list[Mark]] = []
    for mark in marks:
        if rows and width_of([*rows[-1], mark], face, gap) <= room:
            rows[-1].append(mark)
        else:
            rows.append([mark])
    return rows


def draw_marks(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], marks: Sequence[Mark], face: Face, gap: int
) -> None:
    """Draw a row of marks from `at`, their left upper corner."""
    x, y = at
    sample = _sample(face)
    middle = y + round(face.size * 0.62)
    for mark in marks:
        box = (x, middle - sample // 3, x + sample - 1, middle + sample // 3)
        if mark.is_dashed:
            outline_dashed(draw, box, mark.colour)
        else:
            draw.rectangle(box, outline=mark.colour, width=2 if mark.colour == MISSED else 1)
        draw.text((x + sample + 4, y), mark.text, font=face, fill=FAINT)
        x += _width(mark, face) + gap


def _sample(face: Face) -> int:
    return round(face.size * 1.1)


def _width(mark: Mark, face: Face) -> int:
    return _sample(face) + 4 + round(face.getlength(mark.text))
