"""The page that all figures share: a column of a paper, fonts, title, legend, files."""

# matplotlib's own annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import textwrap
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.judge.measured import subset_text
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.chart.pyplot import harmless
from maskvd_cli.store.atomic import write_atomic

COLUMN_INCHES = 3.5
SMALL = 6.5
_DOTS_PER_INCH = 300
_TITLE_CHARS = 64
# Text stays text in SVG, names with a dollar are no formula, and equal figures are equal bytes.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "maskvd",
    "text.parse_math": False,
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "axes.xmargin": 0.06,
    "axes.ymargin": 0.08,
}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
FORMATS = tuple(_METADATA)


class NothingToDrawError(MaskvdError):
    """A run lacks what a figure shows; the message says what."""


@contextmanager
def page_style() -> Generator[None]:
    """Draw with the settings that all figures share; the caller's own come back afterwards."""
    with rc_context(_STYLE):
        yield


def column(height: float) -> Figure:
    """Return an empty figure as wide as one column, `height` inches high without its legend."""
    figure = Figure((COLUMN_INCHES, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def entitle(figure: Figure, report: Report, *more: str) -> None:
    """Write recipe, dataset, subset and more lines above all panels."""
    texts = (*title_lines(report), *more)
    lines = [line for text in texts for line in textwrap.wrap(text, _TITLE_CHARS)]
    figure.suptitle("\n".join(lines), fontsize=SMALL)


def title_lines(report: Report) -> list[str]:
    """Return recipe, dataset and split, and that only a part of the data was run, if so."""
    dataset = report.setting["dataset"]
    lines = [f"{report.plan.recipe}: {dataset['name']} {dataset['split']}"]
    subset = subset_text(report.setting)
    return [*lines, f"SUBSET: {subset}"] if subset else lines


def legend(figure: Figure, handles: Sequence[Artist], columns: int = 2) -> None:
    """Put a legend below all panels and make the figure higher by it.

    In one column where the labels need it, so that none is cut off at the figure's edge.
    """
    drawn = _legend(figure, handles, min(columns, len(handles)))
    harmless(figure)
    if drawn.get_window_extent().width > figure.bbox.width:
        drawn.remove()
        drawn = _legend(figure, handles, 1)
        harmless(figure)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + drawn.get_window_extent().height / figure.dpi)


def _legend(figure: Figure, handles: Sequence[Artist], columns: int) -> Legend:
    return figure.legend(
        handles=list(handles), loc="outside lower center", ncols=columns,
        handlelength=2.6 if columns < 3 else 1.2, columnspacing=1.2, borderaxespad=0.3,
        frameon=False,
    )  # fmt: skip


def save(figure: Figure, path: Path) -> None:
    """Write a figure as its file's suffix says, svg or png; the same figure gives the same bytes.

    Call it within `page_style`. Raises ResultError where the place cannot be written.
    """
    harmless(figure)
    kind = path.suffix.removeprefix(".")
    write_atomic(
        path,
        lambda temporary: figure.savefig(
            temporary, format=kind, dpi=_DOTS_PER_INCH, metadata=_METADATA[kind]
        ),
    )
