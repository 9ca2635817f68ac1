"""Token grids side by side as SVG: plain text, the same bytes for the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from maskvd_cli.core.size import Size

CELL, GAP, TITLE, MARGIN = 9, 14, 16, 8
_LETTER = 6.1
COLOURS = {
    "full": "#2f5d9e",
    "static": "#6fa3dc",
    "dynamic": "#e0862a",
    "both": "#9c4f8f",
    "chosen": "#2a9d73",
    "drift": "#c94f4f",
    "kept": "#eceff1",
    "zero": "#ffffff",
}
_TEXT = 'font-family="system-ui, sans-serif" font-size="11" fill="#1f2933"'


@dataclass(frozen=True)
class Panel:
    """One frame, or one frame in some blocks.

    `cells`: a name of COLOURS for every token, in raster order; `boxes`: rows and columns of
    tokens (x1, y1, x2, y2), the second item of each is True for a box of the frame before.
    """

    title: str
    cells: Sequence[str]
    boxes: Sequence[tuple[tuple[float, float, float, float], bool]] = field(default=())


def drawing(
    about: str, grid: Size, panels: Sequence[Panel], legend: Sequence[tuple[str, str]], across: int
) -> str:
    """Return the panels, `across` side by side, with a legend of colour names and meanings."""
    rows, cols = grid
    width = 2 * MARGIN + across * cols * CELL + (across - 1) * GAP
    told = max(len(meaning) for _, meaning in legend)
    width = max(width, 2 * MARGIN + 18 + round(told * _LETTER))
    lines = -(-len(panels) // across)
    step = TITLE + rows * CELL + GAP
    top = MARGIN + lines * step
    height = top + TITLE * len(legend) + MARGIN // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        f"<title>{escape(about)}</title>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        left = MARGIN + number % across * (cols * CELL + GAP)
        parts += _panel(panel, cols, left, MARGIN + number // across * step)
    for number, (colour, meaning) in enumerate(legend):
        y = top + TITLE * number
        parts.append(_square(MARGIN, y, CELL + 1, COLOURS.get(colour, colour)))
        parts.append(f'<text x="{MARGIN + 18}" y="{y + 9}" {_TEXT}>{escape(meaning)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, cols: int, left: int, top: int) -> list[str]:
    parts = [f'<text x="{left}" y="{top + 10}" {_TEXT}>{escape(panel.title)}</text>']
    top += TITLE
    for token, name in enumerate(panel.cells):
        x, y = left + token % cols * CELL, top + token // cols * CELL
        parts.append(_square(x, y, CELL, COLOURS[name]))
    for (x1, y1, x2, y2), before in panel.boxes:
        dash = ' stroke-dasharray="3 2"' if before else ""
        parts.append(
            f'<rect x="{left + x1 * CELL:g}" y="{top + y1 * CELL:g}" '
            f'width="{(x2 - x1) * CELL:g}" height="{(y2 - y1) * CELL:g}" fill="none" '
            f'stroke="#111111" stroke-width="1.6"{dash}/>'
        )
    return parts


def _square(x: float, y: float, side: int, colour: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{side}" height="{side}" fill="{colour}" '
        'stroke="#b6bec7" stroke-width="0.5"/>'
    )
