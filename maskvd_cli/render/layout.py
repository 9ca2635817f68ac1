"""How a report's table lies on a terminal: which columns, how wide, and what moves to a line above.

Where not all have room, what few need goes first. Then model and input become a line above the rows
that they hold for, and headers and intervals are folded. Only then go the columns that tell what a
point is worth.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table

from maskvd_cli.render.safe_console import literal
from maskvd_cli.render.tables import HumanTable

_GAP = 2
_ABOVE = ("model", "input")
_STYLES = {"failed": "red", "pending": "dim"}


@dataclass(frozen=True)
class TableLayout:
    """The table that fits; of each row what stands above it, or nothing; what is left out."""

    table: HumanTable
    above: Sequence[str]
    widths: Sequence[int]
    left_out: str


def laid_out(whole: HumanTable, width: int) -> TableLayout:
    """Return how a table lies in lines of `width` characters."""
    table, above, rest = whole.roomy(width, _GAP), [""] * len(whole.cells), whole
    if table.width(_GAP) > width:
        rest, above = _lifted(whole)
        table = rest.fitted(width, _GAP, fold_headers=True)
    return TableLayout(table, above, table.widths(width, _GAP), rest.left_out(table))


def _lifted(whole: HumanTable) -> tuple[HumanTable, list[str]]:
    """Return the table without model and input, and these as a text for each row."""
    kept = [i for i, column in enumerate(whole.columns) if column.source not in _ABOVE]
    gone = [i for i in range(len(whole.columns)) if i not in kept]
    cells = [[row[i] for i in kept] for row in whole.cells]
    above = [", ".join(row[i] for i in gone if row[i]) for row in whole.cells]
    return HumanTable(tuple(whole.columns[i] for i in kept), cells), above


def print_layout(layout: TableLayout, states: Sequence[str], console: Console) -> None:
    """Print the table; `states`: of each row, which decide its style."""
    rows = list(zip(layout.above, layout.table.cells, states, strict=True))
    if not any(layout.above):
        console.print(_table(layout, [row[1:] for row in rows]))
        return
    console.print(_table(layout, []))
    for number, (above, inside) in enumerate(groupby(rows, key=lambda row: row[0])):
        if number:
            console.print()
        console.print(f"[bold]{literal(above)}[/bold]", highlight=False)
        console.print(_table(layout, [row[1:] for row in inside], header=False))


def _table(
    layout: TableLayout, rows: Sequence[tuple[Sequence[str], str]], *, header: bool = True
) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), show_header=header,
        show_edge=False,
    )  # fmt: skip
    for column, width in zip(layout.table.columns, layout.widths, strict=True):
        folded = textwrap.wrap(column.header, width) if column.folds else [column.header]
        table.add_column(
            "\n".join(map(literal, folded)),
            justify="left" if column.text else "right",
            no_wrap=not (column.wraps or column.cut),
            width=width,
            overflow="fold" if column.wraps or column.cut else "ellipsis",
        )
    for cells, state in rows:
        table.add_row(*(literal(cell) for cell in cells), style=_STYLES.get(state))
    return table
