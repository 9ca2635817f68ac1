"""Gather what executors give: store each piece as it comes, and each point when it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from maskvd_cli import __version__
from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.point import Point
from maskvd_cli.core.words import counted
from maskvd_cli.machine.failures import failure_of
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.runs import Run, utc_now
from maskvd_cli.store.schema import Failure, PointRecord
from maskvd_cli.work.merge import MergedPoint, merged
from maskvd_cli.work.prepare import Sweep
from maskvd_cli.work.unit import PLAN, TRACE, Lost, OnTalk, Unit


@dataclass
class Collection:
    """The points that run now.

    Pieces of traced points are files: a killed run goes on with the clips that are missing. Pieces
    of planned points take no time, and stay in memory until their point ends.
    """

    sweep: Sweep
    run: Run
    environment: dict[str, Any]
    on_talk: OnTalk = lambda text: None
    _lacking: dict[str, set[int]] = field(default_factory=dict[str, "set[int]"])
    _planned: dict[str, dict[int, Piece]] = field(default_factory=dict[str, "dict[int, Piece]"])
    _seconds: dict[str, float] = field(default_factory=dict[str, float])

    def units(self, points: Sequence[Point], longest: int | None = None) -> list[Unit]:
        """Return the units of what the points lack, of at most `longest` clips each."""
        return [
            Unit(self.sweep.loaded, self._what(point.key), (point.key,), clips)
            for point in points
            for clips in ranges(self._begin(point.key), longest)
        ]

    def records(
        self, points: Sequence[Point], results: Iterable[tuple[Unit, Piece | Lost]]
    ) -> Iterator[PointRecord]:
        """Yield the record of each point as it ends; all of them in the end."""
        open_points = {point.key: point for point in points}
        for key in [key for key, lacking in self._lacking.items() if not lacking]:
            yield self._finished(open_points.pop(key))
        for unit, piece in results:
            key = unit.keys[0]
            if key not in open_points:
                continue
            if isinstance(piece, Lost):
                yield self._lost(open_points.pop(key), piece.failure)
                continue
            self._keep(open_points[key], piece)
            if not self._lacking[key]:
                yield self._finished(open_points.pop(key))
        for point in open_points.values():
            lacking = len(self._lacking[point.key])
            message = f"{counted(lacking, 'clip')} {'was' if lacking == 1 else 'were'} not run"
            yield self._lost(point, Failure(kind="Incomplete", message=message))

    def _what(self, key: str) -> str:
        return TRACE if self.sweep.traces(key) else PLAN

    def _clips(self, key: str) -> int:
        _, scene = self.sweep.at(key)
        return len(scene.source.frames())

    def _begin(self, key: str) -> set[int]:
        """Return the clips that a point lacks; damaged pieces are no pieces."""
        self._lacking[key] = set(range(self._clips(key))) - self._whole_parts(key)
        self._planned[key] = {}
        return self._lacking[key]

    def _whole_parts(self, key: str) -> set[int]:
        whole: set[int] = set()
        for number in self.run.parts(key) if self.sweep.traces(key) else ():
            try:
                self._seconds[key] = self._seconds.get(key, 0.0) + float(
                    self.run.piece(key, number).facts.get("seconds", 0.0)
                )
            except ResultError:
                continue
            whole.add(number)
        return whole

    def _keep(self, point: Point, piece: Piece) -> None:
        number = int(piece.part)
        if self.sweep.traces(point.key):
            self.run.write_piece(piece)
        else:
            self._planned[point.key][number] = piece
        self._lacking[point.key].discard(number)
        self._seconds[point.key] = self._seconds.get(point.key, 0.0) + float(
            piece.facts.get("seconds", 0.0)
        )
        total = self._clips(point.key)
        self.on_talk(f"{point.label}, clip {total - len(self._lacking[point.key])} of {total}")

    def _finished(self, point: Point) -> PointRecord:
        """Merge the pieces of a point, and store it."""
        spec, scene = self.sweep.at(point.key)
        planned = self._planned.pop(point.key, {})
        clips = range(self._clips(point.key))
        pieces = (
            planned[number] if number in planned else self.run.piece(point.key, number)
            for number in clips
        )
        try:
            outcome = merged(spec, scene, pieces)
        except Exception as error:  # a bug in one method must not cost the other points
            return self._lost(point, failure_of(error))
        record = self._record(point, outcome, None)
        if self.sweep.traces(point.key):
            record = record.model_copy(update={"pieces": len(clips)})
        self.run.write_point(record, outcome.samples)
        return record

    def _lost(self, point: Point, failure: Failure) -> PointRecord:
        self._planned.pop(point.key, None)
        record = self._record(point, None, failure)
        self.run.write_point(record, None)
        return record

    def _record(
        self, point: Point, outcome: MergedPoint | None, failure: Failure | None
    ) -> PointRecord:
        return PointRecord(
            key=point.key,
            label=point.label,
            status="ok" if outcome else "failed",
            method=point.method,
            revision=point.revision,
            params=dict(point.params),
            setting=dict(point.setting),
            environment=self.environment,
            metrics=outcome.metrics if outcome else None,
            failure=failure,
            finished=utc_now(),
            seconds=round(self._seconds.get(point.key, 0.0), 3),
            tool_version=__version__,
        )


def ranges(numbers: Iterable[int], longest: int | None = None) -> list[tuple[int, int]]:
    """Return numbers as ranges [first, last) of at most `longest` each."""
    joined: list[tuple[int, int]] = []
    for number in sorted(numbers):
        first, end = joined[-1] if joined else (0, -1)
        if end == number and (longest is None or number - first < longest):
            joined[-1] = first, number + 1
        else:
            joined.append((number, number + 1))
    return joined
