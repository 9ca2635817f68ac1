"""A report on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskvd_cli.report.facts import closing_notes, facts
from maskvd_cli.report.rows import Report
from maskvd_cli.report.tables import human_table

_GAP = 2


def print_report(report: Report, console: Console) -> None:
    """Print table, legend, notes and provenance; narrow terminals get fewer columns."""
    human = human_table(report).fitted(console.width, _GAP)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for column in human.columns:
        side = "left" if column.text else "right"
        table.add_column(
            column.header,
            justify=side,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    console.print(f"[bold]{escape(report.plan.recipe)}[/bold]")
    for row, status in zip(human.cells, report.rows["status"], strict=True):
        style = {"failed": "red", "pending": "dim"}.get(str(status))
        table.add_row(*(escape(cell) for cell in row), style=style)
    console.print(table)
    console.print(escape(human.legend), style="dim", highlight=False)
    for note in closing_notes(report):
        console.print(f"- {escape(note)}", highlight=False)
    console.print()
    for name, value in facts(report):
        console.print(f"[dim]{name:>10}[/dim]  {escape(value)}", soft_wrap=True, highlight=False)
