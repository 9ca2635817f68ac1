"""A recipe to points: resolve parameters against the backbone, name and key every point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskvd_cli.core.errors import MaskvdError, RecipeError, UsageError
from maskvd_cli.core.point import Point, label_of
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.zoo import entry, get_arch, models
from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.fit import unlike, unplanned
from maskvd_cli.methods.registry import baseline, methods
from maskvd_cli.metrics.base import Metric
from maskvd_cli.metrics.registry import every_metric
from maskvd_cli.recipe.load import LoadedRecipe, MethodPoint
from maskvd_cli.recipe.schema import RANDOM_WEIGHTS, Recipe
from maskvd_cli.recipe.sizes import DEFAULT_INPUT
from maskvd_cli.scenes.geometry import Site

_ESTIMATOR = "estimator"
_MOST_TOLD = 3


@dataclass(frozen=True)
class PointSpec:
    """A point before its key is known: the method, its resolved parameters, model and input.

    `named`: the parameters in its name, those that differ from the method's defaults. `model`: as
    the recipe calls it, None for its first.
    """

    method: type[Method[Params]]
    params: Params
    input: str = DEFAULT_INPUT
    named: tuple[str, ...] = ()
    model: str | None = None

    @property
    def site(self) -> Site:
        """Which of the recipe's scenes the point runs in."""
        return self.model, self.input

    @property
    def label(self) -> str:
        """The readable name; only another input than the default and a further model stand in it.

        So a point keeps its name where a recipe gets one more input or model.
        """
        values = self.params.told()
        named = {name: values[name] for name in self.named}
        if self.model is not None:
            named["model"] = self.model
        if self.input != DEFAULT_INPUT:
            named["input"] = self.input
        return label_of(self.method.name, named)

    @property
    def needs_heatmap(self) -> bool:
        """Tell whether the point's result depends on the heatmap."""
        return self.method.needs_heatmap(self.params)

    def point(self, setting: dict[str, Any], heatmap: dict[str, Any] | None) -> Point:
        """Return the point in a setting; `heatmap` is None where the method uses none.

        Weights that the method brings stand in it by their sha256.
        """
        full = {**setting, "heatmap": heatmap}
        arch = entry(setting["model"]["name"]).arch
        if own := self.method.own_weights(self.params, arch):
            full["own_weights"] = dict(own)
        told = self.params.told()
        return Point(self.label, self.method.name, self.method.revision, told, full)


def tasks_of(loaded: LoadedRecipe) -> list[PointSpec]:
    """Resolve every point of a recipe against its backbone, in the recipe's order.

    Raises RecipeError with one line per entry whose parameters do not fit the backbone, and where
    two entries turn out to be the same point.
    """
    tasks: list[PointSpec] = []
    problems: list[str] = []
    seen: dict[PointSpec, str] = {}
    recipe = loaded.recipe
    first = recipe.model.known_as
    for planned in loaded.points:
        arch = recipe.arch_of(planned.model)
        try:
            task = _task(planned, arch, None if planned.model == first else planned.model)
            if recipe.model.weights is None:
                _check_planned(task, arch)
        except MaskvdError as error:
            problems.append(f"{planned.place} {planned.method}: {error}")
            continue
        if task in seen:
            problems.append(f"{planned.place} {task.label}: the same point as {seen[task]}")
        seen[task] = f"{planned.place} {task.label}"
        tasks.append(task)
    if problems:
        raise RecipeError(dict.fromkeys(problems))
    return tasks


def _check_planned(task: PointSpec, arch: str) -> None:
    """Raise UsageError for a point that annotations alone cannot answer."""
    reason = unplanned(task.method, entry(arch).arch)
    if reason is not None:
        raise UsageError(reason, remedy="give a model to run: model.weights, a file or random")


def _task(planned: MethodPoint, arch: str, model: str | None) -> PointSpec:
    method = methods.load(planned.method)
    assert isinstance(planned.params, Params)
    params = fitted_on(arch, method, planned.params)
    return PointSpec(method, params, planned.input, _naming(method, params), model)


def fitted_on(model: str, method: type[Method[Any]], params: Params) -> Params:
    """Return the parameters, what depends on the model's backbone filled in.

    Raises UsageError for a method that does not fit it, with the models that it fits, those of the
    same family first.
    """
    family, arch = entry(model).family, entry(model).arch
    if (reason := unlike(method, arch)) is not None:
        fitting = {
            name: other.family is not family
            for name, other in models().items()
            if unlike(method, other.arch) is None
        }
        others = sorted(fitting, key=lambda name: fitting[name])
        shown, more = others[:_MOST_TOLD], len(others) - _MOST_TOLD
        shown += [f"one of {more} more ones"] if more > 0 else []
        use = f"use {' or '.join(shown)}" if others else "no model here fits it"
        raise UsageError(reason, remedy=use)
    return method.resolve(params, arch)


def _naming(method: type[Method[Params]], params: Params) -> tuple[str, ...]:
    """Return what differs from the defaults, whatever the recipe spelled out."""
    defaults = dict(type(params).model_construct())
    return tuple(
        name
        for name, value in params
        if value is not None
        and (name in method.naming or name not in defaults or value != defaults[name])
    )


def with_baseline(tasks: list[PointSpec], recipe: Recipe) -> list[PointSpec]:
    """Return the tasks with the baseline in front at every model and input that lacks it.

    What is measured is compared with it, so it always runs.
    """
    missing: list[PointSpec] = []
    for model, text in dict.fromkeys(task.site for task in tasks):
        arch = get_arch(recipe.arch_of(model or recipe.model.known_as))
        if (baseline_point := baseline_at((model, text), arch)) not in tasks:
            missing.append(baseline_point)
    return [*missing, *tasks]


def baseline_at(site: Site, arch: ViTArch) -> PointSpec:
    """Return the baseline without any option: what points at this site are compared with."""
    method = baseline()
    params = method.resolve(method.params_type(), arch)
    model, text = site
    return PointSpec(method, params, text, _naming(method, params), model)


def metrics_of(recipe: Recipe) -> tuple[type[Metric], ...]:
    """Return what is measured, in the order in which it is: nothing without weights.

    Metrics that need a truth are left out with random weights or noise. Raises RecipeError where
    the recipe asks for what cannot be measured.
    """
    weights, asked = recipe.model.weights, recipe.metrics
    if weights is None:
        if asked:
            raise RecipeError(
                [
                    f"{recipe.name}: metrics ({', '.join(asked)}) need a model; give "
                    "model.weights, a file or random"
                ]
            )
        return ()
    if recipe.dataset.statistics is not None:
        raise RecipeError(
            [
                f"{recipe.name}: dataset.statistics have no frames for the model to run on; give "
                "dataset.root, or leave model.weights out"
            ]
        )
    known = every_metric()
    meaningless = weights == RANDOM_WEIGHTS or recipe.dataset.pixels == "noise"
    if asked is None:
        wanted = (metric for metric in known if metric.by_default)
        return tuple(metric for metric in wanted if not (meaningless and metric.needs_truth))
    chosen = tuple(metric for metric in known if metric.name in asked)
    void = [metric.name for metric in chosen if meaningless and metric.needs_truth]
    if void:
        raise RecipeError(
            [
                f"{recipe.name}: random weights and frames of noise have no {', '.join(void)}; "
                "leave it out of metrics, or give a weights file and images"
            ]
        )
    return chosen


def measure_of(recipe: Recipe) -> dict[str, Any] | None:
    """Return the metrics with the protocol of each, as JSON; None where nothing is measured.

    `metrics` lists them in their order; under each one's name stand its section, seed, and
    estimator.
    """
    chosen = metrics_of(recipe)
    if recipe.model.weights is None:
        return None
    measure: dict[str, Any] = {"metrics": [metric.name for metric in chosen]}
    for metric in chosen:
        section = recipe.sections.get(metric.name) or metric.section()
        given = section.model_dump(mode="json")
        if recipe.smoke:
            given |= metric.smoke
        measure[metric.name] = {**given, "seed": recipe.seed, _ESTIMATOR: metric.estimator}
    return measure


def protocol_of(measure: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return what of a recipe decides a metric, from a plan's `measure`."""
    return {name: value for name, value in measure[metric].items() if name != _ESTIMATOR}


def detections_of(recipe: Recipe) -> tuple[str, str]:
    """Return what drives the masks, `model`, `labels`, or `none` where there are no boxes, and why.

    Raises RecipeError where the recipe asks for a detector that it does not give.
    """
    asked, weights = recipe.detections, recipe.model.weights
    if asked == "model" and (weights is None or weights == RANDOM_WEIGHTS):
        given = "model.weights is not given" if weights is None else "random weights detect nothing"
        raise RecipeError(
            [f"{recipe.name}: detections: model asks for the detector, but {given}; give a weights "
             "file, or plan from annotations with `--set detections=labels`"]
        )  # fmt: skip
    if recipe.dataset.statistics is not None:
        return "none", "only the numbers of clips and frames are given, so there are no boxes"
    if asked == "labels":
        return "labels", "the recipe says so"
    if weights is None:
        return "labels", "model.weights is not given, so annotated boxes stand for detections"
    if weights == RANDOM_WEIGHTS:
        return "labels", "random weights detect nothing, so annotated boxes stand for detections"
    return "model", "each frame's masks come from the detections of the frame before"
