"""Run what is missing of a sweep: plan first, one immutable file per point, resume by key.

Where the model runs, the measured passes follow the points.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskvd_cli import __version__
from maskvd_cli.core.errors import MaskvdError, ResultError
from maskvd_cli.core.point import Point
from maskvd_cli.machine.device import device_facts
from maskvd_cli.machine.environment import environment, tidy_path
from maskvd_cli.methods.fit import unplanned
from maskvd_cli.recipe.load import LoadedRecipe
from maskvd_cli.recipe.shipped import recipe_origin
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.scenes.geometry import Geometry, Site
from maskvd_cli.scenes.scene import Scene, scenes_of
from maskvd_cli.store.atomic import refuse_inside
from maskvd_cli.store.locking import remove_unbegun
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.runs import NewerResultError, Run, new_run_id, runs_below, utc_now
from maskvd_cli.store.schema import Failure, Plan, PlannedPoint, PointRecord
from maskvd_cli.tasks.coco import ground_truth
from maskvd_cli.work.illustration import illustrate, is_illustrated
from maskvd_cli.work.passes import Item, OnMeasured, Passes
from maskvd_cli.work.plan import PointSpec, detections_of, measure_of, tasks_of, with_baseline
from maskvd_cli.work.replay import Outcome, replay
from maskvd_cli.work.traced import trace

Executor = Callable[[PointSpec, Scene], Outcome]
OnPoint = Callable[[PointRecord], None]
_TRACEBACK_CHARS = 4096


@dataclass(frozen=True)
class Sweep:
    """A checked recipe: scenes by model and input, tasks, and one keyed point for each."""

    loaded: LoadedRecipe
    scenes: dict[Site, Scene]
    tasks: list[PointSpec]
    points: list[Point]
    detections_reason: str
    measure: dict[str, Any] | None = None

    @property
    def passes(self) -> int:
        """How many measured passes follow each point."""
        return len(self.measure["metrics"]) if self.measure else 0

    @property
    def predicts(self) -> bool:
        """Tell whether the model runs over all frames of each point, and its tokens are traced."""
        if self.measure is None:
            return False
        return "accuracy" in self.measure["metrics"] or self.scene.detections == "model"

    @property
    def scene(self) -> Scene:
        """The first; what drives masks and what was remarked are the same at all."""
        return next(iter(self.scenes.values()))


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


def plan_tasks(loaded: LoadedRecipe) -> tuple[list[PointSpec], str, str]:
    """Return the tasks of a recipe, what drives its masks, and why; reads no dataset."""
    detections, reason = detections_of(loaded.recipe)
    for single in loaded.recipe.for_each_model():
        for text in single.model.input:
            Geometry.of(single, text)
    tasks = tasks_of(loaded)
    if measure_of(loaded.recipe) is not None:
        tasks = with_baseline(tasks, loaded.recipe.model.name)
    return tasks, detections, reason


def prepare(loaded: LoadedRecipe) -> Sweep:
    """Check everything that can be checked before a point runs, the annotations included."""
    tasks, detections, reason = plan_tasks(loaded)
    scenes = scenes_of(loaded.recipe, detections)
    points: list[Point] = []
    for task in tasks:
        scene = scenes[task.site]
        heatmap = scene.heatmap_setting if task.needs_heatmap else None
        points.append(task.point(scene.setting, heatmap))
    return Sweep(loaded, scenes, tasks, points, reason, measure_of(loaded.recipe))


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
    on_talk: Callable[[str], None] = lambda text: None,
) -> SweepOutcome:
    """Run the points that `run` lacks, in the plan's order; each is stored as it ends.

    `executor` runs a point: by default the detector over all frames where that is asked for, else
    the replay of annotations. Measured passes follow. Points that `earlier` runs finished are
    copied. A point that raises becomes a failed record and the sweep goes on. `on_point` and
    `on_measured` hear of every record, found or made.
    Raises ResultError while another sweep writes to the same run, and where a newer maskvd has
    written to it.
    """
    present: list[PointRecord] = []
    ran: list[PointRecord] = []
    here = environment()
    if sweep.scene.weights is not None:
        here |= device_facts(sweep.scene.weights.device)
    if (outcome := _finished(sweep, run, here, retry_failed)) is not None:
        for record in outcome.present:
            on_point(record)
        return outcome
    remove_unbegun(other for other in _beside(run) if other != run.folder)
    with run.lock():
        if not run.has_begun():
            run.write_plan(_plan(sweep), sweep.loaded.source, here)
        if sweep.predicts and not run.has_truth():
            run.write_truth(_truth(sweep))
        for task, point in zip(sweep.tasks, sweep.points, strict=True):
            record = _stored(run, point.key, sweep) or _adopted(run, earlier, point.key, sweep)
            if record is None or (retry_failed and record.status == "failed"):
                on_talk(point.label)
                scene = sweep.scenes[task.site]
                chosen = executor or _executor(sweep, task, scene)
                record, outcome = _run_point(task, point, scene, chosen, here)
                made = (outcome.samples, outcome.predictions) if outcome else (None, None)
                run.write_point(record, *made)
                ran.append(record)
            else:
                present.append(record)
            on_point(record)
        seen: list[MeasuredRecord] = []

        def note(record: MeasuredRecord) -> None:
            seen.append(record)
            on_measured(record)

        passes = Passes(run, run.plan(), earlier, here, retry_failed, note, on_talk)
        done = {record.key for record in (*present, *ran) if record.status == "ok"}
        items = _items(sweep, passes.plan, done)
        illustrate(run, items, on_talk)
        measured = passes.measure(items)
    failed = [record for record in seen if record.status == "failed"]
    return SweepOutcome(run, ran, present, measured, failed)


def _executor(sweep: Sweep, task: PointSpec, scene: Scene) -> Executor:
    """Return what runs a point: the model where it is asked for, or no plan knows the cost."""
    counted = unplanned(task.method, scene.geometry.arch) is not None
    return trace if sweep.predicts or counted else replay


def _finished(
    sweep: Sweep, run: Run, here: dict[str, Any], retry_failed: bool
) -> SweepOutcome | None:
    """Return what a run holds where nothing is left to do in it, else None.

    Writes nothing and takes no lock, so that a finished run on a read-only disk is no error.
    """
    if not run.has_begun() or (sweep.predicts and not run.has_truth()):
        return None
    records = [_stored(run, point.key, sweep) for point in sweep.points]
    present = [record for record in records if record is not None]
    failed = [record for record in present if record.status == "failed"]
    if len(present) < len(records) or (retry_failed and failed):
        return None
    seen: list[MeasuredRecord] = []
    passes = Passes(run, run.plan(), (), here, retry_failed, seen.append)
    done = {record.key for record in present if record.status == "ok"}
    items = _items(sweep, passes.plan, done)
    drawn = is_illustrated(run, items) or not os.access(run.folder, os.W_OK)
    if not (passes.are_done(items) and drawn):
        return None
    return SweepOutcome(run, [], present, (), [r for r in seen if r.status == "failed"])


def _beside(run: Run) -> list[Path]:
    """Return the folders of the recipe's runs."""
    try:
        return list(run.folder.parent.iterdir())
    except OSError:
        return []


def _items(sweep: Sweep, plan: Plan, done: Collection[str]) -> list[Item]:
    """Return the points that ran, as the passes need them."""
    planned = {point.key: point for point in plan.points}
    return [
        Item(planned[point.key], task, sweep.scenes[task.site])
        for task, point in zip(sweep.tasks, sweep.points, strict=True)
        if point.key in done
    ]


def _truth(sweep: Sweep) -> dict[str, Any]:
    source = sweep.scene.source
    assert isinstance(source, Annotations)
    return ground_truth(source.clips, source.dataset.classes)


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


def _run_point(
    task: PointSpec, point: Point, scene: Scene, executor: Executor, here: dict[str, Any]
) -> tuple[PointRecord, Outcome | None]:
    started = time.perf_counter()
    outcome: Outcome | None = None
    failure: Failure | None = None
    try:
        outcome = executor(task, scene)
    except MaskvdError as error:
        failure = Failure(kind=type(error).__name__, message=str(error))
    except Exception as error:  # a bug in one method must not cost the other points
        trace = tidy_path(traceback.format_exc())[-_TRACEBACK_CHARS:]
        failure = Failure(kind=type(error).__name__, message=str(error), traceback=trace)
    record = PointRecord(
        key=point.key,
        label=point.label,
        status="ok" if outcome else "failed",
        method=point.method,
        revision=point.revision,
        params=dict(point.params),
        setting=dict(point.setting),
        environment=here,
        metrics=outcome.metrics if outcome else None,
        failure=failure,
        finished=utc_now(),
        seconds=round(time.perf_counter() - started, 3),
        tool_version=__version__,
    )
    return record, outcome


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
