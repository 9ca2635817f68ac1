"""What is said of results whose intervals were made by older statistics."""

from __future__ import annotations

MARK = "older statistics"


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
