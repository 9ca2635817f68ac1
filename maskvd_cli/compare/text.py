"""A comparison as text for files and programs: Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from maskvd_cli.compare.comparison import Comparison
from maskvd_cli.compare.table import (
    closing_lines,
    human_rows,
    legend_text,
    run_lines,
    summary,
)
from maskvd_cli.core.shown import shown
from maskvd_cli.render.escaping import inert_text, markdown_text

COLUMNS = (
    "label", "model", "input", "state", "metric", "old", "new", "difference", "ratio", "low",
    "high", "verdict", "basis", "key_a", "key_b",
)  # fmt: skip


def to_markdown(comparison: Comparison) -> str:
    """Return summary, the whole table, notes and the two runs as GitHub Markdown."""
    human, _ = human_rows(comparison, every=True)
    rule = [" :-- " if column.text else " --: " for column in human.columns]
    lines = [
        "# Comparison of two runs",
        "",
        *(f"- {name}: {markdown_text(value)}" for name, value in run_lines(comparison)),
        "",
        f"{markdown_text(summary(comparison))}.",
        "",
        "| " + " | ".join(human.headers) + " |",
        "|" + "|".join(rule) + "|",
        *("| " + " | ".join(map(markdown_text, row)) + " |" for row in human.cells),
        "",
        markdown_text(legend_text(comparison)),
        "",
        *(f"- {markdown_text(note)}" for note in closing_lines(comparison, every=True)),
    ]
    return shown("\n".join(lines).rstrip() + "\n", keep="\n")


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one record per point and metric (`COLUMNS`); None where there is no value."""
    found: list[dict[str, Any]] = []
    for row in comparison.rows:
        a, b = row.pair.a, row.pair.b
        shared: dict[str, Any] = {
            "label": row.label,
            "model": row.pair.some.model,
            "input": row.pair.some.input,
            "state": row.state,
            "key_a": a.planned.key if a else None,
            "key_b": b.planned.key if b else None,
        }
        for change in row.changes or (None,):
            made = dict.fromkeys(COLUMNS) | shared
            if change is not None:
                names = ("old", "new", "difference", "ratio", "low", "high", "basis")
                made |= {name: getattr(change, name) for name in names}
                made |= {"metric": change.metric.name, "verdict": change.verdict.value}
            found.append(made)
    return found


def to_csv(comparison: Comparison) -> str:
    """Return one row per point and metric; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records(comparison):
        values = (record[name] for name in COLUMNS)
        writer.writerow([inert_text(v) if isinstance(v, str) else v for v in values])
    return shown(text.getvalue(), keep="\n")


def json_content(comparison: Comparison) -> dict[str, Any]:
    """Return everything as one JSON object: runs, differences, notes, damaged files, rows."""
    opened = comparison.opened
    return {
        "schema": 1,
        "a": {"run": opened.a.folder.name, "recipe": opened.plans[0].recipe},
        "b": {"run": opened.b.folder.name, "recipe": opened.plans[1].recipe},
        "summary": summary(comparison),
        "differences": [
            {"kind": one.kind, "name": one.name, "a": one.old, "b": one.new, "points": one.points}
            for one in opened.differences
        ],
        "notes": list(comparison.notes),
        "damaged": list(comparison.damaged),
        "rows": records(comparison),
    }


def to_json(comparison: Comparison) -> str:
    """Return `json_content` as text; NaN is never written."""
    return json.dumps(json_content(comparison), indent=2, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[Comparison], str]] = {
    ".md": to_markdown,
    ".csv": to_csv,
    ".json": to_json,
}
