"""`maskvd score`: recompute a run's scores from its stored outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.commands.terminal import AsJson, Quiet, at_work, print_json, say, table_console
from maskvd_cli.core.errors import EXIT_POINTS_FAILED, ResultError
from maskvd_cli.core.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from maskvd_cli.metrics.base import Finding
    from maskvd_cli.store.runs import Run
    from maskvd_cli.store.schema import Plan, PlannedPoint, StoredQuantity

_SAME = 1e-9
_BY_CLASS, _BY_AGE = "by_class", "by_age"


@dataclass(frozen=True)
class _Scored:
    """A point's scores by one metric; `quantities`: those that may have a value."""

    label: str
    of: str
    quantities: Sequence[StoredQuantity]
    finding: Finding

    def plain(self) -> dict[str, float | None]:
        """Return the values of the quantities that are no change, by name."""
        values = self.finding.values
        return {
            quantity.name: values[quantity.name].value if quantity.name in values else None
            for quantity in self.quantities
            if not _is_change(quantity.name)
        }

    def as_json(self) -> dict[str, Any]:
        """Return values by name, changes with their intervals, and the details beside them."""
        changes = {
            name: asdict(value) for name, value in self.finding.values.items() if _is_change(name)
        }
        about = {"key": self.finding.key, "label": self.label}
        return {**about, **self.plain(), **self.finding.details, **changes}

    def counts(self) -> dict[str, int]:
        """Return the numbers of what was scored: frames, objects, and the like."""
        return {name: n for name, n in self.finding.details.items() if type(n) is int}


def score(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or a results folder: its newest run.")
    ] = Path("results"),
    classes: Annotated[
        bool, typer.Option("--classes", help="A row for every class as well.")
    ] = False,
    ages: Annotated[
        bool, typer.Option("--ages", help="Show scores by frames since the last full one.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a run again from its stored outputs, and compare.

    Recomputes the task's scores (mAP50 of detection) and compares them with what the run says.
    Reads result files only: no model runs, no dataset is needed, nothing is written. Exit code 3
    where a number differs from the stored one.

    Examples: maskvd score results/demo --classes · maskvd score RUN --json
    """
    from maskvd_cli.store.runs import find_run
    from maskvd_cli.work.scoring import scorable

    found = find_run(run, say)
    plan = found.plan()
    points = scorable(found, plan)
    if not points:
        raise ResultError(
            "holds no predictions",
            where=found.folder,
            remedy="sweep with model.weights and accuracy among the metrics",
        )
    with at_work("scoring"):
        scored = list(_scored(found, plan, points))
    differing = {each.finding.key for each in scored if _differs(found, each)}
    if as_json:
        print_json([each.as_json() for each in scored])
    else:
        _print(scored, classes=classes, ages=ages)
    if differing:
        say(
            f"{len(differing)} of {counted(len(points), 'point')} "
            f"{'differs from its' if len(differing) == 1 else 'differ from their'} stored metrics"
        )
        raise typer.Exit(EXIT_POINTS_FAILED)
    say(f"{counted(len(points), 'point')} scored from {found.folder}")


def _scored(run: Run, plan: Plan, points: Sequence[PlannedPoint]) -> Iterator[_Scored]:
    """Yield the scores of points in their order, each beside the baseline that has outputs."""
    from maskvd_cli.work.scoring import baseline_key, scored, scoring_metrics

    keys = {point.key for point in points}
    beside: dict[str | None, list[str]] = {}
    for point in points:
        baseline = baseline_key(plan, point)
        beside.setdefault(baseline if baseline in keys else None, []).append(point.key)
    for metric in scoring_metrics(plan):
        quantities = [quantity for quantity in plan.quantities if quantity.of == metric.name]
        findings = {
            finding.key: finding
            for baseline, group in beside.items()
            for finding in scored(run, metric, group, baseline)
        }
        for point in points:
            if point.key in findings:
                yield _Scored(point.label, metric.name, quantities, findings[point.key])


def _differs(run: Run, scored: _Scored) -> bool:
    """Tell whether the stored values, where there are any, are other ones."""
    record = run.measured(scored.of, scored.finding.key)
    if record is None or record.status != "ok":
        return False
    ours, theirs = scored.plain(), {name: record.value(name) for name in scored.plain()}
    if any(_apart(ours[name], theirs[name]) for name in ours):
        return True
    stored = record.known_details.by_class
    return any(
        _apart(one.get(name), stored.get(label, {}).get(name))
        for label, one in (scored.finding.details.get(_BY_CLASS) or {}).items()
        for name in ours
    )


def _apart(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is not theirs
    return abs(ours - theirs) > _SAME


def _is_change(name: str) -> bool:
    return name.endswith("_change")


def _print(scored: Sequence[_Scored], *, classes: bool, ages: bool) -> None:
    """Print a table for each metric."""
    for of in dict.fromkeys(each.of for each in scored):
        _print_metric([each for each in scored if each.of == of], classes=classes, ages=ages)


def _print_metric(scored: Sequence[_Scored], *, classes: bool, ages: bool) -> None:
    from rich import box
    from rich.table import Table

    from maskvd_cli.render.safe_console import literal

    counts = list(dict.fromkeys(name for each in scored for name in each.counts()))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("point", overflow="fold")
    for quantity in scored[0].quantities:
        table.add_column(literal(quantity.header), justify="right")
    for name in counts:
        table.add_column(literal(name), justify="right")
    for each in scored:
        values = each.finding.values
        cells = [
            _text(quantity, values[quantity.name]) if quantity.name in values else ""
            for quantity in each.quantities
        ]
        own = each.counts()
        table.add_row(literal(each.label), *cells, *(str(own.get(name, "")) for name in counts))
        details = each.finding.details
        for name, one in (details.get(_BY_CLASS) or {}).items() if classes else ():
            _add_part(table, literal(f"  {name}"), one, each.quantities, counts)
        for age in (details.get(_BY_AGE) or ()) if ages else ():
            _add_part(table, f"  {_span(age)}", age, each.quantities, counts)
    table_console().print(table)


def _add_part(
    table: Table,
    title: str,
    part: Mapping[str, Any],
    quantities: Sequence[StoredQuantity],
    counts: Sequence[str],
) -> None:
    """Add the row of a part of the frames or objects, with what it says of the quantities."""
    values = [(quantity, part.get(quantity.name)) for quantity in quantities]
    cells = ["" if value is None else f"{value:.{quantity.digits}f}" for quantity, value in values]
    table.add_row(title, *cells, *(str(part.get(name, "")) for name in counts), style="dim")


def _span(age: Mapping[str, Any]) -> str:
    first, last = age["first"], age["last"]
    until = "and more" if last is None else f"to {last}"
    return f"{first if last == first else f'{first} {until}'} frames after a full one"


def _text(quantity: StoredQuantity, value: Any) -> str:
    from maskvd_cli.judge.measured import interval_text
    from maskvd_cli.render.safe_console import literal

    if not _is_change(quantity.name):
        return f"{value.value:.{quantity.digits}f}"
    text = interval_text(value.value, value.low, value.high, f"+.{quantity.digits}f")
    return literal(text)
