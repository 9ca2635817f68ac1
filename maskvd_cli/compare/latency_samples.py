"""Raw samples of latency sessions, checked, and resampled for intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.compare.pairing import Side
from maskvd_cli.core.errors import ResultError
from maskvd_cli.metrics.statistics import resampled, rounds_drawn, stratum_weights
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.reading import is_regular
from maskvd_cli.store.runs import Run

RESAMPLES, SEED = 1000, 0
_DENSE = "dense"
_COLUMNS = ("series", "round", "frame", "is_full", "total_ms")
_LARGEST = 256 << 20
Values = NDArray[np.float64]
# Time and whether the frame was full, by round and frame.
Series = dict[tuple[int, int], tuple[float, bool]]


class Sessions:
    """The raw samples of a run's latency sessions, each read once.

    `damaged` gathers why samples cannot be read; what needs them then does without.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._read: dict[str, dict[str, Series]] = {}
        self.damaged: list[ResultError] = []

    def samples(self, session: str, record: MeasuredRecord | None = None) -> dict[str, Series]:
        """Return a session's samples by series; none where they are absent or damaged.

        `record`: one that names the session.
        """
        if session not in self._read:
            self._read[session] = {}
            try:
                self._read[session] = self._checked(session, record)
            except ResultError as error:
                self.damaged.append(error)
        return self._read[session]

    def _checked(self, session: str, record: MeasuredRecord | None) -> dict[str, Series]:
        place = self._run.folder / "measured" / "latency" / f"session-{session}.parquet"
        damaged = ResultError("no raw samples of latency", where=place, remedy="sweep again")
        if is_regular(place) and place.stat().st_size > _LARGEST:
            raise damaged
        table = self._run.session(session, record)
        if not set(_COLUMNS) <= set(table.columns):
            raise damaged
        found: dict[str, Series] = {}
        columns: list[list[Any]] = [table[name].to_numpy().tolist() for name in _COLUMNS]
        for name, number, frame, full, total in zip(*columns, strict=True):
            if not (isinstance(total, float) and np.isfinite(total) and total > 0):
                raise damaged
            series = found.setdefault(str(name), {})
            if (number, frame) in series:
                raise damaged
            series[number, frame] = (total, bool(full))
        return found


@dataclass(frozen=True)
class Timed:
    """Times of one point and of its session's dense on the same frames; None without one.

    `rounds` (n,) tells in which round; `weights` (n,) sum to 1 and weigh full and masked frames as
    in all of the data.
    """

    own: Values
    dense: Values | None
    rounds: NDArray[np.int64]
    weights: Values

    @property
    def mean_ms(self) -> float:
        """The weighted mean."""
        return float((self.weights * self.own).sum())

    @property
    def speedup(self) -> float | None:
        """The weighted mean of dense / that of the point; None without dense."""
        if self.dense is None:
            return None
        return float((self.weights * self.dense).sum()) / self.mean_ms

    @property
    def drawn(self) -> str:
        """What is resampled, and how many of them there are."""
        rounds = rounds_drawn(self.rounds)
        return f"{rounds} rounds" if rounds else f"{len(self.own)} frames"

    def resampled(self, stream: int) -> Resampled:
        """Draw rounds, or few rounds' frames; `stream` keeps the draws of two runs apart."""
        order = self.own.argsort()
        beside = np.full(len(self.own), np.nan) if self.dense is None else self.dense
        parts: list[Values] = []
        draws = resampled(self.weights, self.rounds, resamples=RESAMPLES, seed=(SEED, stream))
        for times, weights in draws:
            mean = weights @ self.own
            reached = times[:, order].cumsum(1) * 2 >= times.sum(1, keepdims=True)
            median = self.own[order][reached.argmax(1)]
            parts.append(np.stack([mean, mean / (weights @ beside), median]))
        return Resampled(*np.concatenate(parts, axis=1))


@dataclass(frozen=True)
class Resampled:
    """Of every resample the mean, the mean / dense's (NaN without dense), and the median."""

    mean: Values
    cost: Values
    median: Values


def timed(side: Side, sessions: Sessions) -> Timed | None:
    """Return the raw samples of a point, None where there are none or they cannot be read."""
    record = next((record for record in side.passes.records if record.latency), None)
    samples: dict[str, Series] = {}
    if record is not None and record.latency is not None:
        samples = sessions.samples(record.latency.session, record)
    name = side.planned.key if side.planned.key in samples else _DENSE
    own, dense = samples.get(name), samples.get(_DENSE, {})
    if own is None:
        return None
    totals = np.array([total for total, _ in own.values()])
    full = np.array([is_full for _, is_full in own.values()], dtype=np.bool_)
    beside: Values | None = None
    if name != _DENSE and own.keys() <= dense.keys():
        beside = np.array([dense[place][0] for place in own])
    metrics = side.record.metrics if side.record else None
    weights = stratum_weights(full, metrics.full_frame_share if metrics else None)
    return Timed(totals, beside, np.array([number for number, _ in own], dtype=np.int64), weights)
