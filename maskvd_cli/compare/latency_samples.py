"""Raw samples of latency sessions, checked, and how sure their means are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.compare.pairing import Side
from maskvd_cli.core.errors import ResultError
from maskvd_cli.metrics.statistics import Uncertain, log_mean
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.reading import is_regular
from maskvd_cli.store.runs import Run

# What sessions call the series that others are compared with.
_BASELINE = "baseline"
_COLUMNS = ("series", "round", "frame", "is_full", "total_ms")
_LARGEST = 256 << 20
# Time and whether the frame was full, by round and frame.
Series = dict[tuple[int, int], tuple[float, bool]]


class Sessions:
    """The raw samples of a run's latency sessions, each read once.

    `damaged` gathers why samples cannot be read; comparisons then do without them.
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
        by_name: dict[str, Series] = {}
        columns: list[list[Any]] = [table[name].to_numpy().tolist() for name in _COLUMNS]
        for name, number, frame, full, total in zip(*columns, strict=True):
            if not (isinstance(total, float) and np.isfinite(total) and total > 0):
                raise damaged
            series = by_name.setdefault(str(name), {})
            if (number, frame) in series:
                raise damaged
            series[number, frame] = (total, bool(full))
        return by_name


@dataclass(frozen=True)
class Timed:
    """Times in ms of one point, (n,), and of its session's baseline on the same frames.

    `baseline` is None without one. `rounds` (n,): the round of each frame. `full` (n,): whether it
    was full. `full_share`: the share of full frames in all of the data, None where unknown.
    """

    own: NDArray[np.float64]
    baseline: NDArray[np.float64] | None
    rounds: NDArray[np.int64]
    full: NDArray[np.bool_]
    full_share: float | None

    @property
    def number(self) -> int:
        """How many rounds were timed."""
        return len(np.unique(self.rounds))

    def log_mean(self) -> Uncertain | None:
        """Return the logarithm of the weighted mean; None where it cannot stand for all data."""
        return self._log_mean(None)

    def log_cost(self) -> Uncertain | None:
        """Return the logarithm of the weighted mean / the baseline's; None without either."""
        return None if self.baseline is None else self._log_mean(self.baseline)

    def _log_mean(self, below: NDArray[np.float64] | None) -> Uncertain | None:
        return log_mean(
            self.own, below, rounds=self.rounds, full=self.full, full_share=self.full_share
        )

    def log_median(self) -> Uncertain:
        """Return the logarithm of the median of all frames, as certain as the medians of rounds."""
        logs = np.log(self.own)
        parts = [np.median(logs[self.rounds == one]) for one in np.unique(self.rounds)]
        return Uncertain.mean(float(np.median(logs)), parts)


def timed(side: Side, sessions: Sessions) -> Timed | None:
    """Return the raw samples of a point, None where there are none or they cannot be read."""
    record = side.record_of("latency")
    samples: dict[str, Series] = {}
    if record is not None and (session := record.known_details.session) is not None:
        samples = sessions.samples(session, record)
    name = side.planned.key if side.planned.key in samples else _BASELINE
    own, baseline = samples.get(name), samples.get(_BASELINE, {})
    if own is None:
        return None
    totals = np.array([total for total, _ in own.values()])
    full = np.array([is_full for _, is_full in own.values()], dtype=np.bool_)
    beside: NDArray[np.float64] | None = None
    if name != _BASELINE and own.keys() <= baseline.keys():
        beside = np.array([baseline[place][0] for place in own])
    metrics = side.record.metrics if side.record else None
    rounds = np.array([number for number, _ in own], dtype=np.int64)
    return Timed(totals, beside, rounds, full, metrics.full_frame_share if metrics else None)
