"""`maskvd watch`: follow a running sweep from its files."""

from __future__ import annotations

import json
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.commands.streams import stdout_is_gone
from maskvd_cli.commands.terminal import Quiet, say, table_console
from maskvd_cli.core.errors import EXIT_POINTS_FAILED
from maskvd_cli.core.shown import shown
from maskvd_cli.core.words import every

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskvd_cli.store.runs import Run
    from maskvd_cli.watch.progress import Snapshot

    Show = Callable[[Snapshot], None]


def watch(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or a results folder: its newest run.")
    ] = Path("results"),
    interval: Annotated[
        float, typer.Option(min=0.1, max=3600.0, help="Seconds between two looks.")
    ] = 1.0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Where there is no run yet, wait for one to begin.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line for each event.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Follow a running sweep: what has ended, and the time left.

    Reads result files only and takes no lock, so it never disturbs a sweep. On a terminal a table
    is kept up to date; elsewhere each point and pass that ends is a line. The time left is an
    estimate from the pace so far. Ctrl-C ends the watching, not the sweep.

    Exit codes: 0 when all is done, 3 when some points or passes failed, 130 after Ctrl-C.

    Examples: maskvd watch · maskvd watch results/demo --interval 5 · maskvd watch --wait --json
    """
    from maskvd_cli.watch.progress import Follower

    follower = Follower(_run(run, wait, interval))
    around, show = _presented(as_json)
    with around:
        snapshot = follower.look()
        show(snapshot)
        while not snapshot.has_ended:
            if stdout_is_gone():
                raise typer.Exit
            time.sleep(interval)
            snapshot = follower.look()
            show(snapshot)
    if snapshot.failed:
        for step in snapshot.failed:
            say(f"failed: {step.of} {step.label}: {step.reason}")
        raise typer.Exit(EXIT_POINTS_FAILED)
    total = len(snapshot.plan.points)
    done = f"{every(total, 'point')} {'is' if total == 1 else 'are'} done"
    say(f"{done}: maskvd report {snapshot.run.folder}")


def _run(place: Path, wait: bool, interval: float) -> Run:
    from maskvd_cli.store.reading import is_regular
    from maskvd_cli.store.runs import PLAN, find_run, runs_below

    if wait and not (is_regular(place / PLAN) or runs_below(place)):
        say(f"waiting for a run in {place}")
        while not (is_regular(place / PLAN) or runs_below(place)):
            time.sleep(interval)
    return find_run(place, begun=False)


def _presented(as_json: bool) -> tuple[AbstractContextManager[Any], Show]:
    """Return how snapshots are shown, and what must be left again at the end."""
    if as_json:
        return nullcontext(), _Events().show
    console = table_console()
    if not console.is_terminal:
        return nullcontext(), _Lines().show
    from rich.live import Live

    from maskvd_cli.watch.text import live_table

    live = Live(console=console, auto_refresh=False)
    return live, lambda snapshot: live.update(live_table(snapshot, console), refresh=True)


class _Lines:
    """Prints where the run stands, then a line for each step that ends and for each halt."""

    def __init__(self) -> None:
        self._sweep: str | None = None

    def show(self, snapshot: Snapshot) -> None:
        from maskvd_cli.watch.text import headline, step_lines

        if self._sweep is None:
            for line in headline(snapshot):
                print(shown(line))
        else:
            for line in step_lines(snapshot):
                print(shown(line))
            if snapshot.sweep != self._sweep:
                print(shown(headline(snapshot)[-1]))
        self._sweep = snapshot.sweep
        sys.stdout.flush()


class _Events:
    """Prints `start`, one event for each step that ends, `sweep` when it starts or stops, `end`."""

    def __init__(self) -> None:
        self._sweep: str | None = None

    def show(self, snapshot: Snapshot) -> None:
        from maskvd_cli.watch.text import state_event, step_event

        events: list[dict[str, Any]] = []
        if self._sweep is None:
            events.append(state_event("start", snapshot))
        else:
            events += [step_event(snapshot, step) for step in snapshot.new]
            if snapshot.sweep != self._sweep:
                events.append(state_event("sweep", snapshot))
        if snapshot.has_ended:
            events.append(state_event("end", snapshot))
        for event in events:
            print(json.dumps(event, allow_nan=False))
        self._sweep = snapshot.sweep
        sys.stdout.flush()
