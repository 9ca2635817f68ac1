"""`maskvd score`: recompute a run's metrics from its stored predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskvd_cli.commands.terminal import AsJson, Quiet, print_json, say, table_console
from maskvd_cli.core.errors import EXIT_POINTS_FAILED, ResultError

if TYPE_CHECKING:
    from maskvd_cli.store.measured import Accuracy
    from maskvd_cli.store.runs import Run

_SAME = 1e-9


def score(
    run: Annotated[
        Path, typer.Argument(help="A run's folder, or a results folder: its newest run.")
    ] = Path("results"),
    classes: Annotated[
        bool, typer.Option("--classes", help="A row for every class as well.")
    ] = False,
    ages: Annotated[
        bool, typer.Option("--ages", help="Show mAP50 by frames since the last full one.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a run again from its stored outputs, and compare.

    Recomputes mAP50, mAP and the scores of each class, and compares them with what the run says.
    Reads result files only: no model runs, no dataset is needed, nothing is written. Exit code 3
    where a number differs from the stored one.

    Examples: maskvd score results/demo --classes · maskvd score RUN --json
    """
    from maskvd_cli.store.runs import find_run
    from maskvd_cli.work.scoring import Scorer, baseline_key, scorable

    found = find_run(run, say)
    plan = found.plan()
    points = scorable(found, plan)
    if not points:
        raise ResultError(
            "holds no predictions",
            where=found.folder,
            remedy="sweep with model.weights and accuracy among the metrics",
        )
    scorer, scored, differ = Scorer(found), [], 0
    rows: list[dict[str, Any]] = []
    for point in points:
        baseline = baseline_key(plan, point)
        kept = baseline if baseline and found.has_predictions(baseline) else None
        accuracy = scorer.accuracy(point.key, kept)
        differ += _differs(found, point.key, accuracy)
        scored.append((point.label, accuracy))
        rows.append({"key": point.key, "label": point.label, **accuracy.model_dump(mode="json")})
    if as_json:
        print_json(rows)
    else:
        _print(scored, classes=classes, ages=ages)
    if differ:
        say(f"{differ} of {len(scored)} points differ from their stored metrics")
        raise typer.Exit(EXIT_POINTS_FAILED)
    say(f"{len(scored)} points scored from {found.folder}")


def _differs(run: Run, key: str, accuracy: Accuracy) -> bool:
    """Tell whether the stored metrics, where there are any, are other ones."""
    record = run.measured("accuracy", key)
    if record is None or record.accuracy is None:
        return False

    def apart(ours: float | None, theirs: float | None) -> bool:
        if ours is None or theirs is None:
            return ours is not theirs
        return abs(ours - theirs) > _SAME

    stored = record.accuracy
    pairs = [(accuracy.map50, stored.map50), (accuracy.map, stored.map)]
    pairs += [
        (ours.map50, stored.by_class[name].map50 if name in stored.by_class else None)
        for name, ours in accuracy.by_class.items()
    ]
    return any(apart(ours, theirs) for ours, theirs in pairs)


def _print(scored: list[tuple[str, Accuracy]], *, classes: bool, ages: bool) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("point", overflow="fold")
    for header in ("mAP50", "mAP", "change of mAP50", "frames", "objects", "detections"):
        table.add_column(header, justify="right")
    for label, found in scored:
        counts = (found.frames, found.objects, found.detections)
        table.add_row(
            escape(label), _number(found.map50), _number(found.map), escape(_change(found)),
            *map(str, counts),
        )  # fmt: skip
        for name, one in found.by_class.items() if classes else ():
            table.add_row(
                escape(f"  {name}"), _number(one.map50), _number(one.map), "", "", str(one.objects),
                "", style="dim",
            )  # fmt: skip
        for age in found.by_age if ages else ():
            last = "and more" if age.last is None else f"to {age.last}"
            span = str(age.first) if age.last == age.first else f"{age.first} {last}"
            table.add_row(
                f"  {span} frames after a full one", _number(age.map50), "", "", str(age.frames),
                str(age.objects), "", style="dim",
            )  # fmt: skip
    table_console().print(table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _change(found: Accuracy) -> str:
    from maskvd_cli.judge.measured import interval_text

    change = found.map50_change
    if change is None:
        return ""
    return interval_text(change.value, change.low, change.high, "+.2f")
