"""`maskvd doctor`: is this machine fit to measure on?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Quiet,
    print_json,
    say,
    shows_progress,
    table_console,
    talk_console,
)
from maskvd_cli.core.errors import EXIT_BAD_INPUT

if TYPE_CHECKING:
    from maskvd_cli.diagnosis.run import Diagnosis

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}
_VERDICTS = {
    "ok": "fit to measure on",
    "note": "fit to measure on; see the notes",
    "warning": "not fit for timing as it is: see the warnings ({untouched} are not touched)",
    "problem": "something that was set up does not work: see the problems",
}


def doctor(
    seconds: Annotated[
        float, typer.Option(min=1, max=600, help="How long to measure noise, on each device.")
    ] = 10.0,
    no_noise: Annotated[
        bool, typer.Option("--no-noise", help="Leave out the noise floor: answer in seconds.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check whether this machine is fit to measure on.

    Each finding comes with what to mend. Looks at Python, torch, CUDA, driver, clocks, power limit,
    throttling, other load, memory, threads, datasets and weights, and measures the same work twice:
    the A/A noise floor, under which differences cannot be told here. Only reads; changes nothing on
    the machine.

    ok; note: good to know; warning: times measured now may be wrong; problem: something that was
    set up does not work. Exit code 2 where there is a problem, else 0.

    Examples: maskvd doctor · maskvd doctor --no-noise --json
    """

    from maskvd_cli.diagnosis.finding import worst
    from maskvd_cli.diagnosis.run import diagnose

    console = talk_console()
    wait = None if no_noise else seconds
    if shows_progress(console):
        with console.status("starting") as status:
            made = diagnose(seconds=wait, on_talk=status.update)
    else:
        made = diagnose(seconds=wait)
    if as_json:
        print_json(made.as_json())
    else:
        _print(made)
    state = worst(made.findings)
    say(_verdict(state))
    if state == "problem":
        raise typer.Exit(EXIT_BAD_INPUT)


def _verdict(state: str) -> str:
    """Return what a state means for measuring; scores and counts need no quiet machine."""
    from maskvd_cli.tasks.registry import tasks

    scores = [task.headline().header for task in tasks.working()]
    return _VERDICTS[state].format(untouched=f"{', '.join(scores)} and counts")


def _print(made: Diagnosis) -> None:
    """Print one table; what to do stands under what was found."""
    from rich.table import Table

    from maskvd_cli.render.safe_console import literal

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for number, (group, findings) in enumerate(made.groups.items()):
        if number:
            table.add_row()
        table.add_row(f"[bold]{group}[/bold]")
        for finding in findings:
            colour = _COLOURS[finding.state]
            mark = f"[{colour}]{finding.state}[/{colour}]"
            table.add_row(f"  {literal(finding.name)}", mark, literal(finding.found))
            if finding.remedy is not None:
                table.add_row("", "", f"[dim]-> {literal(finding.remedy)}[/dim]")
    table_console().print(table)
