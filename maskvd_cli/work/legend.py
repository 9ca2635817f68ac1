"""What a run's plan says, so that readers need no metric, no method and no recipe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from maskvd_cli import __version__
from maskvd_cli.core.counts import COUNTED, COUNTS
from maskvd_cli.machine.environment import tidy_path
from maskvd_cli.methods.legend import legend
from maskvd_cli.metrics.registry import every_metric
from maskvd_cli.recipe.shipped import recipe_origin
from maskvd_cli.store.runs import utc_now
from maskvd_cli.store.schema import Plan, PlannedPoint, StoredMethod, StoredQuantity
from maskvd_cli.tasks.base import Task
from maskvd_cli.work.prepare import Sweep


def plan_of(sweep: Sweep) -> Plan:
    """Return what is written before anything runs."""
    recipe = sweep.loaded.recipe
    return Plan(
        recipe=recipe.name,
        description=recipe.description,
        recipe_file=tidy_path(recipe_origin(sweep.loaded.path)),
        assignments=list(sweep.loaded.assignments),
        created=utc_now(),
        detections=sweep.scene.detections,
        detections_reason=sweep.detections_reason,
        notes=[tidy_path(note) for note in sweep.notes()],
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
                model=task.model or recipe.model.known_as,
                input=task.input,
                named=list(task.named),
            )
            for task, point in zip(sweep.tasks, sweep.points, strict=True)
        ],
        tool_version=__version__,
    )


def quantities_of(task: type[Task]) -> list[StoredQuantity]:
    """Return the counts of points and the quantities of all metrics, each name once.

    Metrics that are not measured are among them: papers have values for their quantities.
    """
    yielded = [(COUNTS, (*COUNTED, *task.counted))]
    yielded += [(metric.name, metric.yields(task)) for metric in every_metric()]
    stored: dict[str, StoredQuantity] = {}
    for of, quantities in yielded:
        for quantity in quantities:
            stored.setdefault(quantity.name, StoredQuantity(**asdict(quantity), of=of))
    return list(stored.values())


def methods_of(names: Iterable[str]) -> dict[str, StoredMethod]:
    """Return role, words, columns and style of methods by name."""
    return {name: legend(name) for name in dict.fromkeys(names)}
