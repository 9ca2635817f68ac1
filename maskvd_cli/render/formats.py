"""One report in the formats that people paste: Markdown, CSV, JSON, LaTeX."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import pandas as pd

from maskvd_cli.core.shown import shown
from maskvd_cli.judge.facts import closing_notes, facts
from maskvd_cli.judge.paper_check import paper_checks, tally
from maskvd_cli.judge.rows import Report
from maskvd_cli.judge.savings import savings
from maskvd_cli.judge.spread import spreads
from maskvd_cli.judge.verdicts import PointVerdict, method_verdicts, point_verdicts, summary
from maskvd_cli.render.escaping import inert_text, markdown_text
from maskvd_cli.render.sections import ReportSection, analysis
from maskvd_cli.render.tables import human_table

# A bracket or a star that begins a row would be an option of the line break before it.
_TEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    **{mark: f"{{{mark}}}" for mark in "[]*"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def to_markdown(report: Report) -> str:
    """Return title, table, legend, verdict, notes and provenance as GitHub Markdown."""
    table = human_table(report)
    lines = [
        f"# {markdown_text(report.plan.recipe)}",
        "",
        *_md_table(table.headers, table.cells, [column.text for column in table.columns]),
        "",
        markdown_text(table.legend),
        "",
        *(line for section in analysis(report) for line in _md_section(section)),
        *(["## Notes and provenance", ""] if analysis(report) else []),
        *(f"- {markdown_text(note)}" for note in closing_notes(report)),
        "",
        "| | |",
        "| :-- | :-- |",
        *(f"| {name} | {markdown_text(value)} |" for name, value in facts(report)),
    ]
    return "\n".join(lines) + "\n"


def _md_table(headers: list[str], cells: list[list[str]], text: list[bool]) -> list[str]:
    """Return the lines of a table; `text`: which columns hold no numbers."""
    rule = [" :-- " if words else " --: " for words in text]
    return [
        "| " + " | ".join(markdown_text(header) for header in headers) + " |",
        "|" + "|".join(rule) + "|",
        *("| " + " | ".join(markdown_text(cell) for cell in row) + " |" for row in cells),
    ]


def _md_section(section: ReportSection) -> list[str]:
    lines = [f"## {markdown_text(section.title)}", ""]
    if section.lead:
        lines += [markdown_text(section.lead), ""]
    if section.cells:
        lines += [*_md_table(section.headers, section.cells, section.text), ""]
    if section.lines:
        lines += [*(f"- {markdown_text(line)}" for line in section.lines), ""]
    return [*lines, markdown_text(section.legend), ""]


def to_csv(report: Report) -> str:
    """Return one row per point under fixed columns; empty where not measured.

    Text that a spreadsheet would take for a formula is quoted with an apostrophe.
    """
    rows = report.rows.map(_inert)
    return rows.to_csv(index=False, lineterminator="\n")


def _inert(value: object) -> object:
    return inert_text(value) if isinstance(value, str) else value


def to_json(report: Report) -> str:
    """Return rows with provenance as one JSON object; null where not measured."""
    content: dict[str, Any] = {
        "schema": 1,
        "recipe": report.plan.recipe,
        "run": report.run.folder.name,
        "facts": dict(facts(report)),
        "notes": closing_notes(report),
        "summary": summary(report),
        "point_verdicts": _verdicts(report, point_verdicts(report)),
        "method_verdicts": _verdicts(report, method_verdicts(report)),
        "spread": _records(spreads(report)),
        "savings": _records(savings(report)),
        "kept_sets": None if report.kept_sets is None else asdict(report.kept_sets),
        "paper_check": _records(paper_checks(report)),
        "environments": list(report.environments),
        "rows": report.records(),
    }
    return json.dumps(content, indent=2, allow_nan=False, default=_plain) + "\n"


def _records(results: Iterable[Any]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]


def _verdicts(report: Report, verdicts: Iterable[PointVerdict]) -> list[dict[str, Any]]:
    """Return verdicts with the change called as the rows' column is."""
    called = {"change": report.legend.change or "change"}
    records = _records(verdicts)
    return [{called.get(name, name): value for name, value in one.items()} for one in records]


def _plain(value: Any) -> Any:
    """Turn numpy scalars, which pandas rows hold, into Python's."""
    return value.item()


def to_latex(report: Report) -> str:
    """Return the table for LaTeX with booktabs, provenance as comments above it."""
    table = human_table(report)
    frame = pd.DataFrame(table.cells, columns=pd.Index(table.headers))
    frame.columns = [_tex(header) for header in table.headers]
    body = frame.map(_tex).to_latex(
        index=False,
        escape=False,
        column_format="".join("l" if column.text else "r" for column in table.columns),
    )
    comments = [f"% {name}: {_comment(value)}" for name, value in facts(report)]
    comments += [f"% verdict: {_comment(text)}" for text in _verdict_lines(report)]
    comments += [f"% {_comment(note)}" for note in closing_notes(report)]
    return "\n".join([*comments, "% needs \\usepackage{booktabs}", body])


def _verdict_lines(report: Report) -> list[str]:
    told = [summary(report), *(verdict.sentence for verdict in method_verdicts(report))]
    checked = tally(paper_checks(report))
    return [text for text in [*told, checked and f"paper check: {checked}"] if text]


def _comment(text: str) -> str:
    """Keep a comment on one line, so that nothing of it is typeset.

    TeX turns `^^M` and its like into the end of a line before it knows of comments.
    """
    return " ".join(shown(text).split()).replace("^", "^ ")


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in shown(text))


FORMATS: dict[str, Callable[[Report], str]] = {
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
}
