"""The strip below the picture: what runs, on which frame, what it costs, what marks mean."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import ImageDraw

from maskvd_cli.film.lettering import (
    CLEAR,
    FAINT,
    GROUND,
    INK,
    MISSED,
    MISSED_BY_BOTH,
    RULE,
    TRUTH,
    Colour,
    font,
    shortened,
)
from maskvd_cli.film.picture import Layout, outline_dashed
from maskvd_cli.film.shots import Shot

_SHARE_OF_CHART = 0.27
_SMALLER = 0.84


@dataclass(frozen=True)
class Caption:
    """What stays the same throughout a film: the point's label, frames, all tokens N.

    `annotated`: objects are the dataset's, else they are what dense detects. `skips` is False for
    dense itself. `remark` is a warning in the last line, if any.
    """

    label: str
    frames: int
    tokens: int
    annotated: bool
    skips: bool = True
    remark: str = ""


def strip_height(layout: Layout, caption: Caption) -> int:
    """Return the height of the strip in pixels, even."""
    lines = 5 if caption.skips else 4
    height = lines * _line(layout) + layout.text
    return height + height % 2


def _line(layout: Layout) -> int:
    return round(layout.text * 1.5)


def facts(shot: Shot, caption: Caption) -> list[str]:
    """Return the strip's lines below the label: frame and tokens, cost, misses so far."""
    tokens, cost = shot.trace.tokens, shot.cost
    kind = "full" if shot.trace.full else "masked"
    share = f"{100 * tokens / caption.tokens:.0f} %"
    lines = [
        f"frame {shot.position + 1}/{caption.frames}  ·  {kind}  ·  "
        f"tokens {tokens:.0f} of {caption.tokens} ({share})"
    ]
    if not caption.skips:
        return [*lines, f"GMACs {cost.gmacs:.2f}"]
    ratio = f"{100 * cost.mean_gmacs / cost.dense_gmacs:.0f} %"
    lines.append(
        f"GMACs {cost.gmacs:.2f}, mean {cost.mean_gmacs:.2f} of dense's "
        f"{cost.dense_gmacs:.2f} ({ratio})"
    )
    of = "objects" if caption.annotated else "that dense detects"
    return [*lines, f"missed because of skipping, so far: {shot.missed} of {shot.met} {of}"]


def draw_strip(shot: Shot, caption: Caption, layout: Layout) -> Pillow.Image:
    """Return the strip, as wide as the film."""
    height, line, pad = strip_height(layout, caption), _line(layout), layout.text // 2
    strip = Pillow.new("RGB", (layout.width, height), GROUND)
    draw = ImageDraw.Draw(strip)
    chart = round(layout.width * _SHARE_OF_CHART)
    room = layout.width - chart - 3 * pad
    plain, bold = font(layout.text), font(layout.text, bold=True)
    draw.text((pad, pad), shortened(caption.label, room, bold), font=bold, fill=INK)
    lines = facts(shot, caption)
    for row, text in enumerate(lines, start=1):
        is_red = row == len(_COUNTED) and shot.missed > 0
        colour = _PALE_RED if is_red else INK if row < len(_COUNTED) else FAINT
        place = (pad, pad + row * line)
        draw.text(place, shortened(text, room, plain), font=plain, fill=colour)
    below = pad + (len(lines) + 1) * line
    _sparkline(
        draw, (layout.width - chart - pad, pad, layout.width - pad, below - pad), shot, caption
    )
    _legend(draw, (pad, below), layout, shot, caption)
    return strip


# Frame, cost, misses.
_COUNTED = range(3)
_PALE_RED: Colour = (255, 120, 120)


def _sparkline(
    draw: ImageDraw.ImageDraw, place: tuple[int, int, int, int], shot: Shot, caption: Caption
) -> None:
    """Draw tokens per frame from 0 to N as one bar a frame, up to this frame."""
    left, top, right, bottom = place
    draw.rectangle((left, top, right, bottom), outline=RULE)
    face = font(max(9, round((bottom - top) * 0.17)))
    draw.text((left + 4, top + 2), "tokens per frame", font=face, fill=FAINT)
    low, high = bottom - 1, top + 4 + round(face.size * 1.3)
    step = (right - left - 2) / caption.frames
    gap = 1 if step >= 4 else 0
    for position, tokens in enumerate(shot.tokens_so_far):
        start, end = left + 1 + position * step, left + 1 + (position + 1) * step - gap
        reach = low - (low - high) * min(tokens / caption.tokens, 1.0)
        colour = INK if position == shot.position else CLEAR
        draw.rectangle(
            (round(start), round(reach), max(round(start), round(end) - 1), low), fill=colour
        )


def _legend(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], layout: Layout, shot: Shot, caption: Caption
) -> None:
    """Explain the marks in one line, or what to be careful about."""
    face = font(max(9, round(layout.text * _SMALLER)))
    x, y = at
    if caption.remark:
        text = shortened(caption.remark, layout.width - 2 * x, face)
        draw.text(at, text, font=face, fill=_PALE_RED)
        return
    draw.text(at, shot.kept.legend, font=face, fill=FAINT)
    entries: list[tuple[str, Colour, bool]] = []
    if caption.annotated or caption.skips:
        entries.append(("object" if caption.annotated else "dense's", TRUTH, False))
    if caption.skips:
        entries.append(("missed, dense finds it", MISSED, False))
        if caption.annotated:
            entries.append(("missed by both", MISSED_BY_BOTH, True))
    elif caption.annotated:
        entries.append(("missed", MISSED_BY_BOTH, True))
    sample = round(face.size * 1.1)
    x = layout.width - at[0]
    for text, colour, is_dashed in reversed(entries):
        x -= round(face.getlength(text))
        draw.text((x, y), text, font=face, fill=FAINT)
        x -= sample + 4
        middle = y + round(face.size * 0.62)
        box = (x, middle - sample // 3, x + sample - 1, middle + sample // 3)
        if is_dashed:
            outline_dashed(draw, box, colour)
        else:
            draw.rectangle(box, outline=colour, width=2 if colour == MISSED else 1)
        x -= layout.text
