"""`maskvd report`: a run's results as a table beside the papers' numbers."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Force,
    Quiet,
    refuse_datasets,
    refuse_existing,
    say,
    table_console,
)
from maskvd_cli.core.errors import EXIT_POINTS_FAILED, UsageError
from maskvd_cli.core.shown import shown
from maskvd_cli.core.words import counted

if TYPE_CHECKING:
    from maskvd_cli.judge.rows import Report

_BY_SUFFIX = {".md": "markdown", ".csv": "csv", ".json": "json", ".tex": "latex", ".html": "html"}
_FORMATS = ("console", *_BY_SUFFIX.values())
_PICTURES = (".png", ".svg")


def report(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or a results folder: its newest run.")
    ] = Path("results"),
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="console, markdown, csv, json, latex or html. Default: by -o."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="File; - is stdout; .png, .svg: a picture."),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the papers' kinds of figures there, as SVG and PNG; a table only with -o, "
            "--format or --json.",
        ),
    ] = None,
    kept_sets: Annotated[
        bool,
        typer.Option(
            "--kept-sets",
            help="Also compare which tokens the points keep of the same frames, and say whether "
            "that goes with accuracy.",
        ),
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show a run's points beside the values that papers publish.

    A row for each point. Below the table: which point of each method pays, where its speed-up went,
    and which published values are reproduced. Reads result files only; runs nothing. Exit code 3
    where a result file is damaged.

    Examples: maskvd report · maskvd report results/kitti-table1 --format markdown -o table1.md
    """
    from maskvd_cli.judge.rows import read_report
    from maskvd_cli.render.console import print_report
    from maskvd_cli.store.atomic import write_bytes
    from maskvd_cli.store.runs import find_run

    picture = Path(output) if output and Path(output).suffix.lower() in _PICTURES else None
    if as_json and format_ not in (None, "json"):
        raise UsageError(f"--json and --format {format_} contradict each other; leave one out")
    format_ = "json" if as_json else format_
    kind = _format(format_, None if picture else output)
    if picture and format_ is not None:
        raise UsageError(f"--format {format_} is no picture; leave it out, or name another file")
    if output not in (None, "-"):
        refuse_datasets(Path(output))
        refuse_existing(Path(output), force=force)
    made = read_report(find_run(run, say))
    if kept_sets:
        from maskvd_cli.judge.kept_sets import kept_sets as compared

        made = replace(made, kept_sets=compared(made))
    if figures is not None:
        _write_figures(made, figures, force=force)
    if picture:
        from maskvd_cli.render.tradeoff import draw_tradeoff

        draw_tradeoff(Path(os.path.realpath(picture)), made)
        say(f"{made.legend.quality} against latency and GMACs drawn to {picture}")
    elif kind == "console":
        if figures is None or format_ == "console":
            print_report(made, table_console())
    elif output in (None, "-"):
        sys.stdout.write(_rendered(made, kind))
    else:
        write_bytes(Path(os.path.realpath(output)), _rendered(made, kind).encode())
        say(f"{counted(len(made.rows), 'point')} of {made.run.folder} written to {output}")
    for problem in made.damaged:
        say(f"warning: {problem}")
    if made.damaged:
        raise typer.Exit(EXIT_POINTS_FAILED)


def _rendered(made: Report, kind: str) -> str:
    """Return a report in a format for files; what pages need is imported for them alone."""
    if kind == "html":
        from maskvd_cli.render.html import to_html

        return to_html(made)
    from maskvd_cli.render.formats import FORMATS

    return shown(FORMATS[kind](made), keep="\n")


def _write_figures(made: Report, folder: Path, *, force: bool) -> None:
    """Write all figures that the run has data for, and say which, and why others are left out."""
    from maskvd_cli.render.plots.catalogue import figure_files, write_figures

    refuse_datasets(folder)
    refuse_existing(*figure_files(made, folder), force=force)
    for outcome in write_figures(made, Path(os.path.realpath(folder))):
        if outcome.files:
            say(f"{outcome.name} drawn to {', '.join(file.name for file in outcome.files)}")
        else:
            say(f"{outcome.name} left out: {outcome.left_out}")
        for file in outcome.stale:
            say(f"warning: {file} is of an earlier command, not of this run")
    say(f"figures of {made.run.folder} are in {folder}")


def _format(format_: str | None, output: str | None) -> str:
    """Return the format that was asked for, or that the file's suffix says."""
    if format_ is not None and format_ not in _FORMATS:
        raise UsageError(f"--format {format_}: choose {', '.join(_FORMATS)}")
    if output is None:
        return format_ or "console"
    if format_ == "console":
        raise UsageError(
            "--format console cannot go to a file; choose markdown, csv, json, latex or html"
        )
    return format_ or _BY_SUFFIX.get(Path(output).suffix, "markdown")
