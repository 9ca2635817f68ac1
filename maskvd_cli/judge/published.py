"""Published numbers as data, and the row of a paper that answers for a point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from maskvd_cli.data.benchmarks import is_benchmark
from maskvd_cli.store.schema import PointRecord

# The parser in C, where PyYAML came with it, takes a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


QuantityName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Slip(_Data):
    """A published number that the paper's own other numbers or code contradict."""

    of: QuantityName
    text: str


class Elsewhere(_Data):
    """A published number of a point that nothing here can be compared with, and why.

    `of`: what it is of, in words with its unit; `table`: where it stands, None: in the row's own.
    """

    of: str
    value: float
    why: str
    table: str | None = None


class PaperRow(_Data):
    """A published point: method and parameters, its values by quantity, what to know about them."""

    point: dict[str, Any]
    values: dict[QuantityName, float] = Field(min_length=1)
    note: str | None = None
    slips: tuple[Slip, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()

    @model_validator(mode="after")
    def _slips_are_printed(self) -> Self:
        if absent := {slip.of for slip in self.slips} - set(self.values):
            raise ValueError(f"a slip of {', '.join(sorted(absent))}, which the row does not print")
        return self


class DataExtent(_Data):
    """On which model, clips and frames a table stands, how resized, and on which heatmap.

    `heatmap` holds what is known of it, `withheld_heatmap` why that is not enough to make it again;
    points without a static mask do not depend on it. `clips` and `frames` are those that a model
    runs over: looks and their steps, where it looks at videos; None where the paper does not tell,
    and then not compared.
    """

    model: str
    clips: int | None
    frames: int | None
    frame: str
    heatmap: dict[str, str] = {}
    withheld_heatmap: str | None = None


class PaperTable(_Data):
    """One published table for one setting.

    `incomparable`: why nothing that runs here can be compared with it, another task or detector;
    its rows then stand beside every point of their methods, and `where` and `data` say nothing.
    """

    table: str
    where: dict[str, str] = {}
    data: DataExtent | None = None
    gmacs_evaluated: Literal["per-frame", "at-mean-tokens"] = "per-frame"
    incomparable: str | None = None
    notes: tuple[str, ...] = ()
    rows: tuple[PaperRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_its_setting(self) -> Self:
        if (self.incomparable is None) != bool(self.where and self.data):
            raise ValueError("a table has where and data, or the reason in incomparable")
        return self


class Paper(_Data):
    """The tables of one paper, and what its latency and memory were measured on."""

    paper: str
    hardware: str | None = None
    tables: tuple[PaperTable, ...]


@dataclass(frozen=True)
class Match:
    """The published row for a point.

    `difference`: what of data and setting is not the paper's, None where all is;
    `video_difference` the same without the number of videos, for what each of them costs.
    `withheld`: what the point needs and the paper did not publish. `hardware`: what the paper
    measured on. `beside`: further rows of the paper for the same point, with other values.
    """

    paper: str
    table: PaperTable
    row: PaperRow
    difference: str | None
    withheld: str | None
    hardware: str | None
    video_difference: str | None = None
    beside: tuple[Match, ...] = ()

    @property
    def same_data(self) -> bool:
        """Whether data and setting are the paper's, as far as they are known."""
        return self.difference is None

    @property
    def source(self) -> tuple[str, str]:
        """Paper and table."""
        return self.paper, self.table.table

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of this row should know."""
        own = (*self.table.notes, *((self.row.note,) if self.row.note else ()))
        return (*own, *(note for other in self.beside for note in other.notes))


@cache
def papers() -> tuple[Paper, ...]:
    """Return all papers whose numbers come with maskvd, by file name."""
    folder = files("maskvd_cli.judge").joinpath("papers")
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    texts = [entry.read_text("utf-8") for entry in entries if entry.name.endswith(".yaml")]
    return tuple(Paper.model_validate(yaml.load(text, _LOADER)) for text in texts)


def matches(records: Sequence[PointRecord]) -> list[Match | None]:
    """Return for each point the published row with its setting, method and parameters, or None.

    Several tables may answer for one point, above all for the baseline: then one that can be
    compared is taken, that which answers for most points. Others of its paper stand beside it.
    """
    candidates = [list(_candidates(record)) for record in records]
    answered = Counter(match.source for found in candidates for match in found)

    def weight(match: Match) -> tuple[bool, int]:
        return match.table.incomparable is None, answered[match.source]

    chosen = [max(found, key=weight, default=None) for found in candidates]
    return [
        None if match is None else replace(match, beside=_beside(match, found))
        for match, found in zip(chosen, candidates, strict=True)
    ]


def _beside(chosen: Match, found: Sequence[Match]) -> tuple[Match, ...]:
    """Return the rows of the chosen one's paper that print other values."""
    return tuple(
        match
        for match in found
        if match.paper == chosen.paper and match.row.values != chosen.row.values
    )


def _candidates(record: PointRecord) -> Iterator[Match]:
    """Yield the first matching row of every published table.

    Nothing is published of own data in the layout of a published set, nor of an own heatmap.
    """
    dataset, model = record.setting["dataset"], record.setting["model"]
    heatmap: dict[str, Any] = record.setting["heatmap"] or {}
    if is_benchmark(dataset) is False or "file" in heatmap:
        return
    setting = {
        "dataset": dataset["name"],
        "split": dataset["split"],
        "protocol": dataset["protocol"],
        "input": model["input"],
        "backbone": model["backbone"],
    }
    if stride := dataset.get("frame_stride"):
        setting["frame_stride"] = str(stride)
    stated = {"method": record.method, **record.params}
    for paper in papers():
        for table in paper.tables:
            if table.incomparable is None and table.where != setting:
                continue
            for row in table.rows:
                if row.point.items() <= stated.items():
                    yield Match(
                        paper.paper,
                        table,
                        row,
                        difference=table.incomparable or _difference(record, table.data),
                        video_difference=table.incomparable
                        or _difference(record, table.data, extent=False),
                        withheld=_withheld(record, table.data),
                        hardware=paper.hardware,
                    )
                    break


def _withheld(record: PointRecord, data: DataExtent | None) -> str | None:
    """Return what the point needs and the paper did not publish."""
    return None if data is None or not record.setting["heatmap"] else data.withheld_heatmap


def _difference(record: PointRecord, data: DataExtent | None, *, extent: bool = True) -> str | None:
    """Return what of a point's data and setting is not the table's, None where all is.

    `extent`: whether it must stand on as many clips and frames, as far as the paper tells them.
    """
    metrics, model = record.metrics, record.setting["model"]
    if metrics is None or data is None:
        return "the point has not been run"
    parts: list[str] = []
    extents = ((metrics.clips, data.clips), (metrics.frames, data.frames))
    if model["name"] != data.model:
        parts.append(f"model {model['name']}, not {data.model}")
    if extent and any(theirs not in (None, ours) for ours, theirs in extents):
        parts.append(
            f"{metrics.clips} clips and {metrics.frames} frames, not {data.clips} and {data.frames}"
        )
    if model["frame"] != data.frame:
        parts.append(f"frames resized to {model['frame']}, not {data.frame}")
    measured: dict[str, Any] = record.setting.get("measured") or {}
    if measured.get("clip_boxes"):
        parts.append("boxes cut at the frame")
    heatmap: dict[str, Any] = record.setting["heatmap"] or data.heatmap
    other = [name for name, value in data.heatmap.items() if heatmap.get(name) != value]
    if other:
        parts.append(f"another heatmap ({', '.join(other)})")
    return "; ".join(parts) or None
