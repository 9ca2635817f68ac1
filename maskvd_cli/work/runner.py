"""Run what is missing of a sweep: plan first, pieces as they end, one immutable file per point.

Where the model runs, the measured passes follow the points.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from maskvd_cli.core.errors import ResultError
from maskvd_cli.machine.device import device_facts
from maskvd_cli.machine.environment import environment
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.store.atomic import has_leftovers, refuse_inside
from maskvd_cli.store.locking import remove_unbegun
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.runs import Run, new_run_id, runs_below
from maskvd_cli.store.schema import Plan, PointRecord
from maskvd_cli.tasks.stored import truth_content
from maskvd_cli.work.collect import Collection as Points
from maskvd_cli.work.executors.inline import Inline
from maskvd_cli.work.illustration import illustrate, is_illustrated
from maskvd_cli.work.kept import kept_points, stored_point
from maskvd_cli.work.legend import plan_of
from maskvd_cli.work.passes import OnMeasured, Passes, measured_already
from maskvd_cli.work.prepare import Sweep, plan_tasks, prepare
from maskvd_cli.work.unit import Executor, OnTalk
from maskvd_cli.work.wanted import Item, Records

__all__ = ["Sweep", "SweepOutcome", "choose_run", "plan_tasks", "prepare", "run_sweep"]

OnPoint = Callable[[PointRecord], None]
R = TypeVar("R", PointRecord, MeasuredRecord)


@dataclass(frozen=True)
class SweepOutcome:
    """Where the results lie, which points ran now, which had been there, what was measured now.

    `unmeasured`: all points and passes of the run that failed to be measured, now or before.
    """

    run: Run
    ran: list[PointRecord]
    present: list[PointRecord]
    measured: Sequence[MeasuredRecord] = ()
    unmeasured: Sequence[MeasuredRecord] = ()

    @property
    def failed(self) -> list[PointRecord]:
        """All points of the run without metrics, now or before."""
        return _failed([*self.present, *self.ran])


def choose_run(sweep: Sweep, results: Path, *, fresh: bool) -> tuple[Run, list[Run]]:
    """Return the run to write to and earlier runs of this recipe to take finished points from.

    The newest run with the same points and measured passes goes on; else, and with `fresh`, a new
    one begins. Raises ResultError where `results` lies in the dataset's folder.
    """
    if sweep.scene.source.root is not None:
        refuse_inside(results, sweep.scene.source.root)
    folder = results / sweep.loaded.recipe.name
    earlier = [] if fresh else list(reversed(runs_below(folder)))
    keys = {point.key for point in sweep.points}
    for run in earlier:
        try:
            plan = run.plan()
        except ResultError:
            continue
        if {point.key for point in plan.points} == keys and plan.measure == sweep.measure:
            return run, [other for other in earlier if other != run]
    return Run(folder / new_run_id()), earlier


def run_sweep(  # noqa: PLR0913 - what to run, where, and how to treat what is there
    sweep: Sweep,
    run: Run,
    earlier: Sequence[Run] = (),
    *,
    retry_failed: bool = False,
    executor: Executor | None = None,
    on_point: OnPoint = lambda record: None,
    on_measured: OnMeasured = lambda record: None,
    on_talk: OnTalk = lambda text: None,
) -> SweepOutcome:
    """Run the points that `run` lacks; each clip is stored as it ends, each point when it is whole.

    `executor` performs the units, by default one after the other in this process. Measured passes
    follow. Points that `earlier` runs finished are copied. A point that fails becomes a failed
    record and the sweep goes on. `on_point` and `on_measured` hear of every record, read or new.
    Raises ResultError while another sweep writes to the same run, and where a newer maskvd has
    written to it.
    """
    executor = executor or Inline(lambda loaded: sweep)
    executor.on_talk = on_talk
    here = _environment(sweep)
    if (outcome := _finished(sweep, run, here, retry_failed, on_measured)) is not None:
        for record in outcome.present:
            on_point(record)
        return outcome
    remove_unbegun(other for other in _beside(run) if other != run.folder)
    with run.lock(), contextlib.closing(executor):
        _begin(run, sweep, here)
        present = kept_points(sweep, run, earlier, retry_failed=retry_failed)
        for record in present:
            on_point(record)
        ran: list[PointRecord] = []
        for record in _missing(Points(sweep, run, here, on_talk), present, executor):
            ran.append(record)
            on_point(record)
        items = _items(sweep, run.plan(), [*present, *ran])
        illustrate(run, items, on_talk)
        records = Records(run, earlier, retry_failed)
        passes = Passes(records, sweep, here, executor, on_measured)
        passes.measure(items)
    return SweepOutcome(run, ran, present, passes.made, _failed(passes.seen))


def _missing(
    points: Points, present: Sequence[PointRecord], executor: Executor
) -> Iterator[PointRecord]:
    """Run the points that are not there; yield the record of each as it ends."""
    there = {record.key for record in present}
    missing = [point for point in points.sweep.points if point.key not in there]
    units = points.units(missing, executor.clips_per_unit)
    yield from points.records(missing, executor.run(units))


def _finished(
    sweep: Sweep, run: Run, here: dict[str, Any], retry_failed: bool, on_measured: OnMeasured
) -> SweepOutcome | None:
    """Return what a run holds where nothing is left to do in it, else None.

    Writes nothing and takes no lock, so that a finished run on a read-only disk is no error.
    """
    if not run.has_begun() or (sweep.predicts and not run.has_truth()):
        return None
    stored = [stored_point(run, point.key, sweep, read_all=retry_failed) for point in sweep.points]
    present = [record for record in stored if record is not None]
    if len(present) < len(stored) or (retry_failed and _failed(present)):
        return None
    items = _items(sweep, run.plan(), present)
    tidy = is_illustrated(run, items) and not has_leftovers(run.folder)
    measured = measured_already(Records(run, (), retry_failed), items, here)
    if measured is None or (os.access(run.folder, os.W_OK) and not tidy):
        return None
    for record in measured:
        on_measured(record)
    return SweepOutcome(run, [], present, (), _failed(measured))


def _failed(records: Iterable[R]) -> list[R]:
    return [record for record in records if record.status == "failed"]


def _beside(run: Run) -> list[Path]:
    """Return the folders of the recipe's runs."""
    try:
        return list(run.folder.parent.iterdir())
    except OSError:
        return []


def _environment(sweep: Sweep) -> dict[str, Any]:
    here = environment()
    if sweep.scene.weights is not None:
        here |= device_facts(sweep.scene.weights.device)
    return here


def _begin(run: Run, sweep: Sweep, here: dict[str, Any]) -> None:
    """Write what a run starts with, where it is not there."""
    if not run.has_begun():
        run.write_plan(plan_of(sweep), sweep.loaded.source, here)
    if sweep.predicts and not run.has_truth():
        source = sweep.scene.source
        assert isinstance(source, Annotations)
        arrays, facts = truth_content(sweep.task, source.clips, source.dataset.classes)
        run.write_truth_arrays(arrays, facts)


def _items(sweep: Sweep, plan: Plan, records: Sequence[PointRecord]) -> list[Item]:
    """Return the points that ran, as the passes need them."""
    done = {record.key for record in records if record.status == "ok"}
    planned = {point.key: point for point in plan.points}
    return [
        Item(planned[point.key], task, sweep.scenes[task.site])
        for task, point in zip(sweep.tasks, sweep.points, strict=True)
        if point.key in done
    ]
