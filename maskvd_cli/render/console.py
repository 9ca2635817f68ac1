"""A report on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from maskvd_cli.judge.facts import closing_notes, facts
from maskvd_cli.judge.paper_check import paper_checks, tally
from maskvd_cli.judge.rows import Report
from maskvd_cli.judge.spread import sentences
from maskvd_cli.judge.verdicts import method_verdicts, summary
from maskvd_cli.render.layout import laid_out, print_layout
from maskvd_cli.render.safe_console import literal
from maskvd_cli.render.sections import ReportSection, kept_section
from maskvd_cli.render.tables import human_table


def print_report(report: Report, console: Console) -> None:
    """Print table, legend, verdict, notes and provenance; narrow terminals get fewer columns."""
    whole = human_table(report)
    layout = laid_out(whole, console.width)
    console.print(f"[bold]{literal(report.plan.recipe)}[/bold]\n")
    print_layout(layout, [str(state) for state in report.rows["status"]], console)
    console.print(f"\n{literal(layout.table.legend)}", style="dim", highlight=False)
    if layout.left_out:
        console.print(literal(layout.left_out), style="dim", highlight=False)
    _print_verdict(report, console)
    if (section := kept_section(report)) is not None:
        _print_section(section, console)
    for note in closing_notes(report):
        console.print(f"- {literal(note)}", highlight=False)
    console.print()
    for name, value in facts(report):
        console.print(f"[dim]{name:>10}[/dim]  {literal(value)}", soft_wrap=True, highlight=False)


def _print_section(section: ReportSection, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for header, words in zip(section.headers, section.text, strict=True):
        table.add_column(header, justify="left" if words else "right", overflow="fold")
    for row in section.cells:
        table.add_row(*map(literal, row))
    console.print(f"[bold]{literal(section.title.lower())}[/bold]")
    console.print(table)
    for line in section.lines:
        console.print(f"- {literal(line)}", highlight=False)
    console.print(literal(section.legend), style="dim", highlight=False)
    console.print()


def _print_verdict(report: Report, console: Console) -> None:
    """Print what the report comes to: a line per method and spread, what became of the papers'."""
    console.print()
    if told := summary(report):
        console.print(f"[bold]verdict[/bold]  {literal(told)}", highlight=False)
    for verdict in method_verdicts(report):
        console.print(f"- {literal(verdict.sentence)}", highlight=False)
    for spread in sentences(report):
        console.print(f"[bold]spread[/bold]  {literal(spread)}", highlight=False)
    if checked := tally(paper_checks(report)):
        console.print(f"[bold]paper check[/bold]  {literal(checked)}", highlight=False)
    console.print()
