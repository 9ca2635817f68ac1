"""`maskvd ls`: what there is of every kind, plug-ins included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from maskvd_cli.commands.terminal import AsJson, print_json, say, table_console
from maskvd_cli.core.errors import UsageError, unknown

Row = tuple[str, ...]
Listing = tuple[Row, list[Row]]
_METAVAR = "methods|models|datasets|recipes|families|tasks|metrics|executors"


def ls(
    kind: Annotated[str, typer.Argument(metavar=_METAVAR, help="What to list.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="Methods alone: what of them runs on a model."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what there is of a kind, installed plug-ins included.

    Each with one line: methods with their parameters, metrics with their keys in a recipe.

    Examples: maskvd ls methods · maskvd ls methods --model rfdetr-nano · maskvd ls recipes --json
    """
    if kind not in _LISTINGS:
        raise UsageError(unknown("kind", kind, _LISTINGS))
    if model is not None and kind != "methods":
        raise UsageError(f"--model is for methods, not {kind}", remedy="leave --model out")
    headers, rows = _LISTINGS[kind]() if model is None else _methods_on(model)
    if as_json:
        names = [header.replace(" ", "_") for header in headers]
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    from rich import box
    from rich.table import Table

    from maskvd_cli.render.safe_console import literal

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(headers[0], no_wrap=True)
    for header in headers[1:]:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*map(literal, row))
    table_console().print(table)
    if kind == "methods" and model is None:
        from maskvd_cli.methods.registry import methods

        say(f"combinations of two: {', '.join(methods.pairs())}")


def _methods() -> Listing:
    from maskvd_cli.methods.registry import methods

    loaded = methods.working()
    rows = [
        (kind.name, kind.description, ", ".join(kind.params_type.model_fields), kind.paper)
        for kind in loaded
    ]
    return ("method", "what it does", "parameters", "paper"), rows


def _methods_on(model: str) -> Listing:
    """List methods and combinations: whether each runs on a model, and how, or why not."""
    from maskvd_cli.families.zoo import entry
    from maskvd_cli.methods.matrix import fit
    from maskvd_cli.methods.registry import methods

    arch = entry(model).arch
    names = [*(kind.name for kind in methods.working()), *methods.pairs()]
    found = {name: fit(methods.load(name), arch) for name in names}
    rows = [(name, "yes" if told.runs else "no", told.note) for name, told in found.items()]
    return ("method", "runs", "note"), rows


def _models() -> Listing:
    from maskvd_cli.families.zoo import models

    archs = [model.arch for model in models().values()]
    rows = [(arch.name, arch.description, arch.backbone, arch.paper) for arch in archs]
    return ("model", "what it is", "backbone", "paper"), rows


def _datasets() -> Listing:
    from maskvd_cli.data.registry import datasets

    loaded = datasets.working()
    rows = [
        (kind.name, kind.description, ", ".join(kind.splits), ", ".join(kind.protocols), kind.env)
        for kind in loaded
    ]
    return ("dataset", "what it is", "splits", "protocols", "folder from"), rows


def _recipes() -> Listing:
    import yaml

    from maskvd_cli.recipe.shipped import shipped_recipes

    rows: list[Row] = []
    for name, path in shipped_recipes().items():
        content = yaml.safe_load(path.read_text("utf-8"))
        rows.append((name, str(content.get("description", "")), str(content["dataset"]["name"])))
    return ("recipe", "what it runs", "dataset"), rows


def _families() -> Listing:
    from maskvd_cli.families.registry import families

    loaded = families.working()
    rows = [
        (kind.name, kind.description, kind.task, ", ".join(arch.name for arch in kind.archs()))
        for kind in loaded
    ]
    return ("family", "what it is", "task", "models"), rows


def _tasks() -> Listing:
    from maskvd_cli.tasks.registry import tasks

    loaded = tasks.working()
    rows = [(kind.name, kind.description, kind.headline().header) for kind in loaded]
    return ("task", "what a model is asked for", "headline"), rows


def _metrics() -> Listing:
    from maskvd_cli.metrics.registry import every_metric

    rows = [
        (kind.name, kind.description, ", ".join(kind.section.model_fields))
        for kind in every_metric()
    ]
    return ("metric", "what it measures", "keys in a recipe"), rows


def _executors() -> Listing:
    from maskvd_cli.work.executors.registry import executors

    rows = [(kind.name, kind.description) for kind in executors.working()]
    return ("executor", "where units run"), rows


_LISTINGS: dict[str, Callable[[], Listing]] = {
    "methods": _methods,
    "models": _models,
    "datasets": _datasets,
    "recipes": _recipes,
    "families": _families,
    "tasks": _tasks,
    "metrics": _metrics,
    "executors": _executors,
}
