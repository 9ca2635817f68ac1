"""A checked recipe with its scenes and keyed points: what every unit of work starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from maskvd_cli.core.errors import RecipeError, ResultError
from maskvd_cli.core.point import Point
from maskvd_cli.families.zoo import entry
from maskvd_cli.methods.fit import unplanned
from maskvd_cli.metrics.registry import metrics
from maskvd_cli.recipe.load import LoadedRecipe
from maskvd_cli.scenes.geometry import Geometry, Site, looks_of
from maskvd_cli.scenes.scene import Scene, scenes_of
from maskvd_cli.tasks.base import Task
from maskvd_cli.tasks.registry import tasks
from maskvd_cli.work.plan import PointSpec, detections_of, measure_of, tasks_of, with_baseline


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
        read = any(metrics.load(name).from_outputs for name in self.measure["metrics"])
        return read or self.scene.detections == "model"

    def traces(self, key: str) -> bool:
        """Tell whether the model runs for a point: asked for, or its cost has no closed form."""
        if self.predicts:
            return True
        spec, scene = self.at(key)
        return unplanned(spec.method, scene.geometry.arch) is not None

    @property
    def scene(self) -> Scene:
        """The first scene; what drives masks, and the remarks, are the same in all."""
        return next(iter(self.scenes.values()))

    def notes(self) -> list[str]:
        """Return what a reader of the results must know of the recipe and of what it reads.

        Of all models: each may have weights with a note of their own.
        """
        told = [note for scene in self.scenes.values() for note in scene.notes()]
        return [*self.loaded.notes, *dict.fromkeys(told), *self.remarks(self.tasks)]

    def remarks(self, specs: Iterable[PointSpec]) -> list[str]:
        """Return what methods remark on points beside the models' weights; planned, nothing."""
        told: list[str] = []
        for spec in specs:
            scene = self.scenes[spec.site]
            if scene.weights is not None:
                arch, weights = scene.geometry.arch, scene.weights.digest
                told += spec.method.remarks(spec.params, arch, weights)
        return list(dict.fromkeys(told))

    @cached_property
    def task(self) -> Task:
        """What the models are asked for, the same of all."""
        return tasks.load(self.scene.geometry.family.task)()

    def at(self, key: str) -> tuple[PointSpec, Scene]:
        """Return the point of a key with its scene.

        Raises ResultError where there is none: what decides the key has changed since.
        """
        if key not in self._specs:
            raise ResultError(
                f"there is no point {key} any more; its dataset, weights or code have changed",
                where=self.loaded.path,
                remedy="sweep again",
            )
        spec = self._specs[key]
        return spec, self.scenes[spec.site]

    @cached_property
    def _specs(self) -> Mapping[str, PointSpec]:
        pairs = zip(self.points, self.tasks, strict=True)
        return {point.key: spec for point, spec in pairs}


def plan_tasks(loaded: LoadedRecipe) -> tuple[list[PointSpec], str, str]:
    """Return the tasks of a recipe, what drives its masks, and why; reads no dataset."""
    detections, reason = detections_of(loaded.recipe)
    for single in loaded.recipe.for_each_model():
        for text in single.model.input:
            Geometry.of(single, text)
    _check_one_task(loaded)
    looks_of(loaded.recipe)
    specs = tasks_of(loaded)
    if measure_of(loaded.recipe) is not None:
        specs = with_baseline(specs, loaded.recipe)
    return specs, detections, reason


def _check_one_task(loaded: LoadedRecipe) -> None:
    """Raise RecipeError where the models of a recipe are asked for different things."""
    asked = {model.name: entry(model.name).family.task for model in loaded.recipe.models}
    if len(set(asked.values())) > 1:
        listed = ", ".join(f"{name}: {task}" for name, task in asked.items())
        raise RecipeError(
            [f"{loaded.path} model: the models have different tasks ({listed}); give each a recipe"]
        )


def prepare(loaded: LoadedRecipe) -> Sweep:
    """Check everything that can be checked before a point runs, the annotations included."""
    specs, detections, reason = plan_tasks(loaded)
    scenes = scenes_of(loaded.recipe, detections)
    points: list[Point] = []
    for spec in specs:
        scene = scenes[spec.site]
        heatmap = scene.heatmap_setting if spec.needs_heatmap else None
        points.append(spec.point(scene.setting, heatmap))
    return Sweep(loaded, scenes, specs, points, reason, measure_of(loaded.recipe))
