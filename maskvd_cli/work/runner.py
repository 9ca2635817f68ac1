"""Run what is missing of a sweep: plan first, pieces as they end, one immutable file per point.

Where the model runs, the measured passes follow the points.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskvd_cli import __version__
from maskvd_cli.core.errors import ResultError
from maskvd_cli.machine.device import device_facts
from maskvd_cli.machine.environment import environment, tidy_path
from maskvd_cli.recipe.shipped import recipe_origin
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.store.atomic import has_leftovers, refuse_inside
from maskvd_cli.store.locking import remove_unbegun
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.runs import NewerResultError, Run, new_run_id, runs_below, utc_now
from maskvd_cli.store.schema import Plan, PlannedPoint, PointRecord
from maskvd_cli.tasks.stored import truth_content
from maskvd_cli.work.collect import Collection as Points
from maskvd_cli.work.executors.inline import Inline
from maskvd_cli.work.illustration import illustrate, is_illustrated
from maskvd_cli.work.legend import methods_of, quantities_of
from maskvd_cli.work.passes import Item, OnMeasured, Passes
from maskvd_cli.work.prepare import Sweep, plan_tasks, prepare
from maskvd_cli.work.unit import Executor, OnTalk

__all__ = ["Sweep", "SweepOutcome", "choose_run", "plan_tasks", "prepare", "run_sweep"]

OnPoint = Callable[[PointRecord], None]


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
        return [record for record in (*self.present, *self.ran) if record.status == "failed"]


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
    if (outcome := _finished(sweep, run, here, retry_failed=retry_failed)) is not None:
        for record in outcome.present:
            on_point(record)
        return outcome
    remove_unbegun(other for other in _beside(run) if other != run.folder)
    with run.lock():
        _begin(run, sweep, here)
        present = _present(sweep, run, earlier, retry_failed=retry_failed)
        for record in present.values():
            on_point(record)
        missing = [point for point in sweep.points if point.key not in present]
        points = Points(sweep, run, here, on_talk)
        units = points.units(missing, executor.clips_per_unit)
        ran: list[PointRecord] = []
        for record in points.records(missing, executor.run(units)):
            ran.append(record)
            on_point(record)
        seen: list[MeasuredRecord] = []

        def note(record: MeasuredRecord) -> None:
            seen.append(record)
            on_measured(record)

        passes = Passes(
            run, run.plan(), sweep, earlier, here, retry_failed, note, on_talk,
            lambda unit: (piece for _, piece in executor.run([unit])),
        )  # fmt: skip
        items = _items(sweep, passes.plan, [*present.values(), *ran])
        illustrate(run, items, on_talk)
        measured = passes.measure(items)
    failed = [record for record in seen if record.status == "failed"]
    return SweepOutcome(run, ran, list(present.values()), measured, failed)


def _finished(
    sweep: Sweep, run: Run, here: dict[str, Any], *, retry_failed: bool
) -> SweepOutcome | None:
    """Return what a run holds where nothing is left to do in it, else None.

    Writes nothing and takes no lock, so that a finished run on a read-only disk is no error.
    """
    if not run.has_begun() or (sweep.predicts and not run.has_truth()):
        return None
    stored = [_stored(run, point.key, sweep) for point in sweep.points]
    present = [record for record in stored if record is not None]
    failed = any(record.status == "failed" for record in present)
    if len(present) < len(stored) or (retry_failed and failed):
        return None
    seen: list[MeasuredRecord] = []
    passes = Passes(run, run.plan(), sweep, (), here, retry_failed, seen.append)
    items = _items(sweep, passes.plan, present)
    tidy = is_illustrated(run, items) and not has_leftovers(run.folder)
    if not passes.are_done(items) or (os.access(run.folder, os.W_OK) and not tidy):
        return None
    return SweepOutcome(run, [], present, (), [r for r in seen if r.status == "failed"])


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
        run.write_plan(_plan(sweep), sweep.loaded.source, here)
    if sweep.predicts and not run.has_truth():
        source = sweep.scene.source
        assert isinstance(source, Annotations)
        arrays, facts = truth_content(sweep.task, source.clips, source.dataset.classes)
        run.write_truth_arrays(arrays, facts)


def _present(
    sweep: Sweep, run: Run, earlier: Sequence[Run], *, retry_failed: bool
) -> dict[str, PointRecord]:
    """Return the points that need not run, by key; take over what earlier runs have."""
    present: dict[str, PointRecord] = {}
    for point in sweep.points:
        record = _stored(run, point.key, sweep) or _adopted(run, earlier, point.key, sweep)
        if record is not None and not (retry_failed and record.status == "failed"):
            present[point.key] = record
        else:
            for other in earlier:
                run.adopt_pieces(point.key, other)
    return present


def _items(sweep: Sweep, plan: Plan, records: Sequence[PointRecord]) -> list[Item]:
    """Return the points that ran, as the passes need them."""
    done = {record.key for record in records if record.status == "ok"}
    planned = {point.key: point for point in plan.points}
    return [
        Item(planned[point.key], task, sweep.scenes[task.site])
        for task, point in zip(sweep.tasks, sweep.points, strict=True)
        if point.key in done
    ]


def _stored(run: Run, key: str, sweep: Sweep) -> PointRecord | None:
    """Return a point's record; one that is damaged or lacks samples or predictions is absent.

    It is then run again. Raises NewerResultError for a file that this version must not replace.
    """
    try:
        record = run.point(key)
    except NewerResultError:
        raise
    except ResultError:
        return None
    if record is None or record.failure:
        return record
    complete = run.has_samples(key) and (not sweep.predicts or run.has_predictions(key))
    return record if complete and run.is_whole(record) else None


def _adopted(run: Run, earlier: Sequence[Run], key: str, sweep: Sweep) -> PointRecord | None:
    """Copy a point that an earlier run finished into `run`; None where none did."""
    for other in earlier:
        try:
            record = _stored(other, key, sweep)
        except NewerResultError:
            continue
        if record is not None and record.status == "ok":
            run.adopt(record, other)
            return record
    return None


def _plan(sweep: Sweep) -> Plan:
    recipe = sweep.loaded.recipe
    return Plan(
        recipe=recipe.name,
        description=recipe.description,
        recipe_file=tidy_path(recipe_origin(sweep.loaded.path)),
        assignments=list(sweep.loaded.assignments),
        created=utc_now(),
        detections=sweep.scene.detections,
        detections_reason=sweep.detections_reason,
        notes=[tidy_path(note) for note in sweep.scene.notes()],
        measure=sweep.measure,
        task=sweep.task.name,
        headline=sweep.task.headline().name,
        quantities=quantities_of(type(sweep.task)),
        methods=methods_of(point.method for point in sweep.points),
        points=[
            PlannedPoint(
                key=point.key,
                label=point.label,
                method=point.method,
                params=dict(point.params),
                model=task.model or recipe.model.name,
                input=task.input,
                named=list(task.named),
            )
            for task, point in zip(sweep.tasks, sweep.points, strict=True)
        ],
        tool_version=__version__,
    )
