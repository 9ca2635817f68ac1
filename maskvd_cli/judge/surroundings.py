"""Rows that were measured under other conditions than the newest of their run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskvd_cli.core.words import counted
from maskvd_cli.judge.measured import MeasuredPoint
from maskvd_cli.store.measured import MeasuredRecord


def other_conditions(points: Sequence[MeasuredPoint]) -> list[str | None]:
    """Return for each point what of its conditions differs from the newest, such as `latency: gpu`.

    Compared are the conditions that both records hold; None where none differs.
    """
    newest: dict[str, MeasuredRecord] = {}
    for record in (record for point in points for record in point.records):
        if record.of not in newest or record.finished > newest[record.of].finished:
            newest[record.of] = record
    return ["; ".join(_apart(point, newest)) or None for point in points]


def _apart(point: MeasuredPoint, newest: dict[str, MeasuredRecord]) -> Iterator[str]:
    for record in point.records:
        new = newest[record.of].conditions
        names = [
            name
            for name, value in record.conditions.items()
            if value is not None and new.get(name) not in (None, value)
        ]
        if names:
            yield f"{record.of}: {', '.join(names)}"


def condition_notes(marks: Sequence[str | None]) -> Iterator[str]:
    """Yield the note on rows that were measured under other conditions."""
    marked = [mark for mark in marks if mark is not None]
    if marked:
        yield (
            f"{counted(len(marked), 'point')} of {len(marks)} stood under other conditions than "
            f"the newest of the run ({' / '.join(dict.fromkeys(marked))}): do not compare their "
            "times and memory with those of the others."
        )
