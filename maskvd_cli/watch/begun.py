"""What a sweep has begun and not ended: the pieces of points and of sessions, as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.installed import parts_of
from maskvd_cli.store import places
from maskvd_cli.store.parts import names_in
from maskvd_cli.store.runs import TRUTH, Run
from maskvd_cli.store.schema import Plan
from maskvd_cli.store.sessions import OpenSession, open_sessions


@dataclass(frozen=True)
class Begun:
    """Pieces of a point, or of the points that are measured side by side, without a record yet.

    `of`: `point` or a metric. `keys`: of the points. `written`: when each piece was, in seconds
    since 1970, rising. `total`: how many pieces there will be, None where that is not known.
    """

    of: str
    keys: tuple[str, ...]
    written: tuple[float, ...]
    total: int | None

    @property
    def left(self) -> int | None:
        """How many pieces are still to come, None where that is not known."""
        return None if self.total is None else max(0, self.total - len(self.written))


def begun_points(run: Run, keys: Sequence[str], clips: Callable[[], int | None]) -> Iterator[Begun]:
    """Yield the points among `keys` that have pieces; `clips`: how many a whole one has."""
    for key in keys:
        written = _written(run.folder / places.piece(key, number) for number in run.parts(key))
        if written:
            yield Begun("point", (key,), written, clips())


def begun_sessions(run: Run, plan: Plan, of: str) -> Iterator[Begun]:
    """Yield the sessions of a metric that go on."""
    protocol: dict[str, Any] = (plan.measure or {}).get(of) or {}
    for session in open_sessions(run.folder, of):
        keys, series = _series_of(session)
        parts = parts_of(of, protocol, series)
        if keys and parts is not None:
            yield Begun(of, keys, _written(map(session.place_of, parts)), len(parts))


def clips_of(run: Run) -> int | None:
    """Return how many clips the truth of a run has, None where it has none that can be read."""
    try:
        names = names_in(run.folder / TRUTH)
    except ResultError:
        return None
    return len({name.partition("/")[0] for name in names if "/" in name}) or None


def _series_of(session: OpenSession) -> tuple[tuple[str, ...], int]:
    """Return the points of a session, and how many run: with the baseline, where it runs beside."""
    manifest = session.manifest() or {}
    keys, baseline = manifest.get("keys"), manifest.get("baseline")
    points = tuple(map(str, cast(list[object], keys))) if isinstance(keys, list) else ()
    return points, len(points) + (baseline is not None and baseline not in points)


def _written(files: Iterable[Path]) -> tuple[float, ...]:
    """Return when files were written; those that are not there are left out."""
    times: list[float] = []
    for file in files:
        try:
            times.append(os.stat(file).st_mtime)
        except OSError:
            continue
    return tuple(sorted(times))
