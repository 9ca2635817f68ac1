"""Perform a unit that measures: open what the metric works with, and let it run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from maskvd_cli.methods.base import Method, Params
from maskvd_cli.metrics.registry import metrics
from maskvd_cli.metrics.session import Outputs, Session
from maskvd_cli.scenes.scene import Scene
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.runs import Run
from maskvd_cli.tasks.base import Evaluation
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.tasks.stored import StoredTruth, evaluation, tracking
from maskvd_cli.work.plan import PointSpec
from maskvd_cli.work.prepare import Sweep
from maskvd_cli.work.unit import Unit


def perform_session(
    unit: Unit, sweep: Sweep, on_talk: Callable[[str], None] = lambda text: None
) -> Iterator[Piece]:
    """Yield each piece of a metric's session as it ends.

    Options of the unit: `protocol`, and as they stand in `Session` `baseline`, `done`, `lost` and
    `full_share`; `folder`: the run whose outputs are read.
    """
    metric = metrics.load(unit.what)()
    given = unit.options

    def talk(text: str) -> None:
        on_talk(f"{unit.what}, {text}")

    about: dict[str, Any] = {
        "baseline": given.get("baseline"),
        "done": frozenset(given.get("done", ())),
        "lost": frozenset(given.get("lost", ())),
        "full_share": dict(given.get("full_share", {})),
        "on_talk": talk,
    }
    points = [sweep.at(key) for key in unit.keys]
    if metric.from_outputs:
        series = {key: no_method for key in unit.keys}
        session = Session(series, outputs=stored_outputs(Run(Path(given["folder"]))), **about)
    else:
        # One scene, asked for its model here: the models of others are let go of.
        scene = points[0][1]
        model = scene.measured.model(scene.geometry)
        specs = [spec for spec, _ in points]
        series = {key: _maker(spec, scene) for key, spec in zip(unit.keys, specs, strict=True)}
        needed = any(spec.needs_heatmap for spec in specs)
        clips = scene.feed.clips(scene.views(with_scores=needed))
        session = Session(series, clips=clips, loaded=model, device=scene.measured.device, **about)
    yield from metric.run(session, given["protocol"])


def _maker(spec: PointSpec, scene: Scene) -> Callable[[], Method[Params]]:
    return lambda: spec.method(spec.params, scene.measured.model(scene.geometry).backbone)


def no_method() -> Method[Params]:
    """Stand for a method where outputs are read. Raises ValueError."""
    raise ValueError("no method runs in a session that reads outputs")


def stored_outputs(run: Run) -> Outputs:
    """Return the stored outputs of a run."""
    task, truth = tasks.load(run.plan().task)(), StoredTruth.of(run)

    def evaluated(key: str) -> Evaluation | None:
        if not run.has_predictions(key):
            return None
        return evaluation(truth, key, task)

    def tracked(key: str) -> Evaluation | None:
        return tracking(truth, key, task) if run.has_predictions(key) else None

    return Outputs(task, evaluated, truth.videos, tracked)
