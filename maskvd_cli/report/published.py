"""Published numbers as data, and the row of a paper that answers for a point."""

from __future__ import annotations

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
    def notes(self) -> tuple[str, ...]:
        """What a reader of this row should know."""
        return (*self.table.notes, *((self.row.note,) if self.row.note else ()))


@cache
def papers() -> tuple[Paper, ...]:
    """Return all papers whose numbers come with maskvd."""
    folder = files("maskvd_cli.report").joinpath("papers")
    texts = [entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return tuple(Paper.model_validate(yaml.safe_load(text)) for text in texts)


def find(record: PointRecord) -> Match | None:
    """Return the published row with this point's setting, method and parameters, or None."""
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
                    return Match(paper.paper, table, row, _same_data(record, table))
    return None


def _same_data(record: PointRecord, table: PaperTable) -> bool:
    metrics, data = record.metrics, table.data
    if metrics is None or (metrics.clips, metrics.frames) != (data.clips, data.frames):
        return False
    heatmap = record.setting["heatmap"]
    same_heatmap = heatmap is None or data.heatmap.items() <= heatmap.items()
    return same_heatmap and record.setting["model"]["frame"] == data.frame
