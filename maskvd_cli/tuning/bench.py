"""Where trials run: one run folder that grows by a point per trial, its scene opened once.

Every trial is an ordinary point of an ordinary sweep. Points and measurements that earlier runs of
the same recipe made are taken over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.point import Point
from maskvd_cli.judge.measured import subset_text
from maskvd_cli.methods.base import Method, Params
from maskvd_cli.methods.registry import baseline, methods
from maskvd_cli.recipe.load import LoadedRecipe, MethodPoint
from maskvd_cli.store.atomic import refuse_inside
from maskvd_cli.store.runs import Run, new_run_id, runs_below, utc_now
from maskvd_cli.store.schema import PlannedPoint
from maskvd_cli.store.sealed import readable_json
from maskvd_cli.tuning.chosen_recipe import recipe_text
from maskvd_cli.tuning.goal import Goal
from maskvd_cli.tuning.journal import Journal, Trial, Tune, find_journal
from maskvd_cli.tuning.proposals import optuna_version
from maskvd_cli.tuning.reading import exact, read_trial
from maskvd_cli.tuning.space import Space
from maskvd_cli.work.legend import methods_of
from maskvd_cli.work.plan import PointSpec, measure_of, tasks_of
from maskvd_cli.work.runner import Sweep, prepare, run_sweep

OnTalk = Callable[[str], None]


def tuned_recipe(loaded: LoadedRecipe, method: str, model: str | None) -> LoadedRecipe:
    """Return the recipe with the baseline alone on one model at one input.

    That is `model`, else where the recipe itself runs the method first, else its first model.
    Raises UsageError for a model that the recipe has not.
    """
    recipe = loaded.recipe
    names = [section.known_as for section in recipe.models]
    if model is not None and model not in names:
        raise UsageError(
            f"the recipe has no model {model}", remedy=f"choose one of: {', '.join(names)}"
        )
    sites = [(p.model, p.input) for p in loaded.points if p.method == method]
    sites += [(section.known_as, section.input[0]) for section in recipe.models]
    name, text = next(site for site in sites if model in (None, site[0]))
    beside = baseline()
    section = recipe.models[names.index(name)].model_copy(update={"input": [text]})
    changed = recipe.model_copy(update={"models": [section], "methods": [{"name": beside.name}]})
    point = MethodPoint(beside.name, beside.params_type(), beside.name, name, text)
    source = recipe_text(changed, method, (), "").encode()
    return LoadedRecipe(loaded.path, changed, (point,), source, ())


class Bench:
    """Runs points of one method in one growing run folder; knows nothing of what comes next.

    Raises UsageError where the method cannot run on the recipe's model.
    """

    def __init__(self, loaded: LoadedRecipe, method: str, space: Space, goal: Goal) -> None:
        optuna_version()
        self.loaded, self.space, self.goal = loaded, space, goal
        self.method: type[Method[Params]] = methods.load(method)
        # What does not fit the model at all is told before anything is read.
        self.task(space.params([len(values) - 1 for values in space.axes.values()]))
        self._sweep = prepare(self._with(self._before))
        self.baseline = self._sweep.points[0]

    def settings(self, seed: int) -> dict[str, Any]:
        """Return all that decides the search, as JSON."""
        made = {
            "recipe": self.loaded.recipe.name,
            "setting": self._sweep.scene.setting,
            "heatmap": self.loaded.recipe.heatmap.model_dump(mode="json"),
            "measure": measure_of(self._with(self.goal.passes).recipe),
            "method": self.method.name,
            "revision": self.method.revision,
            "space": dict(self.space.axes),
            "fixed": dict(self.space.fixed),
            "objective": self.goal.objective.word,
            "headline": self.goal.headline.name,
            "max_loss": self.goal.max_loss,
            "seed": seed,
        }
        return json.loads(readable_json(made))

    def open(self, results: Path, seed: int) -> Journal:
        """Return the newest search with the same settings below `results`, or begin one.

        Raises ResultError where `results` lies in the dataset's folder.
        """
        root = self._sweep.scene.source.root
        if root is not None:
            refuse_inside(results, root)
        folder, settings = results / self.loaded.recipe.name, self.settings(seed)
        found = find_journal(runs_below(folder), settings)
        if found is not None:
            return found
        content = Tune(settings=settings, optuna=optuna_version(), created=utc_now())
        return Journal(Run(folder / new_run_id()), content)

    def notes(self) -> list[str]:
        """Return what drives the masks, and what readers of the data and the method remarked."""
        scene, space = self._sweep.scene, self.space
        masks = f"masks from {scene.detections}: {self._sweep.detections_reason}"
        params = space.params([len(values) - 1 for values in space.axes.values()])
        # Files are texts, and each may have been made for something else.
        texts = [(name, each) for name, values in space.axes.items() for each in values]
        others = [{name: text} for name, text in texts if isinstance(text, str)]
        specs = [self.task({**params, **other}) for other in ({}, *others)]
        return [masks, *scene.notes(), *self._sweep.remarks(specs)]

    def subset(self) -> str | None:
        """Return which part of the data the search runs on, None for all of it."""
        return subset_text(self._sweep.scene.setting)

    def task(self, params: Mapping[str, Any]) -> PointSpec:
        """Return the point with these parameters. Raises UsageError or RecipeError."""
        try:
            made: BaseModel = self.method.params_type.model_validate_json(json.dumps(dict(params)))
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise UsageError(f"{self.method.name} with {dict(params)}: {reason}") from error
        beside = self.loaded.points[0]
        point = MethodPoint(self.method.name, made, "--method", beside.model, beside.input)
        return tasks_of(replace(self.loaded, points=(point,)))[0]

    def point(self, task: PointSpec) -> Point:
        """Return a task's point with its key; the heatmap is made where it is first needed."""
        scene = self._sweep.scenes[task.site]
        return task.point(scene.setting, scene.heatmap_setting if task.needs_heatmap else None)

    def run_baseline(self, run: Run, on_talk: OnTalk) -> Trial:
        """Run the baseline first: every trial is compared with it."""
        objective = self.goal.objective
        self._run(run, self._sweep, on_talk)
        # A share is 1, and what it is a share of is measured beside every trial.
        if objective.of is not None and not objective.is_share:
            self._run(run, self.sweep([]), on_talk)
        trial = read_trial(run, self.goal, 0, {}, self.baseline)
        if trial.state == "failed":
            name = self.goal.baseline
            raise UsageError(f"{name} failed: {trial.failure}", remedy="mend that first")
        return trial.model_copy(update={"cost": exact(1.0)}) if objective.is_share else trial

    def run_trial(self, run: Run, number: int, params: dict[str, Any], on_talk: OnTalk) -> Trial:
        """Run one point: the headline first, the objective's metric only where that is allowed."""
        try:
            task = self.task(params)
        except MaskvdError as error:
            return Trial(
                number=number, params=params, label=self.method.name, key=None,
                state="failed", failure=str(error),
            )  # fmt: skip
        point = self.point(task)
        self._run(run, self.sweep([task], self._before), on_talk)
        trial = read_trial(run, self.goal, number, params, point)
        if not self.goal.allows(trial) or self.goal.objective.of is None:
            return trial
        self._run(run, self.sweep([task]), on_talk)
        return read_trial(run, self.goal, number, params, point)

    def sweep(self, tasks: Sequence[PointSpec], measured: Sequence[str] | None = None) -> Sweep:
        """Return a sweep of the baseline and these tasks in the scene that is open already.

        `measured`: the metrics of it, by default all of the search.
        """
        loaded = self._with(self.goal.passes if measured is None else measured)
        points = [self.baseline, *(self.point(task) for task in tasks)]
        return replace(
            self._sweep, loaded=loaded, tasks=[self._sweep.tasks[0], *tasks], points=points,
            measure=measure_of(loaded.recipe),
        )  # fmt: skip

    def finish(self, run: Run) -> None:
        """Let the run's plan name all that was measured in it."""
        self._grow(run, self.sweep([]))

    def read_again(self, run: Run, trial: Trial) -> Trial:
        """Return a trial with what `run` holds of its point."""
        point = self.point(self.task(trial.params))
        return read_trial(run, self.goal, trial.number, trial.params, point)

    @property
    def _before(self) -> Sequence[str]:
        """The metrics that come before the objective's."""
        return [name for name in self.goal.passes if name != self.goal.objective.of]

    def _with(self, measured: Sequence[str]) -> LoadedRecipe:
        if self.loaded.recipe.model.weights is None:
            return self.loaded
        recipe = self.loaded.recipe.model_copy(update={"metrics": list(measured)})
        return replace(self.loaded, recipe=recipe)

    def _run(self, run: Run, sweep: Sweep, on_talk: OnTalk) -> None:
        """Let the run's plan grow by the points of a sweep, and run what is missing of them."""
        if run.has_begun():
            self._grow(run, sweep)
        others = runs_below(run.folder.parent)
        earlier = [other for other in reversed(others) if other != run]
        run_sweep(sweep, run, earlier, on_talk=on_talk)

    def _grow(self, run: Run, sweep: Sweep) -> None:
        plan = run.plan()
        known = {point.key for point in plan.points}
        fresh = [
            PlannedPoint(
                key=point.key, label=point.label, method=point.method, params=dict(point.params),
                model=task.model or sweep.loaded.recipe.model.known_as, input=task.input,
                named=list(task.named),
            )
            for task, point in zip(sweep.tasks, sweep.points, strict=True)
            if point.key not in known
        ]  # fmt: skip
        points = [*plan.points, *fresh]
        about = methods_of(point.method for point in points)
        grown = plan.model_copy(
            update={"points": points, "methods": about, "measure": sweep.measure}
        )
        if grown == plan:
            return
        told = [point.params for point in grown.points if point.method == self.method.name]
        tried = [{name: self.space.named(name, v) for name, v in each.items()} for each in told]
        text = recipe_text(sweep.loaded.recipe, self.method.name, tried, "points of a search")
        with run.lock():
            run.write_plan(grown, text.encode(), run.environment())
