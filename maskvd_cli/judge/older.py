"""What is said of results whose values were made by older statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskvd_cli.core.words import counted
from maskvd_cli.judge.installed import estimator_of
from maskvd_cli.judge.measured import MeasuredPoint
from maskvd_cli.store.measured import MeasuredRecord

MARK = "older statistics"
_REMEDY = "A new sweep of the recipe makes them anew."


def older_statistics(what: str, stored: int | None, current: int, remedy: str) -> str | None:
    """Return the note on results of another version of the statistics; None for the current one.

    `what`: what they are, in the plural, as "speed-ups of 3 points". `stored`: the version that
    made them, None of records that do not tell. `remedy`: what makes them anew.
    """
    if stored == current:
        return None
    kind = MARK if stored is None or stored < current else "newer statistics"
    version = "of no known version" if stored is None else f"version {stored}"
    return (
        f"The {what} stand on {kind} ({version}, now {current}): their intervals are shown as they "
        f"were stored, and do not compare with those of now. {remedy}"
    )


def statistics_mark(point: MeasuredPoint) -> str | None:
    """Return the metrics of a point whose values are not of today's statistics, None for none."""
    return ", ".join(record.of for record in point.records if _is_other(record)) or None


def statistics_notes(points: Sequence[MeasuredPoint]) -> Iterator[str]:
    """Yield a note for each metric and version of its statistics that is not today's."""
    numbers: dict[tuple[str, int], int] = {}
    for record in (record for point in points for record in point.records if _is_other(record)):
        numbers[record.of, record.estimator] = numbers.get((record.of, record.estimator), 0) + 1
    for (of, stored), number in numbers.items():
        what = f"{of} values of {counted(number, 'point')}"
        note = older_statistics(what, stored or None, estimator_of(of) or 0, _REMEDY)
        if note is not None:
            yield note


def _is_other(record: MeasuredRecord) -> bool:
    """Tell whether a record has intervals, and other statistics than those of today made them."""
    if all(value.low is None and value.high is None for value in record.values.values()):
        return False
    return estimator_of(record.of) not in (None, record.estimator)
