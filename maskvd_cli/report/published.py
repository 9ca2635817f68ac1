"""Published numbers as data, and the row of a paper that answers for a point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from maskvd_cli.store.schema import PointRecord


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PaperValues(_Data):
    """What one row of a published table says; None where it does not say it."""

    tokens: float | None = None
    keep_rate: float | None = None
    gmacs: float | None = None
    map50: float | None = None
    latency_ms: float | None = None
    peak_mib: float | None = None


class PaperRow(_Data):
    """A published point: method and parameters, its values, and what to know about them."""

    point: dict[str, Any]
    values: PaperValues
    note: str | None = None


class DataExtent(_Data):
    """On how many clips and frames a table stands, how they were resized, and on which heatmap.

    `heatmap` holds what is known of it; points without a static mask do not depend on it.
    """

    clips: int
    frames: int
    frame: str
    heatmap: dict[str, str] = {}


class PaperTable(_Data):
    """One published table for one setting."""

    table: str
    where: dict[str, str]
    data: DataExtent
    gmacs_evaluated: Literal["per-frame", "at-mean-tokens"]
    notes: tuple[str, ...] = ()
    rows: tuple[PaperRow, ...] = Field(min_length=1)


class Paper(_Data):
    """The tables of one paper."""

    paper: str
    tables: tuple[PaperTable, ...]


@dataclass(frozen=True)
class Match:
    """The published row for a point; `same_data` tells whether data and setting are the paper's."""

    paper: str
    table: PaperTable
    row: PaperRow
    same_data: bool

    @property
    def source(self) -> tuple[str, str]:
        """Paper and table."""
        return self.paper, self.table.table

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of this row should know."""
        return (*self.table.notes, *((self.row.note,) if self.row.note else ()))


@cache
def papers() -> tuple[Paper, ...]:
    """Return all papers whose numbers come with maskvd, by file name."""
    folder = files("maskvd_cli.report").joinpath("papers")
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    texts = [entry.read_text("utf-8") for entry in entries if entry.name.endswith(".yaml")]
    return tuple(Paper.model_validate(yaml.safe_load(text)) for text in texts)


def matches(records: Sequence[PointRecord]) -> list[Match | None]:
    """Return for each point the published row with its setting, method and parameters, or None.

    Of several tables that answer for a point, dense above all, the one that answers for most of
    the points is taken.
    """
    candidates = [list(_candidates(record)) for record in records]
    answered = Counter(match.source for found in candidates for match in found)
    return [
        max(found, key=lambda match: answered[match.source], default=None) for found in candidates
    ]


def _candidates(record: PointRecord) -> Iterator[Match]:
    """Yield the first matching row of every published table."""
    dataset, model = record.setting["dataset"], record.setting["model"]
    setting = {
        "dataset": dataset["name"],
        "split": dataset["split"],
        "protocol": dataset["protocol"],
        "input": model["input"],
        "backbone": model["backbone"],
    }
    stated = {"method": record.method, **record.params}
    for paper in papers():
        for table in paper.tables:
            if table.where != setting:
                continue
            for row in table.rows:
                if row.point.items() <= stated.items():
                    yield Match(paper.paper, table, row, _same_data(record, table))
                    break


def _same_data(record: PointRecord, table: PaperTable) -> bool:
    metrics, data = record.metrics, table.data
    if metrics is None or (metrics.clips, metrics.frames) != (data.clips, data.frames):
        return False
    heatmap = record.setting["heatmap"]
    same_heatmap = heatmap is None or data.heatmap.items() <= heatmap.items()
    return same_heatmap and record.setting["model"]["frame"] == data.frame
