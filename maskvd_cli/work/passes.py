"""Measure the points that ran, metric by metric; each metric's records are kept or made anew.

A record is used again only where protocol, estimator and conditions are those of now. What is
measured together is a session, whose pieces are stored as they end: a sweep that was killed goes on
with the session where these are equal. A grown grid begins a new session with the missing points
and the baseline, since only what was measured side by side is compared.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from maskvd_cli import __version__
from maskvd_cli.core.conditions import conditions_of
from maskvd_cli.core.errors import ResultError
from maskvd_cli.metrics.base import Finding, Metric
from maskvd_cli.metrics.registry import metrics
from maskvd_cli.metrics.session import FAILURE
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.records import NewerResultError
from maskvd_cli.store.runs import Run, utc_now
from maskvd_cli.store.schema import Failure, Plan, PlannedPoint
from maskvd_cli.store.sessions import OpenSession, open_session, open_sessions
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.work.failures import failure_of
from maskvd_cli.work.plan import PointSpec, protocol_of
from maskvd_cli.work.prepare import Sweep
from maskvd_cli.work.scoring import baseline_key
from maskvd_cli.work.sessions import perform_session
from maskvd_cli.work.unit import Lost, Unit

OnMeasured = Callable[[MeasuredRecord], None]
Perform = Callable[[Unit], Iterator[Piece | Lost]]


@dataclass(frozen=True)
class Item:
    """A point that ran, with all that is needed to run it again."""

    point: PlannedPoint
    task: PointSpec
    scene: Scene


@dataclass(frozen=True)
class Wanted:
    """What a record must equal to stand for a measurement of now."""

    metric: type[Metric]
    protocol: Mapping[str, Any]
    conditions: Mapping[str, Any]

    def is_met_by(self, record: MeasuredRecord) -> bool:
        """Tell whether a record was made so."""
        return (record.protocol, record.estimator, record.conditions) == (
            dict(self.protocol),
            self.metric.estimator,
            dict(self.conditions),
        )

    def manifest(self, keys: Sequence[str], baseline: str | None) -> dict[str, Any]:
        """Return what decides a session of these points."""
        return {
            "keys": list(keys),
            "baseline": baseline,
            "protocol": dict(self.protocol),
            "estimator": self.metric.estimator,
            "conditions": dict(self.conditions),
        }


@dataclass
class Passes:
    """The metrics of a run. `earlier`: runs whose records may be taken over.

    `perform` performs a unit; None: in this process.
    """

    run: Run
    plan: Plan
    sweep: Sweep
    earlier: Sequence[Run]
    environment: dict[str, Any]
    retry_failed: bool = False
    on_measured: OnMeasured = lambda record: None
    on_talk: Callable[[str], None] = lambda text: None
    perform: Perform | None = None
    ran: list[MeasuredRecord] = field(default_factory=list[MeasuredRecord])

    def measure(self, items: Sequence[Item]) -> list[MeasuredRecord]:
        """Measure what is missing of every metric of the plan; return what was measured now."""
        measure = self.plan.measure or {}
        for name in measure.get("metrics", ()):
            metric, protocol = metrics.load(name), protocol_of(measure, name)
            for scene in dict.fromkeys(item.scene for item in items):
                group = [item for item in items if item.scene is scene]
                self._scene(metric, protocol, scene, group)
        return self.ran

    def _scene(
        self, metric: type[Metric], protocol: Mapping[str, Any], scene: Scene, group: Sequence[Item]
    ) -> None:
        """Measure what is missing of the points of one model at one input."""
        wanted, baseline = self._wanted(metric, protocol, scene, group)
        missing = [i.point.key for i in group if not self._present(wanted, i.point.key)]
        for keys in [missing] if metric.together else [[key] for key in missing]:
            if keys:
                self._session(wanted, keys, baseline)

    def are_done(self, items: Sequence[Item]) -> bool:
        """Tell whether every record is there; with `earlier` empty nothing is written."""
        measure = self.plan.measure or {}
        for name in measure.get("metrics", ()):
            metric, protocol = metrics.load(name), protocol_of(measure, name)
            for scene in dict.fromkeys(item.scene for item in items):
                group = [item for item in items if item.scene is scene]
                wanted, _ = self._wanted(metric, protocol, scene, group)
                if not all(self._present(wanted, item.point.key) for item in group):
                    return False
        return True

    def _wanted(
        self, metric: type[Metric], protocol: Mapping[str, Any], scene: Scene, group: Sequence[Item]
    ) -> tuple[Wanted, str | None]:
        """Return what records of one model at one input must equal, and the baseline's key."""
        baseline = baseline_key(self.plan, group[0].point)
        if metric.from_outputs:
            if baseline is not None and not self.run.has_predictions(baseline):
                baseline = None
            protocol = {**protocol, "baseline": baseline}
        return Wanted(metric, protocol, self._conditions(metric, scene)), baseline

    def _conditions(self, metric: type[Metric], scene: Scene) -> dict[str, Any]:
        """Return what decides the values: of stored outputs, the task's revision alone."""
        if metric.from_outputs:
            task = tasks.load(self.plan.task)
            return {"task": task.name, "task_revision": task.revision}
        return conditions_of(self.environment, scene.measured.precision)

    def _present(self, wanted: Wanted, key: str) -> bool:
        """Tell whether a point is measured, here or, taken over, in an earlier run."""
        for source in (self.run, *self.earlier):
            record = self._stored(source, wanted.metric.name, key)
            if record is None or not wanted.is_met_by(record):
                continue
            if source is not self.run and record.status == "ok":
                if not self._adopted(record, source):
                    continue
            elif source is not self.run or (record.status == "failed" and self.retry_failed):
                continue
            self.on_measured(record)
            return True
        return False

    def _stored(self, source: Run, of: str, key: str) -> MeasuredRecord | None:
        """Return a record; None where it is damaged, or of a newer maskvd in an earlier run."""
        try:
            return source.measured(of, key)
        except NewerResultError:
            if source is self.run:
                raise
        except ResultError:
            pass
        return None

    def _adopted(self, record: MeasuredRecord, source: Run) -> bool:
        """Take a record over in place of what is here; False where its samples are damaged."""
        try:
            self.run.adopt_measured(record, source)
        except ResultError:
            return False
        return True

    def _session(self, wanted: Wanted, keys: Sequence[str], baseline: str | None) -> None:
        """Measure points side by side, and store what was found of each, or why nothing was."""
        metric = wanted.metric
        opened, pieces = self._opened(wanted, keys, baseline)
        apart = metric.together and baseline is not None and baseline not in keys
        beside = (baseline,) if apart and baseline is not None else ()
        unit = Unit(
            self.sweep.loaded,
            metric.name,
            (*beside, *keys),
            options={
                "protocol": dict(wanted.protocol),
                "baseline": baseline,
                "done": [piece.part for piece in pieces],
                "lost": [piece.key for piece in pieces if FAILURE in piece.facts],
                "full_share": {key: self._full_share(key) for key in keys},
                "folder": str(self.run.folder),
            },
            alone=metric.timed,
        )
        lost: list[Lost] = []
        for piece in (self.perform or self._here)(unit):
            if isinstance(piece, Lost):
                lost.append(piece)
                continue
            pieces.append(piece)
            if opened is not None:
                opened.write(piece)
        self._conclude(wanted, keys, baseline, pieces, lost, opened)

    def _here(self, unit: Unit) -> Iterator[Piece | Lost]:
        """Perform a unit in this process."""
        try:
            yield from perform_session(unit, self.sweep, self.on_talk)
        except Exception as error:  # a bug in one metric must not cost the others
            yield Lost(failure_of(error))

    def _opened(
        self, wanted: Wanted, keys: Sequence[str], baseline: str | None
    ) -> tuple[OpenSession | None, list[Piece]]:
        """Return the session to go on with, or a new one, and the pieces that it has.

        What is measured point by point has no session to keep. One of the same baseline that is
        not equal is over: its points, protocol or conditions are not those of now.
        """
        if not wanted.metric.together:
            return None, []
        manifest = wanted.manifest(keys, baseline)
        for session in open_sessions(self.run.folder, wanted.metric.name):
            known = session.manifest()
            if known == manifest:
                pieces = list(session.pieces())
                if self.retry_failed:
                    for piece in [piece for piece in pieces if FAILURE in piece.facts]:
                        session.forget(piece)
                        pieces.remove(piece)
                return session, pieces
            if known is None or known.get("baseline") == baseline:
                session.close()
        session = open_session(self.run.folder, wanted.metric.name, secrets.token_hex(6))
        session.begin(manifest)
        return session, []

    def _full_share(self, key: str) -> float | None:
        """Return the share of full frames in all of the data, as the point counted them."""
        record = self.run.point(key)
        return record.metrics.full_frame_share if record and record.metrics else None

    def _conclude(  # noqa: PLR0913, PLR0917 - what was wanted, of whom, and what came of it
        self,
        wanted: Wanted,
        keys: Sequence[str],
        baseline: str | None,
        pieces: Sequence[Piece],
        lost: Sequence[Lost],
        opened: OpenSession | None,
    ) -> None:
        """Write the records of a session that has ended, and raw samples before them."""
        metric, name = wanted.metric(), opened.name if opened else secrets.token_hex(6)
        failures = _failures(pieces, lost)
        found: dict[str, Finding] = {}
        if None not in failures:
            try:
                protocol = wanted.protocol
                found = {f.key: f for f in metric.summarise(keys, pieces, protocol)}
                samples = metric.samples(pieces)
                if samples is not None and len(samples):
                    self.run.write_session(name, samples, metric.name)
                    found = {key: _in_session(finding, name) for key, finding in found.items()}
            except ResultError:
                raise
            except Exception as error:  # a bug in one metric must not cost the others
                failures[None] = failure_of(error)
        for key in keys:
            finding = None if key in failures or None in failures else found.get(key)
            self._write(wanted, key, finding, _reason(failures, key, baseline))
        if opened is not None and not lost:
            opened.close()

    def _write(self, wanted: Wanted, key: str, finding: Finding | None, reason: Failure) -> None:
        def record(**outcome: Any) -> MeasuredRecord:
            return MeasuredRecord(
                key=key,
                of=wanted.metric.name,
                protocol=dict(wanted.protocol),
                estimator=wanted.metric.estimator,
                conditions=dict(wanted.conditions),
                environment=self.environment,
                finished=utc_now(),
                tool_version=__version__,
                **outcome,
            )

        failed: dict[str, Any] = {"status": "failed", "values": {}, "details": {}}
        try:
            made = record(**(_outcome(finding) if finding else {**failed, "failure": reason}))
        except ValueError as error:  # values that no file may hold, such as NaN
            made = record(**failed, failure=failure_of(error))
        self.run.write_measured(made)
        self.ran.append(made)
        self.on_measured(made)


_NOTHING = Failure(kind="Incomplete", message="nothing was found of this point")


def _failures(pieces: Sequence[Piece], lost: Sequence[Lost]) -> dict[str | None, Failure]:
    """Return why points have no values, by key; under None, why the whole session has none."""
    failures: dict[str | None, Failure] = {
        piece.key: Failure(**piece.facts[FAILURE]) for piece in pieces if FAILURE in piece.facts
    }
    failures |= {each.key: each.failure for each in lost}
    return failures


def _reason(failures: Mapping[str | None, Failure], key: str, baseline: str | None) -> Failure:
    """Return why a point has no values, where it has none."""
    own = failures.get(key) or failures.get(None)
    if own is None and baseline in failures:
        beside = failures[baseline]
        return beside.model_copy(update={"message": f"the baseline failed: {beside.message}"})
    return own or _NOTHING


def _in_session(finding: Finding, session: str) -> Finding:
    return Finding(finding.key, finding.values, {**finding.details, "session": session})


def _outcome(finding: Finding) -> dict[str, Any]:
    values = {name: StoredEstimate(**asdict(value)) for name, value in finding.values.items()}
    return {"status": "ok", "values": values, "details": dict(finding.details)}
