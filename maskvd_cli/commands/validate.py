"""`maskvd validate`: what a recipe needs, and what of it is missing."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskvd_cli.commands.terminal import (
    AsJson,
    Quiet,
    print_json,
    reading_annotations,
    say,
    table_console,
)
from maskvd_cli.core.errors import EXIT_BAD_INPUT

if TYPE_CHECKING:
    from maskvd_cli.work.checks import Check


def validate(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a shipped recipe.")],
    dataset: Annotated[
        str | None, typer.Option(help="Another dataset format (sets dataset.name).")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="The dataset's folder (sets dataset.root).")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check everything that a sweep needs, and run nothing.

    Points, annotations, images, heatmap and weights are checked each by itself, so that all that
    is missing is told at once. Exit code 2 where anything is.

    Example: maskvd validate kitti --root DIR
    """
    from maskvd_cli.recipe.load import load_recipe
    from maskvd_cli.recipe.shipped import find_recipe
    from maskvd_cli.work.catalog import catalog
    from maskvd_cli.work.checks import checks_of

    given = [] if dataset is None else [f"dataset.name={dataset}"]
    given += [] if root is None else [f"dataset.root={root}"]
    loaded = load_recipe(find_recipe(recipe), catalog(), [*given, *(set_ or [])])
    with reading_annotations():
        checks = list(checks_of(loaded))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _print(checks)
    failed = sum(not check.ok for check in checks)
    if failed:
        say(f"{failed} of {len(checks)} parts are missing or unusable")
        raise typer.Exit(EXIT_BAD_INPUT)
    again = [f"--dataset {shlex.quote(dataset)}"] if dataset else []
    again += [f"--root {shlex.quote(str(root))}"] if root else []
    again += [f"--set {shlex.quote(assignment)}" for assignment in set_ or []]
    say(f"nothing is missing: {' '.join(['maskvd sweep', shlex.quote(recipe), *again])}")


def _print(checks: list[Check]) -> None:
    from rich import box
    from rich.table import Table

    from maskvd_cli.render.safe_console import literal

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark = "[green]ok[/green]" if check.ok else "[red]problem[/red]"
        table.add_row(check.part, mark, literal(check.found))
    table_console().print(table)
