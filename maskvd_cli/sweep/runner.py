"""Run what is missing of a sweep: plan first, one immutable file per point, resume by key."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskvd_cli import __version__
from maskvd_cli.core.errors import MaskvdError, ResultError
from maskvd_cli.core.point import Point
from maskvd_cli.measure.environment import environment, tidy_path
from maskvd_cli.recipe.load import LoadedRecipe
from maskvd_cli.store.atomic import refuse_inside
from maskvd_cli.store.runs import NewerResultError, Run, new_run_id, runs_below, utc_now
from maskvd_cli.store.schema import Failure, Plan, PlannedPoint, PointRecord
from maskvd_cli.sweep.geometry import Geometry
from maskvd_cli.sweep.plan import Task, detections_of, tasks_of
from maskvd_cli.sweep.replay import Outcome, replay
from maskvd_cli.sweep.scene import Scene, scenes_of

Executor = Callable[[Task, Scene], Outcome]
OnPoint = Callable[[PointRecord], None]
_TRACEBACK_CHARS = 4096


@dataclass(frozen=True)
class Sweep:
    """A checked recipe: a scene for each input, its tasks, and one keyed point for each."""

    loaded: LoadedRecipe
    scenes: dict[str, Scene]
    tasks: list[Task]
    points: list[Point]
    detections_reason: str

    @property
    def scene(self) -> Scene:
        """The first input's; what drives masks and what was remarked are the same at all."""
        return next(iter(self.scenes.values()))


@dataclass(frozen=True)
class SweepOutcome:
    """Where the results lie, which points ran now, and which had been there."""

    run: Run
    ran: list[PointRecord]
    present: list[PointRecord]

    @property
    def failed(self) -> list[PointRecord]:
        """All points of the run without metrics, now or before."""
        return [record for record in (*self.present, *self.ran) if record.status == "failed"]


def plan_tasks(loaded: LoadedRecipe) -> tuple[list[Task], str, str]:
    """Return the tasks of a recipe, what drives its masks, and why; reads no dataset."""
    detections, reason = detections_of(loaded.recipe)
    geometries = [Geometry.of(loaded.recipe, text) for text in loaded.recipe.model.input]
    return tasks_of(loaded, geometries[0].arch), detections, reason


def prepare(loaded: LoadedRecipe) -> Sweep:
    """Check everything that can be checked before a point runs, the annotations included."""
    tasks, detections, reason = plan_tasks(loaded)
    scenes = scenes_of(loaded.recipe, detections)
    points: list[Point] = []
    for task in tasks:
        scene = scenes[task.input]
        heatmap = scene.heatmap_setting if task.needs_heatmap else None
        points.append(task.point(scene.setting, heatmap))
    return Sweep(loaded, scenes, tasks, points, reason)


def choose_run(sweep: Sweep, results: Path, *, fresh: bool) -> tuple[Run, list[Run]]:
    """Return the run to write to and earlier runs of this recipe to take finished points from.

    The newest run with the same points goes on; else, and with `fresh`, a new one begins. Raises
    ResultError where `results` lies in the dataset's folder.
    """
    if sweep.scene.source.root is not None:
        refuse_inside(results, sweep.scene.source.root)
    folder = results / sweep.loaded.recipe.name
    earlier = [] if fresh else list(reversed(runs_below(folder)))
    keys = {point.key for point in sweep.points}
    for run in earlier:
        try:
            planned = {point.key for point in run.plan().points}
        except ResultError:
            continue
        if planned == keys:
            return run, [other for other in earlier if other != run]
    return Run(folder / new_run_id()), earlier


def run_sweep(  # noqa: PLR0913 - what to run, where, and how to treat what is there
    sweep: Sweep,
    run: Run,
    earlier: Sequence[Run] = (),
    *,
    retry_failed: bool = False,
    executor: Executor = replay,
    on_point: OnPoint = lambda record: None,
) -> SweepOutcome:
    """Run the points that `run` lacks, in the plan's order; each is stored as it ends.

    Points that `earlier` runs finished are copied. A point that raises becomes a failed record and
    the sweep goes on. `on_point` hears of every record, found or made.
    Raises ResultError while another sweep writes to the same run, and where a newer maskvd has
    written to it.
    """
    present: list[PointRecord] = []
    ran: list[PointRecord] = []
    here = environment()
    with run.lock():
        if not run.has_begun():
            run.write_plan(_plan(sweep), sweep.loaded.source, here)
        for task, point in zip(sweep.tasks, sweep.points, strict=True):
            record = _stored(run, point.key) or _adopted(run, earlier, point.key)
            if record is None or (retry_failed and record.status == "failed"):
                record, outcome = _run_point(task, point, sweep.scenes[task.input], executor, here)
                run.write_point(record, outcome.samples if outcome else None)
                ran.append(record)
            else:
                present.append(record)
            on_point(record)
    return SweepOutcome(run, ran, present)


def _stored(run: Run, key: str) -> PointRecord | None:
    """Return a point's record; one that is damaged or lacks its samples counts as absent.

    It is then run again. Raises NewerResultError for a file that this version must not replace.
    """
    try:
        record = run.point(key)
    except NewerResultError:
        raise
    except ResultError:
        return None
    return record if record is None or record.failure or run.has_samples(key) else None


def _adopted(run: Run, earlier: Sequence[Run], key: str) -> PointRecord | None:
    """Copy a point that an earlier run finished into `run`; None where none did."""
    for other in earlier:
        try:
            record = _stored(other, key)
        except NewerResultError:
            continue
        if record is not None and record.status == "ok":
            run.adopt(record, other)
            return record
    return None


def _run_point(
    task: Task, point: Point, scene: Scene, executor: Executor, here: dict[str, Any]
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
        recipe_file=tidy_path(str(sweep.loaded.path)),
        assignments=list(sweep.loaded.assignments),
        created=utc_now(),
        detections=sweep.scene.detections,
        detections_reason=sweep.detections_reason,
        notes=[tidy_path(note) for note in sweep.scene.notes()],
        points=[
            PlannedPoint(
                key=point.key,
                label=point.label,
                method=point.method,
                params=dict(point.params),
                input=task.input,
                named=list(task.named),
            )
            for task, point in zip(sweep.tasks, sweep.points, strict=True)
        ],
        tool_version=__version__,
    )
