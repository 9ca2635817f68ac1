"""`maskvd compare`: what changed between two runs, and whether it is more than noise."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Force,
    Quiet,
    print_json,
    refuse_datasets,
    refuse_existing,
    say,
    shows_progress,
    sign_of_life,
    table_console,
    talk_console,
)
from maskvd_cli.core.errors import (
    EXIT_BAD_INPUT,
    EXIT_POINTS_FAILED,
    EXIT_REGRESSION,
    UsageError,
    unknown,
)
from maskvd_cli.core.shown import shown
from maskvd_cli.core.words import counted

if TYPE_CHECKING:
    from maskvd_cli.compare.changes import Change, Limit
    from maskvd_cli.compare.comparison import Comparison, OpenedRuns, Row


def compare(
    run_a: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_A", help="The old run: its folder, or a results folder: its newest run."
        ),
    ],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The new run, likewise.")],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="METRIC:LIMIT[%]",
            help="Exit with 4 where a point is worse by more than this and more than noise. "
            "Metrics: latency, latency_ms, peak, state, and the plans' quantities by their column, "
            "as gmacs or the headline. Repeatable.",
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="KIND",
            help="Compare although the runs differ in dataset, protocol, hardware, precision, "
            "subset or detections. Repeatable.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Show also values that are the same in both.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write a .md, .csv or .json file.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare two runs point by point: improved, regressed, or noise.

    Points are paired by label, model and input. On latency the speed-up against the session's own
    baseline decides, since raw milliseconds of two sessions hold the machine's drift as well; a
    change no larger than what the baseline against itself showed is noise. The headline (mAP50 of
    detection) is paired over videos. Counts and memory have no noise. With --quiet only regressions
    beyond --fail-on are told.

    Exit codes: 2 where the runs must not be compared (see --allow), 3 where a file is damaged or,
    with --fail-on, a point that was ok in A failed in B, 4 for a regression beyond --fail-on.

    Examples: maskvd compare results/old results/new
    · maskvd compare OLD NEW --fail-on latency:5% --fail-on map50:0.5 -o changes.md
    """
    from maskvd_cli.compare.changes import Limit
    from maskvd_cli.compare.comparison import open_pairs
    from maskvd_cli.store.runs import find_run

    _check(allow or [], output, force=force)
    opened = open_pairs(find_run(run_a, say), find_run(run_b, say))
    limits = [Limit.parse(text, opened.plans) for text in fail_on or ()]
    _refuse(opened, allow or [])
    comparison = _compared(opened)
    if output is not None:
        _write(comparison, output)
    if as_json:
        from maskvd_cli.compare.text import json_content

        exceeding = comparison.exceeding(limits)
        failed = [
            {"label": r.label, "metric": c.metric.name, "limit": x.text} for r, c, x in exceeding
        ]
        print_json({**json_content(comparison), "failed": failed})
    elif not quiet:
        from maskvd_cli.compare.table import print_comparison

        print_comparison(comparison, table_console(), every=every)
    _judge(comparison, limits)


def _check(allow: list[str], output: Path | None, *, force: bool) -> None:
    from maskvd_cli.compare.conditions import KINDS
    from maskvd_cli.compare.text import FORMATS

    for kind in allow:
        if kind not in KINDS:
            raise UsageError(unknown("kind", kind, KINDS), where=f"--allow {kind}")
    if output is not None:
        if output.suffix.lower() not in FORMATS:
            raise UsageError(
                "wrong kind of file", where=output, remedy=f"name it with {', '.join(FORMATS)}"
            )
        refuse_datasets(output)
        refuse_existing(output, force=force)


def _refuse(opened: OpenedRuns, allow: list[str]) -> None:
    """End with one line per reason where the runs must not be compared."""
    reasons = opened.forbidding(allow)
    for reason in reasons:
        text = f"{reason.kind} differs: {reason}"
        told = f"error: {text}; --allow {reason.kind} compares anyway"
        print(shown(told), file=sys.stderr)
    if reasons:
        raise typer.Exit(EXIT_BAD_INPUT)


def _compared(opened: OpenedRuns) -> Comparison:
    """Compare, and say that it goes on, on a terminal at which point: scoring may take minutes."""
    from maskvd_cli.compare.comparison import compare as compared
    from maskvd_cli.render.safe_console import literal

    console = talk_console()
    if not shows_progress(console):
        with sign_of_life("comparing"):
            return compared(opened)
    with console.status("comparing") as status:
        return compared(opened, lambda label: status.update(f"comparing {literal(label)}"))


def _write(comparison: Comparison, output: Path) -> None:
    from maskvd_cli.compare.text import FORMATS
    from maskvd_cli.store.atomic import write_bytes

    text = FORMATS[output.suffix.lower()](comparison)
    write_bytes(Path(os.path.realpath(output)), text.encode())
    say(f"comparison of {counted(len(comparison.rows), 'point')} written to {output}")


def _judge(comparison: Comparison, limits: list[Limit]) -> None:
    """Tell what failed and exit with 4 or 3; warn of limits that could judge nothing."""
    for problem in comparison.damaged:
        say(f"warning: {problem}")
    for limit in limits:
        if not comparison.has(limit.metric):
            say(f"warning: --fail-on {limit.text}: no point has {limit.metric.name} in both runs")
        elif vague := comparison.unjudged(limit):
            say(f"warning: --fail-on {limit.text}: cannot be judged of {vague} points")
    exceeding = comparison.exceeding(limits)
    for row, change, limit in exceeding:
        print(shown(_line(row, change, limit)), file=sys.stderr)
    failed = comparison.newly_failed() if limits else []
    for row in failed:
        print(shown(f"failed in B, ok in A: {row.label}"), file=sys.stderr)
    if exceeding:
        raise typer.Exit(EXIT_REGRESSION)
    if failed or comparison.damaged:
        raise typer.Exit(EXIT_POINTS_FAILED)


def _line(row: Row, change: Change, limit: Limit) -> str:
    from maskvd_cli.compare.table import change_text

    metric = change.metric
    values = f"{change.old:.{metric.digits}f} -> {change.new:.{metric.digits}f}"
    return (
        f"regression: {row.label}: {metric.header} {values}, {change_text(change)} "
        f"(limit {limit.text})"
    )
