"""`maskvd report`: a run's results as a table beside the papers' numbers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from maskvd_cli.commands.terminal import refuse_datasets, say, table_console
from maskvd_cli.core.errors import EXIT_POINTS_FAILED, UsageError

_BY_SUFFIX = {".md": "markdown", ".csv": "csv", ".json": "json", ".tex": "latex"}
_FORMATS = ("console", *_BY_SUFFIX.values())
_PICTURES = (".png", ".svg")


def report(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or a results folder: its newest run.")
    ] = Path("results"),
    format_: Annotated[
        str | None,
        typer.Option("--format", help="console, markdown, csv, json or latex. Default: by -o."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="File; - is stdout; .png, .svg: a picture."),
    ] = None,
) -> None:
    """Show a run's points, one row each, beside the values that papers publish for them.

    Reads result files only; runs nothing. Exit code 3 where a result file is damaged.

    Examples: maskvd report · maskvd report results/kitti-table1 --format markdown -o table1.md
    """
    from maskvd_cli.report.console import print_report
    from maskvd_cli.report.formats import FORMATS
    from maskvd_cli.report.rows import read_report
    from maskvd_cli.store.atomic import write_bytes
    from maskvd_cli.store.runs import find_run

    picture = Path(output) if output and Path(output).suffix.lower() in _PICTURES else None
    kind = _format(format_, None if picture else output)
    if picture and format_ is not None:
        raise UsageError(f"--format {format_} is no picture; leave it out, or name another file")
    made = read_report(find_run(run))
    if picture:
        from maskvd_cli.report.tradeoff import draw_tradeoff

        refuse_datasets(picture)
        draw_tradeoff(Path(os.path.realpath(picture)), made)
        say(f"mAP50 against latency and GMACs drawn to {picture}")
    elif kind == "console":
        print_report(made, table_console())
    elif output in (None, "-"):
        sys.stdout.write(FORMATS[kind](made))
    else:
        refuse_datasets(Path(output))
        write_bytes(Path(os.path.realpath(output)), FORMATS[kind](made).encode())
        say(f"{len(made.rows)} points of {made.run.folder} written to {output}")
    for problem in made.damaged:
        say(f"warning: {problem}")
    if made.damaged:
        raise typer.Exit(EXIT_POINTS_FAILED)


def _format(format_: str | None, output: str | None) -> str:
    """Return the format that was asked for, or that the file's suffix says."""
    if format_ is not None and format_ not in _FORMATS:
        raise UsageError(f"--format {format_}: choose {', '.join(_FORMATS)}")
    if output is None:
        return format_ or "console"
    if format_ == "console":
        raise UsageError(
            "--format console cannot go to a file; choose markdown, csv, json or latex"
        )
    return format_ or _BY_SUFFIX.get(Path(output).suffix, "markdown")
