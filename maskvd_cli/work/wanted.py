"""What is wanted of a metric, and which records stand for it: protocol, estimator, conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.conditions import conditions_of
from maskvd_cli.core.errors import ResultError
from maskvd_cli.metrics.base import Metric
from maskvd_cli.metrics.registry import metrics
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.records import NewerResultError
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan, PlannedPoint
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.work.plan import PointSpec, protocol_of
from maskvd_cli.work.scoring import baseline_key


@dataclass(frozen=True)
class Item:
    """A point that ran, with all that is needed to run it again."""

    point: PlannedPoint
    task: PointSpec
    scene: Scene


@dataclass(frozen=True)
class Wanted:
    """A metric of the points `keys` of one model at one input.

    A record must equal protocol, estimator and conditions to stand for a measurement of now.
    """

    metric: type[Metric]
    protocol: Mapping[str, Any]
    conditions: Mapping[str, Any]
    baseline: str | None
    keys: tuple[str, ...]

    def is_met_by(self, record: MeasuredRecord) -> bool:
        """Tell whether a record was made so."""
        return (record.protocol, record.estimator, record.conditions) == (
            dict(self.protocol),
            self.metric.estimator,
            dict(self.conditions),
        )

    def manifest(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return what decides a session of these points."""
        return {
            "keys": list(keys),
            "baseline": self.baseline,
            "protocol": dict(self.protocol),
            "estimator": self.metric.estimator,
            "conditions": dict(self.conditions),
        }


def all_wanted(run: Run, items: Sequence[Item], environment: Mapping[str, Any]) -> Iterator[Wanted]:
    """Yield what a run's plan wants of the points, metric by metric, scene by scene."""
    plan = run.plan()
    measure = plan.measure or {}
    for name in measure.get("metrics", ()):
        metric, protocol = metrics.load(name), protocol_of(measure, name)
        for scene in dict.fromkeys(item.scene for item in items):
            points = [item.point for item in items if item.scene is scene]
            baseline = baseline_key(plan, points[0])
            if metric.from_outputs:
                if baseline is not None and not run.has_predictions(baseline):
                    baseline = None
                # Its change is against these outputs and no others.
                protocol = {**protocol, "baseline": baseline}
            conditions = _conditions(metric, plan, scene, environment)
            keys = tuple(point.key for point in points)
            yield Wanted(metric, protocol, conditions, baseline, keys)


def _conditions(
    metric: type[Metric], plan: Plan, scene: Scene, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what decides the values: of stored outputs, the task's revision alone."""
    if metric.from_outputs:
        task = tasks.load(plan.task)
        return {"task": task.name, "task_revision": task.revision}
    return conditions_of(environment, scene.measured.precision)


@dataclass(frozen=True)
class Records:
    """The measured records of a run; what earlier runs have is taken over where it is the same."""

    run: Run
    earlier: Sequence[Run] = ()
    retry_failed: bool = False

    def present(self, wanted: Wanted, key: str) -> MeasuredRecord | None:
        """Return a point's record, here or taken over; None where it must be measured."""
        own = self._stored(self.run, wanted, key)
        if own is not None and not (own.status == "failed" and self.retry_failed):
            return own
        for source in self.earlier:
            record = self._stored(source, wanted, key)
            if record is not None and record.status == "ok" and self._adopted(record, source):
                return record
        return None

    def _stored(self, source: Run, wanted: Wanted, key: str) -> MeasuredRecord | None:
        """Return a record that is as wanted; none is damaged, or of a newer maskvd elsewhere.

        Raises NewerResultError for a record here, which this version must not replace.
        """
        try:
            record = source.measured(wanted.metric.name, key)
        except NewerResultError:
            if source is self.run:
                raise
            return None
        except ResultError:
            return None
        return record if record is not None and wanted.is_met_by(record) else None

    def _adopted(self, record: MeasuredRecord, source: Run) -> bool:
        """Take a record over in place of what is here; False where its samples are damaged."""
        try:
            self.run.adopt_measured(record, source)
        except ResultError:
            return False
        return True
