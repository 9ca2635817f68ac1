"""`maskvd verify`: ours against the authors' implementations and other libraries' models."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Quiet,
    print_json,
    say,
    shows_progress,
    sign_of_life,
    table_console,
    talk_console,
)
from maskvd_cli.core.errors import EXIT_POINTS_FAILED, UsageError

if TYPE_CHECKING:
    from maskvd_cli.verify.cases import Agreement

_VARIABLE = "MASKVD_GOLDEN"
# A case's name, and what runs and compares it.
Job = tuple[str, Callable[[], "Agreement"]]


def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help=f"Folder of golden cases (.npz); default: ${_VARIABLE}."
        ),
    ] = None,
    library: Annotated[
        bool,
        typer.Option(
            "--library",
            help="Compare models with those of other libraries; with DIR, beside its cases.",
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare ours with the authors' implementations, and models with other libraries' own.

    Golden cases (DIR): outputs, selected tokens and multiply-accumulates, in all subfolders. Prints
    the largest deviation in float32 and float64 (tolerances 2e-4 and 1e-9; of the whole detector,
    over the largest value of each intermediate), and how many selections and counted frames differ.
    Kinds of cases that this version does not know are named and left out, and so are arrays of a
    case that nothing here compares with.

    Library cases (--library): one small model of each family with drawn weights, on square images:
    all features that are read, boxes and scores (tolerances 1e-4 and 1e-9). Skipped where the
    library is not installed.

    Without DIR and --library: both. Exit code 3 if any case fails.

    Examples: maskvd verify golden/ · maskvd verify --library · maskvd verify golden/ --json
    """
    both = folder is None and not library
    if both and (named := os.environ.get(_VARIABLE)):
        folder = Path(named)
    jobs = _golden_jobs(folder) if folder is not None else []
    if library or both:
        jobs += _library_jobs()
    if not jobs:
        raise UsageError(
            "nothing to compare with: no folder of golden cases given",
            remedy=f"name it: maskvd verify DIR, or set the environment variable {_VARIABLE}",
        )
    agreements = _run(jobs)
    known = [agreement for agreement in agreements if agreement.unknown is None]
    if as_json:
        print_json([_plain(agreement) for agreement in agreements])
    elif known:
        _print(known)
    if both and folder is None:
        say(f"no golden cases: name a folder, or set the environment variable {_VARIABLE}")
    _conclude(folder, agreements, known)


def _golden_jobs(folder: Path) -> list[Job]:
    """Return the golden cases below a folder. Raises GoldenError where there is none."""
    from maskvd_cli.verify.cases import case_files
    from maskvd_cli.verify.run import verify as verify_case

    names = {path: path.relative_to(folder).with_suffix("").as_posix()
             for path in case_files(folder)}  # fmt: skip
    return [(name, partial(verify_case, path, name)) for path, name in names.items()]


def _library_jobs() -> list[Job]:
    """Return the library cases that can be run here, and say which cannot."""
    from maskvd_cli.verify.library import library_cases, runnable, verify_library

    cases, missing = runnable(library_cases())
    for line in missing:
        say(line)
    return [(name, partial(verify_library, name, case)) for name, case in cases.items()]


def _run(jobs: list[Job]) -> list[Agreement]:
    from maskvd_cli.render.safe_console import literal

    console = talk_console()
    agreements: list[Agreement] = []
    with (
        sign_of_life(lambda: f"case {len(agreements) + 1} of {len(jobs)}"),
        console.status("") as status,
    ):
        if not shows_progress(console):
            status.stop()
        for name, compared in jobs:
            status.update(literal(f"{len(agreements) + 1} of {len(jobs)}: {name}"))
            agreements.append(compared())
    return agreements


def _conclude(folder: Path | None, agreements: list[Agreement], known: list[Agreement]) -> None:
    """Say what failed and what is unknown. Raises GoldenError where nothing is known."""
    from maskvd_cli.verify.cases import GoldenError

    kinds = Counter(agreement.unknown for agreement in agreements if agreement.unknown is not None)
    for kind, cases in sorted(kinds.items()):
        say(f"not known to this version: {kind} ({cases} case{'s' if cases > 1 else ''})")
    if not known:
        raise GoldenError("holds no case of a kind that this version knows", where=folder)
    failed = [agreement for agreement in known if not agreement.passed]
    for agreement in failed:
        if agreement.problem:
            say(f"{agreement.case}: {agreement.problem}")
    for agreement in known:
        if agreement.uncompared:
            say(f"{agreement.case}: not compared: {', '.join(agreement.uncompared)}")
    say(f"{len(known) - len(failed)} of {len(known)} cases passed")
    if failed:
        raise typer.Exit(EXIT_POINTS_FAILED)


def _plain(agreement: Agreement) -> dict[str, Any]:
    """Return an agreement as JSON values.

    A deviation that is infinite is null, and so is `passed` of a kind that is unknown.
    """
    found = {str(dtype).removeprefix("torch."): deviation
             for dtype, deviation in (agreement.deviation or {}).items()}  # fmt: skip
    return {
        "case": agreement.case,
        "method": agreement.method,
        "deviation": {dtype: x if math.isfinite(x) else None for dtype, x in found.items()},
        "selections": agreement.selections,
        "mismatches": agreement.mismatches,
        "counted": agreement.counted,
        "miscounted": agreement.miscounted,
        "passed": None if agreement.unknown is not None else agreement.passed,
        "unknown": agreement.unknown,
        "problem": agreement.problem,
        "uncompared": list(agreement.uncompared),
    }


def _print(agreements: list[Agreement]) -> None:
    import torch
    from rich import box
    from rich.table import Table

    from maskvd_cli.render.safe_console import literal

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("case", overflow="fold")
    table.add_column("method", overflow="fold")
    for header in ("float32", "float64", "selections", "counts"):
        table.add_column(header, justify="right")
    table.add_column("verdict")
    for agreement in agreements:
        found = agreement.deviation or {}
        deviations = [
            f"{found[dtype]:.1e}" if dtype in found else ""
            for dtype in (torch.float32, torch.float64)
        ]
        table.add_row(
            literal(agreement.case),
            literal(agreement.method),
            *deviations,
            _of(agreement.mismatches, agreement.selections),
            _of(agreement.miscounted, agreement.counted),
            _verdict(agreement),
        )
    table_console().print(table)


def _verdict(agreement: Agreement) -> str:
    if not agreement.passed:
        return "[red]FAILED[/red]"
    if agreement.uncompared:
        return "[yellow]equal in part[/yellow]"
    return "[green]equal[/green]"


def _of(wrong: int, total: int) -> str:
    """Say how many of `total` agree; nothing where nothing was compared."""
    return f"{total - wrong}/{total}" if total else ""
