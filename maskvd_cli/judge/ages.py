"""The headline by frame age: how far results grow stale after a full frame."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.rows import Report


@dataclass(frozen=True)
class Age:
    """The frames that lie `first` to `last` frames after the last full one, and their score.

    `last` is None where there is no end, `score` the headline on these frames alone, None where
    nothing on them counts.
    """

    first: int
    last: int | None
    frames: int
    objects: int
    score: float | None


def ages_of(report: Report, key: str) -> list[Age]:
    """Return a point's scores by age, none where the headline's metric does not tell them.

    A damaged file has none, and stands among the report's warnings.
    """
    headline = report.legend.quantities.get(report.legend.headline or "")
    if headline is None:
        return []
    try:
        record = report.run.measured(headline.of, key)
    except ResultError:
        return []
    if record is None or record.status != "ok":
        return []
    return [
        Age(age.first, age.last, age.frames, age.objects, age.score(headline.name))
        for age in record.known_details.by_age
    ]
