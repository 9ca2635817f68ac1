"""How far points keep the same tokens of the same frames, and whether that goes with accuracy.

A point's pieces say in which share of its layers each token of a frame was recomputed. The overlap
of two points on a frame is sum min / sum max over tokens, the Jaccard index where shares are 0 or
1; frames on which either recomputes everything are left out. Sets that know nothing of each other
overlap too, the more the larger they are: of shares whose means are p and q, by pq / (p + q - pq).
`beyond` is what is left of that, (overlap - chance) / (1 - chance).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.rows import Report
from maskvd_cli.store.piece import KEPT, WHOLE
from maskvd_cli.store.schema import PointRecord

# Fewer points than these make no line.
_FEWEST = 4


@dataclass(frozen=True)
class Overlap:
    """Two points on one model and input: names, frames compared, and means over these frames.

    `change`: by how much the headline of the first is above that of the second; None: not known.
    """

    first: str
    second: str
    frames: int
    overlap: float
    chance: float
    change: float | None

    @property
    def beyond(self) -> float:
        """How far the overlap goes beyond that of sets that know nothing of each other."""
        return (self.overlap - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0


@dataclass(frozen=True)
class Correlation:
    """Whether points that overlap more with `reference` lose less: rank correlation over `points`.

    `rank` is Spearman's, of overlap beyond chance with the change of the headline against the
    baseline, better upwards: above 0 they do. `reference` None: over pairs, with the size of the
    difference between the two: below 0, points that keep the same are more alike.
    """

    reference: str | None
    points: int
    rank: float


@dataclass(frozen=True)
class KeptSets:
    """The overlaps of all pairs, by falling overlap beyond chance, and what goes with them.

    `left_out`: points whose kept sets are not stored, and why.
    """

    overlaps: tuple[Overlap, ...]
    correlations: tuple[Correlation, ...]
    left_out: tuple[str, ...]


def kept_sets(report: Report) -> KeptSets:
    """Compare the kept sets of all points that have them, on each model and input by itself.

    Raises ResultError where there are no two points to compare.
    """
    overlaps: list[Overlap] = []
    correlations: list[Correlation] = []
    left_out: list[str] = []
    rows = report.records()
    sites = dict.fromkeys((row["model"], row["input"]) for row in rows)
    for site in sites:
        here = [
            place for place, row in enumerate(rows) if (row["model"], row["input"]) == site
            and not report.legend.is_baseline(row)
        ]  # fmt: skip
        readers, why = _readers(report, rows, here)
        left_out += why
        overlaps += (made := list(_overlaps(report, rows, readers)))
        correlations += _correlations(report, rows, readers, made)
    if not overlaps:
        raise ResultError(
            "has kept sets of no two points on one model",
            where=report.run.folder,
            remedy="sweep with model.weights, several points, and this version of maskvd",
        )
    ranked = sorted(overlaps, key=lambda one: -one.beyond)
    return KeptSets(tuple(ranked), tuple(correlations), tuple(left_out))


@dataclass(frozen=True)
class _Reader:
    """A point's kept sets, clip by clip."""

    report: Report
    row: int
    key: str
    clips: int

    def clip(self, number: int) -> NDArray[np.uint8]:
        return self.report.run.piece(self.key, number).arrays[KEPT]


def _readers(
    report: Report, rows: Sequence[dict[Any, Any]], here: Sequence[int]
) -> tuple[list[_Reader], list[str]]:
    readers: list[_Reader] = []
    why: list[str] = []
    for row in here:
        key, name = str(rows[row]["key"]), report.names[row]
        try:
            record = report.run.point(key)
            if not isinstance(record, PointRecord) or not record.pieces:
                why.append(f"{name}: the model did not run")
            elif KEPT not in report.run.piece(key, 0).arrays:
                why.append(f"{name}: does not tell its tokens, or was run before they were stored")
            else:
                readers.append(_Reader(report, row, key, record.pieces))
        except ResultError as error:
            why.append(f"{name}: {error}")
    return readers, why


def _overlaps(
    report: Report, rows: Sequence[dict[Any, Any]], readers: Sequence[_Reader]
) -> Iterator[Overlap]:
    pairs = list(combinations(range(len(readers)), 2))
    sums = np.zeros((len(pairs), 3))
    for number in range(min((reader.clips for reader in readers), default=0)):
        clips = [reader.clip(number) for reader in readers]
        means = [clip.mean(1, dtype=np.float64) / WHOLE for clip in clips]
        for place, (one, other) in enumerate(pairs):
            sums[place] += _compared(clips[one], clips[other], means[one], means[other])
    headline = report.legend.headline
    for (one, other), (frames, overlap, chance) in zip(pairs, sums.tolist(), strict=True):
        if frames:
            first, second = readers[one].row, readers[other].row
            values = [None if headline is None else rows[row][headline] for row in (first, second)]
            known = [float(value) for value in values if value is not None]
            change = known[0] - known[1] if len(known) == len(values) else None
            yield Overlap(
                report.names[first], report.names[second], int(frames),
                overlap / frames, chance / frames, change,
            )  # fmt: skip


def _compared(
    one: NDArray[np.uint8],
    other: NDArray[np.uint8],
    p: NDArray[np.float64],
    q: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Return how many frames of a clip are compared, and their sums of overlap and chance."""
    told = (p < 1) & (q < 1) & (p + q > 0)
    if not told.any():
        return 0.0, 0.0, 0.0
    p, q = p[told], q[told]
    both = np.minimum(one[told], other[told]).mean(1, dtype=np.float64) / WHOLE
    overlap = both / (p + q - both)
    chance = p * q / (p + q - p * q)
    return float(told.sum()), float(overlap.sum()), float(chance.sum())


def _correlations(
    report: Report,
    rows: Sequence[dict[Any, Any]],
    readers: Sequence[_Reader],
    overlaps: Sequence[Overlap],
) -> Iterator[Correlation]:
    """Yield that over pairs, then one for each control as the reference."""
    known = [pair for pair in overlaps if pair.change is not None]
    if len(known) >= _FEWEST:
        sizes = [abs(pair.change) for pair in known if pair.change is not None]
        yield Correlation(None, len(known), spearman([pair.beyond for pair in known], sizes))
    column = report.legend.change
    changes = {report.names[reader.row]: rows[reader.row].get(column) for reader in readers}
    better = 1.0 if report.legend.more_is_better else -1.0
    for reader in readers:
        if str(rows[reader.row]["method"]) not in report.legend.controls:
            continue
        name = report.names[reader.row]
        beyond = {
            pair.second if pair.first == name else pair.first: pair.beyond
            for pair in overlaps
            if name in (pair.first, pair.second)
        }
        told = [
            (beyond[other], better * change)
            for other, change in changes.items()
            if other in beyond and change is not None
        ]
        if len(told) >= _FEWEST:
            yield Correlation(name, len(told), spearman(*zip(*told, strict=True)))


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the rank correlation of two series, ties at their mean rank; 0: one is constant."""
    ranks = [_ranks(np.asarray(series, dtype=np.float64)) for series in (first, second)]
    centred = [series - series.mean() for series in ranks]
    size = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / size if size else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return ((last - count + last - 1) / 2)[place]
