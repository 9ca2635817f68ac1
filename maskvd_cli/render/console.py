"""A report on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maskvd_cli.judge.facts import closing_notes, facts
from maskvd_cli.judge.paper_check import paper_checks, tally
from maskvd_cli.judge.rows import Report
from maskvd_cli.judge.verdicts import method_verdicts, summary
from maskvd_cli.render.tables import human_table

_GAP = 2


def print_report(report: Report, console: Console) -> None:
    """Print table, legend, verdict, notes and provenance; narrow terminals get fewer columns."""
    whole = human_table(report)
    human = whole.fitted(console.width, _GAP)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for index, column in enumerate(human.columns):
        least = column.least_width([row[index] for row in human.cells])
        side = "left" if column.text else "right"
        table.add_column(
            column.header,
            justify=side,
            no_wrap=not column.wraps,
            min_width=least if column.wraps else None,
            overflow="fold" if column.wraps else "ellipsis",
        )
    console.print(f"[bold]{escape(report.plan.recipe)}[/bold]")
    for row, status in zip(human.cells, report.rows["status"], strict=True):
        style = {"failed": "red", "pending": "dim"}.get(str(status))
        table.add_row(*(escape(cell) for cell in row), style=style)
    console.print(table)
    console.print(escape(human.legend), style="dim", highlight=False)
    if missing := whole.left_out(human):
        console.print(escape(missing), style="dim", highlight=False)
    _print_verdict(report, console)
    for note in closing_notes(report):
        console.print(f"- {escape(note)}", highlight=False)
    console.print()
    for name, value in facts(report):
        console.print(f"[dim]{name:>10}[/dim]  {escape(value)}", soft_wrap=True, highlight=False)


def _print_verdict(report: Report, console: Console) -> None:
    """Print what the report comes to, a line per method, and what became of the papers' values."""
    console.print()
    if sentence := summary(report):
        console.print(f"[bold]verdict[/bold]  {escape(sentence)}", highlight=False)
    for verdict in method_verdicts(report):
        console.print(f"- {escape(verdict.sentence)}", highlight=False)
    if checked := tally(paper_checks(report)):
        console.print(f"[bold]paper check[/bold]  {escape(checked)}", highlight=False)
    console.print()
