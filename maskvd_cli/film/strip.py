"""The strip below the picture: what runs, on which frame, what it costs, what marks mean.

A narrow film has shorter lines, and its chart below them instead of beside them: no number is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from maskvd_cli.film.legend import Mark, draw_marks, marks_of, rows_of, width_of
from maskvd_cli.film.lettering import (
    CLEAR,
    FAINT,
    GROUND,
    INK,
    RULE,
    Colour,
    font,
    shortened,
    wrapped,
)
from maskvd_cli.film.picture import Layout
from maskvd_cli.film.shots import Shot

_SHARE_OF_CHART = 0.27
_SMALLER = 0.84
# Widths of a letter that the lines beside the chart need.
_NARROW = 52
_LINES_OF_CHART = 3
_PALE_RED: Colour = (255, 120, 120)


@dataclass(frozen=True)
class Caption:
    """What stays the same throughout a film: the point's label, frames, all tokens N.

    `baseline` is what people call the baseline. `annotated`: objects are the dataset's, else they
    are what the baseline detects. `skips` is False for the baseline itself. `remark` is a warning
    in the last line, if any.
    """

    label: str
    baseline: str
    frames: int
    tokens: int
    annotated: bool
    skips: bool = True
    remark: str = ""


def is_narrow(layout: Layout) -> bool:
    """Tell whether there is no room for the chart beside the lines."""
    return layout.width < _NARROW * layout.text


def strip_height(layout: Layout, caption: Caption) -> int:
    """Return the height of the strip in pixels, even."""
    if is_narrow(layout):
        facts_below, rows = (5 if caption.skips else 3), len(_rows(layout, caption))
        # The label and what bright means may take two lines each.
        lines = 2 + facts_below + _LINES_OF_CHART + 2 + rows
    else:
        lines = 5 if caption.skips else 4
    height = lines * _line(layout) + layout.text
    return height + height % 2


def _rows(layout: Layout, caption: Caption) -> list[list[Mark]]:
    if caption.remark:
        return []
    marks = marks_of(caption.baseline, annotated=caption.annotated, skips=caption.skips)
    return rows_of(marks, _small(layout), layout.text, layout.width - 2 * _pad(layout))


def _small(layout: Layout) -> ImageFont.FreeTypeFont:
    return font(max(9, round(layout.text * _SMALLER)))


def _pad(layout: Layout) -> int:
    return layout.text // 2


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
    ratio = f"{100 * cost.mean_gmacs / cost.baseline_gmacs:.0f} %"
    lines.append(
        f"GMACs {cost.gmacs:.2f}, mean {cost.mean_gmacs:.2f} of {caption.baseline}'s "
        f"{cost.baseline_gmacs:.2f} ({ratio})"
    )
    of = "objects" if caption.annotated else f"that {caption.baseline} detects"
    return [*lines, f"missed because of skipping, so far: {shot.missed} of {shot.met} {of}"]


def short_facts(shot: Shot, caption: Caption) -> list[str]:
    """Return the same as `facts` in lines that fit a narrow film."""
    tokens, cost = shot.trace.tokens, shot.cost
    kind = "full" if shot.trace.full else "masked"
    lines = [
        f"frame {shot.position + 1}/{caption.frames}  ·  {kind}",
        f"tokens {tokens:.0f} of {caption.tokens} ({100 * tokens / caption.tokens:.0f} %)",
    ]
    if not caption.skips:
        return [*lines, f"GMACs {cost.gmacs:.2f}"]
    of = "objects" if caption.annotated else f"that {caption.baseline} detects"
    percent = 100 * cost.mean_gmacs / cost.baseline_gmacs
    return [
        *lines,
        f"GMACs {cost.gmacs:.2f}, mean {cost.mean_gmacs:.2f}",
        f"of {caption.baseline}'s {cost.baseline_gmacs:.2f} ({percent:.0f} %)",
        f"missed by skipping: {shot.missed} of {shot.met} {of}",
    ]


def draw_strip(shot: Shot, caption: Caption, layout: Layout) -> Pillow.Image:
    """Return the strip, as wide as the film."""
    strip = Pillow.new("RGB", (layout.width, strip_height(layout, caption)), GROUND)
    draw = ImageDraw.Draw(strip)
    if is_narrow(layout):
        _draw_narrow(draw, shot, caption, layout)
    else:
        _draw_wide(draw, shot, caption, layout)
    return strip


def _draw_wide(draw: ImageDraw.ImageDraw, shot: Shot, caption: Caption, layout: Layout) -> None:
    line, pad = _line(layout), _pad(layout)
    chart = round(layout.width * _SHARE_OF_CHART)
    room = layout.width - chart - 3 * pad
    bold = font(layout.text, bold=True)
    draw.text((pad, pad), shortened(caption.label, room, bold), font=bold, fill=INK)
    below = _draw_lines(draw, _coloured(facts(shot, caption), shot), pad + line, room, layout)
    place = (layout.width - chart - pad, pad, layout.width - pad, below - pad)
    _sparkline(draw, place, shot, caption)
    face = _small(layout)
    if caption.remark:
        text = shortened(caption.remark, layout.width - 2 * pad, face)
        draw.text((pad, below), text, font=face, fill=_PALE_RED)
        return
    marks = marks_of(caption.baseline, annotated=caption.annotated, skips=caption.skips)
    left = layout.width - pad - width_of(marks, face, layout.text)
    draw_marks(draw, (left, below), marks, face, layout.text)
    bright = shortened(shot.kept.legend, left - 2 * pad, face)
    draw.text((pad, below), bright, font=face, fill=FAINT)


def _draw_narrow(draw: ImageDraw.ImageDraw, shot: Shot, caption: Caption, layout: Layout) -> None:
    line, pad, face = _line(layout), _pad(layout), _small(layout)
    room, bold = layout.width - 2 * pad, font(layout.text, bold=True)
    y = pad
    for text in wrapped(caption.label, room, bold, most=2):
        draw.text((pad, y), text, font=bold, fill=INK)
        y += line
    y = _draw_lines(draw, _coloured(short_facts(shot, caption), shot), y, room, layout)
    _sparkline(draw, (pad, y, layout.width - pad, y + _LINES_OF_CHART * line - pad), shot, caption)
    y += _LINES_OF_CHART * line
    colour = _PALE_RED if caption.remark else FAINT
    for text in wrapped(caption.remark or shot.kept.legend, room, face, most=2):
        draw.text((pad, y), text, font=face, fill=colour)
        y += line
    for row in _rows(layout, caption):
        draw_marks(draw, (pad, y), row, face, layout.text)
        y += line


def _coloured(lines: list[str], shot: Shot) -> list[tuple[str, Colour]]:
    """Return the lines with their colours, red where something was missed by skipping."""
    return [
        (text, _PALE_RED if text.startswith("missed") and shot.missed else INK) for text in lines
    ]


def _draw_lines(
    draw: ImageDraw.ImageDraw, lines: list[tuple[str, Colour]], y: int, room: int, layout: Layout
) -> int:
    """Draw lines from `y` on, each cut to `room`; return where the next one would begin."""
    plain = font(layout.text)
    for text, colour in lines:
        draw.text((_pad(layout), y), shortened(text, room, plain), font=plain, fill=colour)
        y += _line(layout)
    return y


def _sparkline(
    draw: ImageDraw.ImageDraw, place: tuple[int, int, int, int], shot: Shot, caption: Caption
) -> None:
    """Draw tokens per frame from 0 to N as one bar a frame, up to this frame."""
    left, top, right, bottom = place
    draw.rectangle((left, top, right, bottom), outline=RULE)
    face = font(max(9, round((bottom - top) * 0.17)))
    title = shortened("tokens per frame", right - left - 8, face)
    draw.text((left + 4, top + 2), title, font=face, fill=FAINT)
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
