"""`maskvd ls`: the methods, models, datasets and recipes that there are."""

from __future__ import annotations

from typing import Annotated

import typer

from maskvd_cli.commands.terminal import AsJson, print_json, table_console
from maskvd_cli.core.errors import UsageError, unknown

_KINDS = ("methods", "models", "datasets", "recipes")
Row = tuple[str, ...]


def ls(
    kind: Annotated[
        str, typer.Argument(metavar="methods|models|datasets|recipes", help="What to list.")
    ],
    as_json: AsJson = False,
) -> None:
    """List methods, models, datasets or recipes, each with one line and where it comes from.

    Examples: maskvd ls methods · maskvd ls recipes --json
    """
    if kind not in _KINDS:
        raise UsageError(unknown("kind", kind, _KINDS))
    headers, rows = {"methods": _methods, "models": _models, "datasets": _datasets,
                     "recipes": _recipes}[kind]()  # fmt: skip
    if as_json:
        names = [header.replace(" ", "_") for header in headers]
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(headers[0], no_wrap=True)
    for header in headers[1:]:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    table_console().print(table)


def _methods() -> tuple[Row, list[Row]]:
    from maskvd_cli.methods.registry import methods

    loaded = [methods.load(name) for name in methods.names()]
    rows = [
        (kind.name, kind.description, ", ".join(kind.params_type.model_fields), kind.paper)
        for kind in loaded
    ]
    return ("method", "what it does", "parameters", "paper"), rows


def _models() -> tuple[Row, list[Row]]:
    from maskvd_cli.families.zoo import models

    archs = [model.arch for model in models().values()]
    rows = [(arch.name, arch.description, arch.backbone, arch.paper) for arch in archs]
    return ("model", "what it is", "backbone", "paper"), rows


def _datasets() -> tuple[Row, list[Row]]:
    from maskvd_cli.data.registry import datasets

    loaded = [datasets.load(name) for name in datasets.names()]
    rows = [
        (kind.name, kind.description, ", ".join(kind.splits), ", ".join(kind.protocols), kind.env)
        for kind in loaded
    ]
    return ("dataset", "what it is", "splits", "protocols", "folder from"), rows


def _recipes() -> tuple[Row, list[Row]]:
    import yaml

    from maskvd_cli.recipe.shipped import shipped_recipes

    rows: list[Row] = []
    for name, path in shipped_recipes().items():
        content = yaml.safe_load(path.read_text("utf-8"))
        rows.append((name, str(content.get("description", "")), str(content["dataset"]["name"])))
    return ("recipe", "what it runs", "dataset"), rows
