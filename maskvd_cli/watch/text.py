"""The state of a running sweep for people and for programs: a live table, lines, JSON events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from maskvd_cli.core.counts import SHARE
from maskvd_cli.core.shown import shown
from maskvd_cli.judge.labels import short_labels
from maskvd_cli.judge.legend import Legend
from maskvd_cli.render.safe_console import literal
from maskvd_cli.render.tables import Column, HumanTable
from maskvd_cli.store.schema import PlannedPoint, StoredQuantity
from maskvd_cli.watch.pace import time_left
from maskvd_cli.watch.progress import Snapshot, Step, StepName, shown_quantities

_GAP = 2
# Lines of the header, the table's own, and the prompt below.
_AROUND = 10
_DAY = 86_400
_NARROWEST_NAME = 12
_FEWEST_ROWS = 1
_STYLES = {"failed": "red", "damaged": "red", "pending": "dim", "done": "green"}


def duration(seconds: float) -> str:
    """Return seconds as `45 s`, `12 min`, `3 h 05 min` or `3 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:.0f} days"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def status_of(snapshot: Snapshot, point: PlannedPoint) -> str:
    """Return done, failed, damaged, pending, running, or how many passes have ended."""
    point_step = snapshot.steps.get(("point", point.key))
    if (of := _running(snapshot, point)) is not None:
        mark = "" if snapshot.sweep == "running" else "?"
        return f"running{'' if of == 'point' else f' {of}'}{mark}"
    if point_step is None:
        return "pending"
    if point_step.status != "ok":
        return point_step.status
    passes = [snapshot.steps.get((of, point.key)) for of in snapshot.passes]
    if any(step is not None and step.status != "ok" for step in passes):
        return "failed"
    ended = sum(step is not None for step in passes)
    return "done" if ended == len(passes) else f"{ended} of {len(passes)} passes"


def _running(snapshot: Snapshot, point: PlannedPoint) -> StepName | None:
    """Return the step that a sweep at work does with the point now; latency takes all at once."""
    current = snapshot.current
    if current is None or snapshot.sweep == "not running here":
        return None
    of, first = current
    at_work = snapshot.left(of) if of == "latency" else [first]
    return of if point.key in {other.key for other in at_work} else None


def headline(snapshot: Snapshot) -> list[str]:
    """Return the lines above the table: counts, times, whether a sweep is at work."""
    plan, run = snapshot.plan, snapshot.run
    counts = [
        f"{'points' if of == 'point' else of} "
        f"{len(snapshot.expected(of)) - len(snapshot.left(of))}/{len(snapshot.expected(of))}"
        for of in snapshot.kinds
    ]
    failed = f", {len(snapshot.failed)} FAILED" if snapshot.failed else ""
    return [
        f"{plan.recipe}  {run.folder.name}",
        f"{' · '.join(counts)}{failed}",
        f"{duration(snapshot.elapsed)} since the plan · {_left(snapshot)}",
        _sweep(snapshot),
    ]


def _left(snapshot: Snapshot) -> str:
    if snapshot.done == snapshot.total:
        return "nothing left"
    rest = time_left(snapshot)
    if rest.seconds is None:
        return "time left unknown yet"
    without = f", without {', '.join(rest.without)}" if rest.without else ""
    return f"about {duration(rest.seconds)} left (estimate{without})"


def _sweep(snapshot: Snapshot) -> str:
    age = duration(max(0.0, snapshot.now - snapshot.last_written))
    if snapshot.sweep == "running":
        return f"the sweep is running, last file {age} ago"
    if snapshot.done == snapshot.total:
        return "all done"
    if snapshot.sweep == "unknown":
        return f"it is not known here whether the sweep is running; last file {age} ago"
    return f"no sweep is writing from this machine, last file {age} ago"


def live_table(snapshot: Snapshot, console: Console) -> RenderableType:
    """Return header and table, with as many columns and rows as the terminal has room for."""
    human, styles = _table(snapshot, max(_FEWEST_ROWS, console.height - _AROUND))
    fitted = human.fitted(console.width, _GAP)
    rest = HumanTable(fitted.columns[1:], [row[1:] for row in fitted.cells]).width(_GAP)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for number, column in enumerate(fitted.columns):
        # One line for each point, so that the rows that were picked fit; names give way first.
        table.add_column(
            column.header,
            justify="left" if column.text else "right",
            no_wrap=True,
            overflow="ellipsis",
            max_width=None if number else max(_NARROWEST_NAME, console.width - rest - _GAP),
        )
    for cells, style in zip(fitted.cells, styles, strict=True):
        table.add_row(*(literal(cell) for cell in cells), style=style)
    hidden = len(snapshot.plan.points) - len(human.cells)
    more = [Text(f"and {hidden} more", style="dim")] if hidden else []
    first, *others = headline(snapshot)
    lines = [Text(shown(first), style="bold"), *(Text(shown(line)) for line in others)]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines, table, *more)


def _table(snapshot: Snapshot, room: int) -> tuple[HumanTable, list[str | None]]:
    seen = _shown(snapshot)
    columns = [
        Column("point", "point", str, text=True, wraps=38),
        Column("status", "status", str, text=True),
    ]
    columns += [
        Column(quantity.name, quantity.header, str, spare=quantity.spare) for _, quantity in seen
    ]
    names = short_labels(point.label for point in snapshot.plan.points)
    points = _window(snapshot, room)
    cells: list[list[str]] = []
    styles: list[str | None] = []
    for point in points:
        status = status_of(snapshot, point)
        values = [_value(snapshot, point.key, of, quantity) for of, quantity in seen]
        cells.append([shown(names[point.label]), status, *values])
        styles.append(_STYLES.get(status))
    return HumanTable(tuple(columns), cells), styles


def _window(snapshot: Snapshot, room: int) -> list[PlannedPoint]:
    """Return the points around the current one, where not all have room."""
    points = list(snapshot.plan.points)
    current = snapshot.current
    at = points.index(current[1]) if current else len(points) - 1
    first = max(0, min(at - room // 2, len(points) - room))
    return points[first : first + room]


def _shown(snapshot: Snapshot) -> list[tuple[StepName, StoredQuantity]]:
    """Return the quantities that have a column, each with the kind of step that yields it."""
    kinds = ((of, shown_quantities(snapshot.plan, of)) for of in snapshot.kinds)
    return [(of, quantity) for of, quantities in kinds for quantity in quantities]


def _value(snapshot: Snapshot, key: str, of: StepName, quantity: StoredQuantity) -> str:
    step = snapshot.steps.get((of, key))
    if step is None:
        return ""
    if step.status != "ok":
        return step.status
    value = step.values.get(quantity.name)
    return "" if value is None else Legend(snapshot.plan).text(quantity.name, value)


def step_lines(snapshot: Snapshot) -> Iterator[str]:
    """Yield a line for each step that has ended since the last look."""
    before = snapshot.done - len(snapshot.new)
    for number, step in enumerate(snapshot.new, start=before + 1):
        text = f"{step.of:<8}  {step.label}: {_said(snapshot, step)}"
        yield f"{max(0, number)}/{snapshot.total}  {text}"


def _said(snapshot: Snapshot, step: Step) -> str:
    if step.status != "ok":
        return f"{step.status.upper()}: {step.reason}"
    legend = Legend(snapshot.plan)
    values = [_phrase(legend, name, v) for name, v in step.values.items() if v is not None]
    return ", ".join(values) or "done"


def _phrase(legend: Legend, name: str, value: float) -> str:
    """Return a value with its unit and name, as `peak 50 MiB` or `1.20 GMACs`."""
    text, quantity = legend.text(name, value), legend.quantities[name]
    unit = "%" if quantity.unit == SHARE else quantity.unit
    noun = quantity.header.removesuffix(unit).strip()
    if not unit:
        return f"{text} {noun}"
    amount = f"{text}{unit}" if unit == "x" else f"{text} {unit}".strip()
    return f"{noun} {amount}".strip()


def step_event(snapshot: Snapshot, step: Step) -> dict[str, Any]:
    """Return a step that has ended as a JSON object."""
    return {
        "event": "point" if step.of == "point" else "pass",
        "pass": None if step.of == "point" else step.of,
        "key": step.key,
        "label": step.label,
        "status": step.status,
        "reason": step.reason,
        "values": step.values,
        "seconds": step.seconds,
        "taken_over": step.taken_over,
        "done": snapshot.done,
        "total": snapshot.total,
    }


def state_event(event: str, snapshot: Snapshot) -> dict[str, Any]:
    """Return where the run stands as a JSON object."""
    left = time_left(snapshot)
    return {
        "event": event,
        "run": str(snapshot.run.folder),
        "recipe": snapshot.plan.recipe,
        "points": len(snapshot.plan.points),
        "done": snapshot.done,
        "total": snapshot.total,
        "failed": len(snapshot.failed),
        "sweep": snapshot.sweep,
        "elapsed_s": round(snapshot.elapsed, 1),
        "left_s_estimate": None if left.seconds is None else round(left.seconds, 1),
        "left_without": list(left.without),
    }
