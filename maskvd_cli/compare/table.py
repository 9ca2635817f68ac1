"""A comparison as a table for people, on the console."""

from __future__ import annotations

import math
from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table

from maskvd_cli.compare.changes import LATENCY, MEAN_MS, MEDIAN_MS, Change, Verdict
from maskvd_cli.compare.comparison import Comparison, Row
from maskvd_cli.core.shown import shown
from maskvd_cli.core.words import counted
from maskvd_cli.judge.labels import short_labels
from maskvd_cli.judge.legend import Legend
from maskvd_cli.render.safe_console import literal
from maskvd_cli.render.tables import Column, HumanTable

_GAP = 2
_RAW = (MEAN_MS, MEDIAN_MS)
_HUMAN = (
    Column("point", "point", str, text=True, wraps=16),
    Column("metric", "metric", str, text=True),
    Column("old", "A", str, spare=1),
    Column("new", "B", str, spare=1),
    Column("change", "change", str),
    Column("interval", "95 % interval", str, spare=2),
    Column("verdict", "verdict", str, text=True),
    Column("basis", "by", str, spare=3, text=True),
)
_STYLES = {
    Verdict.REGRESSION: "red",
    Verdict.IMPROVEMENT: "green",
    Verdict.NO_INTERVAL: "yellow",
    Verdict.NOT_COMPARABLE: "yellow",
}


def legend_text(comparison: Comparison) -> str:
    """Return what stands below the table."""
    baseline = Legend(comparison.opened.plans[1]).baseline
    return (
        f"speed-up: {baseline}'s time / the point's, in its own session; its change is that of "
        "the time. (In brackets): raw times, which hold the machine's drift too and decide nothing."
    )


def summary(comparison: Comparison) -> str:
    """Return the counts of verdicts and of points that have no partner, in a sentence."""
    changes = [change for row in comparison.rows for change in row.changes]
    counts = Counter(change.verdict for change in changes if change.metric not in _RAW)
    parts = [_counted(counts[verdict], verdict) for verdict in Verdict if counts[verdict]]
    states = Counter(row.state for row in comparison.rows if row.state != "both")
    paired = sum(row.state == "both" for row in comparison.rows)
    compared = f"{counted(paired, 'point')} compared: {', '.join(parts)}"
    text = compared if paired else "no point compared"
    return "; ".join([text, *(f"{number} {state}" for state, number in states.items())])


def _counted(number: int, verdict: Verdict) -> str:
    noun = verdict in (Verdict.IMPROVEMENT, Verdict.REGRESSION)
    return f"{number} {verdict.value}{'s' if noun and number > 1 else ''}"


def _rows_shown(comparison: Comparison, every: bool) -> list[tuple[Row, Change | None]]:
    """Return what the table shows: all, or latency, headline and whatever is not the same."""
    rows: list[tuple[Row, Change | None]] = []
    for row in comparison.rows:
        decided = {change.verdict for change in row.changes if change.metric == LATENCY}
        changes = [change for change in row.changes if every or _tells(change, decided)]
        rows += [(row, change) for change in changes]
        if not row.changes:
            rows.append((row, None))
    return rows


def _tells(change: Change, decided: set[Verdict]) -> bool:
    """Tell whether a change is shown: raw means only where speed-ups say something else."""
    if change.metric == MEAN_MS and change.verdict in decided:
        return False
    return change.metric != MEDIAN_MS and change.verdict is not Verdict.SAME


def _fitted(human: HumanTable, width: int) -> HumanTable:
    """Leave out the most dispensable columns until a line fits; names may break anywhere."""
    names, *others = human.columns
    while True:
        least = [max(len(c.header), *(len(row[i + 1]) for row in human.cells))
                 for i, c in enumerate(others)]  # fmt: skip
        spare = max(column.spare for column in others)
        if spare == 0 or names.wraps + sum(least) + _GAP * (len(others) + 1) <= width:
            return human
        kept = [0, *(i + 1 for i, column in enumerate(others) if column.spare < spare)]
        cells = [[row[i] for i in kept] for row in human.cells]
        human = HumanTable(tuple(human.columns[i] for i in kept), cells)
        names, *others = human.columns


def human_rows(comparison: Comparison, every: bool) -> tuple[HumanTable, list[str | None]]:
    """Return the table and a style for each of its rows."""
    told = _rows_shown(comparison, every)
    names = short_labels(row.label for row in comparison.rows)
    cells: list[list[str]] = []
    styles: list[str | None] = []
    before: Row | None = None
    for row, change in told:
        name = names[row.label] if row is not before else ""
        before = row
        rest = ["", "", "", "", "", row.state, _why(row)] if change is None else _cells(change)
        cells.append([shown(cell) for cell in (name, *rest)])
        raw = change is not None and change.metric in _RAW
        quiet = "dim" if change is None or raw else None
        styles.append(quiet or (_STYLES.get(change.verdict) if change else None))
    return HumanTable(_HUMAN, cells), styles


def _why(row: Row) -> str:
    """Return why a point failed, in one line."""
    for side in (row.pair.b, row.pair.a):
        if side is not None and side.damaged is not None:
            return side.damaged.message
        if side is not None and side.record is not None and side.record.failure is not None:
            return " ".join(side.record.failure.message.split())
    return ""


def _cells(change: Change) -> list[str]:
    metric = change.metric
    raw = metric in _RAW
    bounds = [_amount(change, bound) for bound in (change.low, change.high) if bound is not None]
    return [
        "speed-up" if metric == LATENCY else metric.header,
        f"{change.old:.{metric.digits}f}",
        f"{change.new:.{metric.digits}f}",
        change_text(change),
        f"[{', '.join(bounds)}]" if bounds else "",
        f"({change.verdict.value})" if raw else change.verdict.value,
        change.basis,
    ]


def _amount(change: Change, bound: float) -> str:
    if change.metric.by_ratio:
        return f"{100 * (bound - 1):+.1f}"
    return f"{bound:+.{change.metric.digits}f}"


def change_text(change: Change) -> str:
    """Return by how much a metric changed, as a reader would say it."""
    if not change.metric.by_ratio:
        return f"{change.difference:+.{change.metric.digits}f}"
    if math.isinf(change.percent):
        return f"{change.difference:+.{change.metric.digits}f}"
    if change.metric in (LATENCY, *_RAW):
        text = f"{abs(change.percent):.1f} %"
        return text if text == "0.0 %" else f"{text} {'slower' if change.percent > 0 else 'faster'}"
    return f"{change.percent:+.2f} %"


def print_comparison(comparison: Comparison, console: Console, *, every: bool = False) -> None:
    """Print table, summary, notes and the two runs; narrow terminals get fewer columns."""
    human, styles = human_rows(comparison, every)
    fitted = _fitted(human, console.width) if human.cells else human
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for column in fitted.columns:
        table.add_column(
            column.header,
            justify="left" if column.text else "right",
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    for cells, style in zip(fitted.cells, styles, strict=True):
        table.add_row(*(literal(cell) for cell in cells), style=style)
    for name, value in run_lines(comparison):
        console.print(f"[bold]{name}[/bold]  {literal(value)}", soft_wrap=True, highlight=False)
    if fitted.cells:
        console.print(table)
        if missing := human.left_out(fitted, "-o FILE.md"):
            console.print(literal(missing), style="dim", highlight=False)
        if any(change and change.metric == LATENCY for _, change in _rows_shown(comparison, every)):
            console.print(legend_text(comparison), style="dim", highlight=False, markup=False)
    for note in closing_lines(comparison, every):
        console.print(f"- {literal(note)}", highlight=False)
    console.print(f"\n{literal(summary(comparison))}", highlight=False)


def run_lines(comparison: Comparison) -> list[tuple[str, str]]:
    """Return A and B with recipe, run and date."""
    opened = comparison.opened
    sides = zip("AB", (opened.a, opened.b), opened.plans, strict=True)
    return [
        (name, f"{plan.recipe}, {run.folder.name}, {plan.created}") for name, run, plan in sides
    ]


def closing_lines(comparison: Comparison, every: bool) -> list[str]:
    """Return the notes below the table."""
    notes = list(comparison.notes)
    hidden = sum(
        change.verdict is Verdict.SAME for row in comparison.rows for change in row.changes
    )
    if hidden and not every:
        notes.append(
            f"{hidden} values that are the same in A and B are not shown, and raw times where "
            "speed-ups say the same of them; --all shows all."
        )
    return notes
