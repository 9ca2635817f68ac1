"""One report in the formats that people paste: Markdown, CSV, JSON, LaTeX."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from maskvd_cli.report.facts import closing_notes, facts
from maskvd_cli.report.rows import Report
from maskvd_cli.report.tables import human_table

_FREE_TEXT = ("label", "error", "params")


def to_markdown(report: Report) -> str:
    """Return title, table, legend, notes and provenance as GitHub Markdown."""
    table = human_table(report)
    rule = [" :-- " if column.text else " --: " for column in table.columns]
    lines = [
        f"# {_md(report.plan.recipe)}",
        "",
        "| " + " | ".join(_md(header) for header in table.headers) + " |",
        "|" + "|".join(rule) + "|",
        *("| " + " | ".join(_md(cell) for cell in row) + " |" for row in table.cells),
        "",
        _md(table.legend),
        "",
        *(f"- {_md(note)}" for note in closing_notes(report)),
        "",
        "| | |",
        "| :-- | :-- |",
        *(f"| {name} | {_md(value)} |" for name, value in facts(report)),
    ]
    return "\n".join(lines) + "\n"


def _md(text: str) -> str:
    """Escape what would break a table or turn into markup."""
    for mark in ("\\", "|", "`", "*", "_", "<", ">", "["):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def to_csv(report: Report) -> str:
    """Return one row per point under fixed columns; empty where not measured.

    Free text that a spreadsheet would take for a formula is quoted with an apostrophe.
    """
    rows = report.rows.copy()
    for column in _FREE_TEXT:
        rows[column] = rows[column].map(_inert, na_action="ignore")
    return rows.to_csv(index=False, lineterminator="\n")


def _inert(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def to_json(report: Report) -> str:
    """Return rows with provenance as one JSON object; null where not measured."""
    rows = report.rows.astype(object).where(report.rows.notna(), None)
    content: dict[str, Any] = {
        "schema": 1,
        "recipe": report.plan.recipe,
        "run": report.run.folder.name,
        "facts": dict(facts(report)),
        "notes": closing_notes(report),
        "environments": list(report.environments),
        "rows": rows.to_dict(orient="records"),
    }
    return json.dumps(content, indent=2, allow_nan=False, default=_plain) + "\n"


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
    comments = [f"% {name}: {' '.join(value.split())}" for name, value in facts(report)]
    comments += [f"% {note}" for note in closing_notes(report)]
    return "\n".join([*comments, "% needs \\usepackage{booktabs}", body])


def _tex(text: str) -> str:
    escaped = text.replace("\\", r"\textbackslash ")
    for mark in ("&", "%", "$", "#", "_", "{", "}"):
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


FORMATS: dict[str, Callable[[Report], str]] = {
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
}
