"""Where output goes: data to stdout, talk to stderr; colours only on a terminal."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.shown import shown
from maskvd_cli.core.size import Size

if TYPE_CHECKING:
    from rich.console import Console

_AMPLE_WIDTH = 200
# Seconds between two lines that say that work goes on.
_EVERY = 10.0
_talk = {"quiet": False}


def _set_quiet(quiet: bool) -> bool:
    _talk["quiet"] = quiet
    return quiet


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        callback=_set_quiet,
        help="No progress and no remarks on stderr; errors are still told.",
    ),
]

Force = Annotated[bool, typer.Option("--force", help="Overwrite an output that is there.")]


def size_option(text: str) -> Size:
    """Read a `rows x columns` option."""
    try:
        return Size.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def say(message: str = "") -> None:
    """Print a line of talk to stderr, unless the command was told to be quiet.

    Names of files and classes in it cannot steer the terminal.
    """
    if not _talk["quiet"]:
        print(shown(message), file=sys.stderr)


def shows_progress(console: Console) -> bool:
    """Tell whether progress may be drawn: on a terminal, and unless told to be quiet."""
    return console.is_terminal and not _talk["quiet"]


def print_json(content: Any) -> None:
    """Print a value as JSON to stdout; NaN is never written, paths are text."""
    print(json.dumps(content, indent=2, allow_nan=False, default=str))


def table_console() -> Console:
    """Return the console for tables: as wide as the terminal, ample where there is none."""
    from maskvd_cli.render.safe_console import SafeConsole

    return SafeConsole() if sys.stdout.isatty() else SafeConsole(width=_AMPLE_WIDTH)


def talk_console() -> Console:
    """Return the console for progress, on stderr."""
    from maskvd_cli.render.safe_console import SafeConsole

    return SafeConsole(stderr=True)


def reading_annotations() -> AbstractContextManager[None]:
    """Show on stderr that annotations are being read; large sets take minutes."""
    return at_work("reading annotations")


@contextmanager
def at_work(work: str) -> Generator[None]:
    """Show on stderr what is being done: a spinner on a terminal, else a line every few seconds."""
    console = talk_console()
    if shows_progress(console):
        with console.status(work):
            yield
    else:
        with sign_of_life(work):
            yield


@contextmanager
def sign_of_life(work: str | Callable[[], str], every: float | None = None) -> Generator[None]:
    """Say that work goes on, where no terminal shows it: every ten seconds, or `every` so many.

    With --quiet nothing is said.
    """
    if _talk["quiet"] or shows_progress(talk_console()):
        yield
        return
    done, began = threading.Event(), time.monotonic()

    def talk() -> None:
        while not done.wait(every or _EVERY):
            text = work if isinstance(work, str) else work()
            say(f"{text}: {time.monotonic() - began:.0f} s so far")

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    try:
        yield
    finally:
        done.set()
        talker.join()


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print a short table of names and values to stdout."""
    from rich.table import Table

    from maskvd_cli.render.safe_console import literal

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, literal(str(value)))
    table_console().print(table)


def output_file(path: Path, suffix: str, dataset_root: Path | None = None) -> Path:
    """Return `path` with `suffix` where it has none.

    A link is followed. Raises ResultError for another suffix, a folder, and a place inside the
    dataset's folder or one that an environment variable names.
    """
    if not path.suffix:
        path = path.with_suffix(suffix)
    if path.suffix != suffix:
        raise ResultError("wrong kind of file", where=path, remedy=f"name it with {suffix}")
    if os.path.isdir(path):
        raise ResultError("is a folder", where=path, remedy="name a file")
    refuse_datasets(path, dataset_root)
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def new_file(path: Path, suffix: str, dataset_root: Path | None = None, *, force: bool) -> Path:
    """Return `path` as `output_file` does; raises ResultError, too, where a file is there already.

    With `force` that file is overwritten.
    """
    path = output_file(path, suffix, dataset_root)
    refuse_existing(path, force=force)
    return path


def refuse_existing(*paths: Path, force: bool) -> None:
    """Raise ResultError for an output that is there already, unless with `force`.

    A pipe or a device is refused in either case: it would be replaced, not written to.
    """
    for path in paths:
        if not os.path.lexists(path):
            continue
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise ResultError("is no regular file", where=path, remedy="name a file")
        if not force:
            raise ResultError("exists", where=path, remedy="choose another name, or --force")


def refuse_datasets(output: Path, dataset_root: Path | None = None) -> None:
    """Raise ResultError for an output inside a dataset: the one in use, or any that is known."""
    from maskvd_cli.data.registry import datasets
    from maskvd_cli.store.atomic import refuse_inside

    named = [
        kind.home(Path(root)) for kind in datasets.working() if (root := os.environ.get(kind.env))
    ]
    for root in [*named, *([dataset_root] if dataset_root else [])]:
        refuse_inside(output, root)
