"""Measure the points that ran, metric by metric; records that still hold are used again.

A record holds where protocol, estimator and conditions are those of now. Points that are measured
together are a session, whose pieces are stored as they end: a killed sweep goes on with a session
of the same points, protocol, estimator and conditions. A grown grid begins a new session with the
missing points and the baseline, since only what was measured side by side is compared.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maskvd_cli.metrics.session import FAILURE
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.sessions import OpenSession, open_session, open_sessions
from maskvd_cli.work.conclusion import Ended, concluded
from maskvd_cli.work.prepare import Sweep
from maskvd_cli.work.unit import Executor, Lost, Unit
from maskvd_cli.work.wanted import Item, Records, Wanted, all_wanted

OnMeasured = Callable[[MeasuredRecord], None]


def measured_already(
    records: Records, items: Sequence[Item], environment: Mapping[str, Any]
) -> list[MeasuredRecord] | None:
    """Return all records that the plan asks for; None where one is missing."""
    present = [
        records.present(wanted, key)
        for wanted in all_wanted(records.run, items, environment)
        for key in wanted.keys
    ]
    known = [record for record in present if record is not None]
    return known if len(known) == len(present) else None


@dataclass
class Passes:
    """The metrics of a run; `executor` performs sessions, `on_measured` hears of every record.

    `seen` are all records, read or new, `made` those that were measured now.
    """

    records: Records
    sweep: Sweep
    environment: Mapping[str, Any]
    executor: Executor
    on_measured: OnMeasured = lambda record: None
    seen: list[MeasuredRecord] = field(default_factory=list[MeasuredRecord])
    made: list[MeasuredRecord] = field(default_factory=list[MeasuredRecord])

    def measure(self, items: Sequence[Item]) -> None:
        """Measure what is missing of every metric of the plan."""
        for wanted in all_wanted(self.records.run, items, self.environment):
            missing: list[str] = []
            for key in wanted.keys:
                if (record := self.records.present(wanted, key)) is None:
                    missing.append(key)
                else:
                    self._note(record)
            for keys in [missing] if wanted.metric.together else [[key] for key in missing]:
                if keys:
                    self._session(wanted, keys)

    def _note(self, record: MeasuredRecord) -> None:
        self.seen.append(record)
        self.on_measured(record)

    def _session(self, wanted: Wanted, keys: Sequence[str]) -> None:
        """Measure points side by side, and store the values of each, or why it has none."""
        opened, pieces = self._opened(wanted, keys)
        lost: list[Lost] = []
        for _, piece in self.executor.run([self._unit(wanted, keys, pieces)]):
            if isinstance(piece, Lost):
                lost.append(piece)
                continue
            pieces.append(piece)
            if opened is not None:
                opened.write(piece)
        name = _new_name() if opened is None else opened.name
        ended = Ended(name, wanted, keys, pieces, lost)
        for record in concluded(ended, self.records.run, self.environment):
            self.records.run.write_measured(record)
            self.made.append(record)
            self._note(record)
        if opened is not None and not lost:
            opened.close()

    def _unit(self, wanted: Wanted, keys: Sequence[str], pieces: Sequence[Piece]) -> Unit:
        """Return the session as a unit; `pieces` are there from an earlier process."""
        metric, baseline = wanted.metric, wanted.baseline
        beside = [baseline] if metric.together and baseline and baseline not in keys else []
        options: dict[str, Any] = {
            "protocol": dict(wanted.protocol),
            "baseline": baseline,
            "done": [piece.part for piece in pieces],
            "lost": [piece.key for piece in pieces if FAILURE in piece.facts],
            "full_share": {key: self._full_share(key) for key in keys},
            "folder": str(self.records.run.folder),
        }
        series = (*beside, *keys)
        return Unit(self.sweep.loaded, metric.name, series, options=options, alone=metric.timed)

    def _full_share(self, key: str) -> float | None:
        """Return the share of full frames in all of the data, as the point counted them."""
        record = self.records.run.point(key)
        return record.metrics.full_frame_share if record and record.metrics else None

    def _opened(
        self, wanted: Wanted, keys: Sequence[str]
    ) -> tuple[OpenSession | None, list[Piece]]:
        """Return the session to go on with, or a new one, and the pieces that it has.

        What is measured point by point has no session to keep. A session of the same baseline and
        of other points, protocol or conditions is over, and removed.
        """
        folder, name = self.records.run.folder, wanted.metric.name
        if not wanted.metric.together:
            return None, []
        manifest = wanted.manifest(keys)
        for session in open_sessions(folder, name):
            known = session.manifest()
            if known == manifest:
                return session, self._pieces(session)
            if known is None or known.get("baseline") == wanted.baseline:
                session.close()
        session = open_session(folder, name, _new_name())
        session.begin(manifest)
        return session, []

    def _pieces(self, session: OpenSession) -> list[Piece]:
        """Return what a session has; failures are forgotten where they are to be tried again."""
        kept: list[Piece] = []
        for piece in list(session.pieces()):
            if self.records.retry_failed and FAILURE in piece.facts:
                session.forget(piece)
            else:
                kept.append(piece)
        return kept


def _new_name() -> str:
    return secrets.token_hex(6)
