"""All figures that a run can have, and writing those that it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from maskvd_cli.core.errors import MaskvdError, ResultError
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.plots.curves import (
    comparison,
    headline_gmacs,
    headline_latency,
    loss,
    of_kind,
)
from maskvd_cli.render.plots.frame_age import frame_age
from maskvd_cli.render.plots.layers import layers
from maskvd_cli.render.plots.masks import heatmap_mask, masks
from maskvd_cli.render.plots.page import FORMATS, page_style, save

Draw = Callable[[Report], Figure]


def figures_of(report: Report) -> dict[str, Draw]:
    """Return the figures that a run can have, by name: the general ones, and its methods' own."""
    first: dict[str, Draw] = {
        f"{report.legend.headline or 'headline'}-latency": headline_latency,
        f"{report.legend.headline or 'headline'}-gmacs": headline_gmacs,
        f"{report.legend.headline or 'headline'}-loss": loss,
        "heatmap-mask": heatmap_mask,
        "masks": masks,
        "comparison": comparison,
    }
    own: dict[str, Draw] = {
        name: lambda made, wanted=wanted, methods=methods: of_kind(made, wanted, methods)
        for name, (wanted, methods) in sorted(report.legend.figures.items())
    }
    return {**first, **own, "layers": layers, "frame-age": frame_age}


def figure_files(report: Report, folder: Path) -> list[Path]:
    """Return all files in `folder` that figures of a run may be written to."""
    return [file for name in figures_of(report) for file in _files(name, folder)]


@dataclass(frozen=True)
class FigureOutcome:
    """The files of a figure, or why it was left out.

    `stale`: files of that name which an earlier command wrote and which are not of this run.
    """

    name: str
    files: tuple[Path, ...] = ()
    left_out: str | None = None
    stale: tuple[Path, ...] = ()


def write_figures(report: Report, folder: Path) -> list[FigureOutcome]:
    """Write each figure that the run has data for, as SVG and PNG, into `folder`.

    Raises ResultError where the folder cannot be written, and where the run has data for none.
    """
    outcomes = [_write(name, draw, report, folder) for name, draw in figures_of(report).items()]
    if not any(outcome.files for outcome in outcomes):
        reasons = "; ".join(f"{outcome.name}: {outcome.left_out}" for outcome in outcomes)
        raise ResultError(
            f"has data for no figure ({reasons})",
            where=report.run.folder,
            remedy="sweep a recipe with a static mask, or with model.weights",
        )
    return outcomes


def _write(name: str, draw: Draw, report: Report, folder: Path) -> FigureOutcome:
    files = _files(name, folder)
    with page_style():
        try:
            figure = draw(report)
        except MaskvdError as error:
            stale = tuple(file for file in files if file.exists())
            return FigureOutcome(name, left_out=str(error), stale=stale)
        for file in files:
            save(figure, file)
    return FigureOutcome(name, files)


def _files(name: str, folder: Path) -> tuple[Path, ...]:
    return tuple(folder / f"{name}.{kind}" for kind in FORMATS)
