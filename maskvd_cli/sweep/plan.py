"""A recipe to points: resolve parameters against the backbone, name and key every point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.errors import MaskvdError, RecipeError
from maskvd_cli.core.point import Point, label_of
from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.registry import methods
from maskvd_cli.models.arch import ViTArch
from maskvd_cli.recipe.load import LoadedRecipe, MethodPoint
from maskvd_cli.recipe.schema import DEFAULT_INPUT, Recipe


@dataclass(frozen=True)
class Task:
    """A point before its key is known: the method, its resolved parameters, and the input.

    `named`: the parameters in its name, those that differ from the method's defaults.
    """

    method: type[Method[Params]]
    params: Params
    input: str = DEFAULT_INPUT
    named: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The readable name; of inputs, too, only another than the default stands in it.

        So a point keeps its name where a recipe gets one more input.
        """
        values = self.params.model_dump(mode="json")
        told = {name: values[name] for name in self.named}
        if self.input != DEFAULT_INPUT:
            told["input"] = self.input
        return label_of(self.method.name, told)

    @property
    def needs_heatmap(self) -> bool:
        """Tell whether the point's result depends on the heatmap."""
        return self.method.needs_heatmap(self.params)

    def point(self, setting: dict[str, Any], heatmap: dict[str, Any] | None) -> Point:
        """Return the point in a setting; `heatmap` is None where the method uses none."""
        params = self.params.model_dump(mode="json")
        full = {**setting, "heatmap": heatmap}
        return Point(self.label, self.method.name, self.method.revision, params, full)


def tasks_of(loaded: LoadedRecipe, arch: ViTArch) -> list[Task]:
    """Resolve every point of a recipe against the backbone, in the recipe's order.

    Raises RecipeError with one line per entry whose parameters do not fit the backbone, and where
    two entries turn out to be the same point.
    """
    tasks: list[Task] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for planned in loaded.points:
        try:
            task = _task(planned, arch)
        except MaskvdError as error:
            problems.append(f"{planned.place} {planned.method}: {error}")
            continue
        identity = f"{task.input} {task.method.name} {task.params.model_dump_json()}"
        if identity in seen:
            problems.append(f"{planned.place} {task.label}: the same point as {seen[identity]}")
        seen[identity] = f"{planned.place} {task.label}"
        tasks.append(task)
    if problems:
        raise RecipeError(dict.fromkeys(problems))
    return tasks


def _task(planned: MethodPoint, arch: ViTArch) -> Task:
    method = methods.load(planned.method)
    assert isinstance(planned.params, Params)
    params = method.resolve(planned.params, arch)
    return Task(method, params, planned.input, _naming(method, params))


def _naming(method: type[Method[Params]], params: Params) -> tuple[str, ...]:
    """Return what differs from the defaults, whatever the recipe spelled out."""
    defaults = dict(type(params).model_construct())
    return tuple(
        name
        for name, value in params
        if value is not None
        and (name in method.naming or name not in defaults or value != defaults[name])
    )


def detections_of(recipe: Recipe) -> tuple[str, str]:
    """Return what drives the masks, `labels`, or `none` where there are no boxes, and why.

    Raises RecipeError where the recipe asks for the detector, which this version cannot run.
    """
    asked, weights = recipe.detections, recipe.model.weights
    if recipe.dataset.statistics is not None and asked != "model":
        return "none", "only the numbers of clips and frames are given, so there are no boxes"
    if asked == "labels":
        return "labels", "the recipe says so"
    if asked == "auto" and weights is None:
        return "labels", "model.weights is not given, so annotated boxes stand for detections"
    reason = "detections: model" if asked == "model" else f"model.weights ({weights})"
    raise RecipeError(
        [f"{recipe.name}: {reason} asks for the detector, which this version does not run yet; "
         "plan from annotations with `--set detections=labels`"]
    )  # fmt: skip
