"""Whole searches over small clips: resumption, taking over, confirmation, the recipe at the end."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from maskvd_cli.core.errors import ResultError, UsageError
from maskvd_cli.judge.rows import read_report
from maskvd_cli.methods.registry import baseline, methods
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.runs import Run, new_run_id, runs_below
from maskvd_cli.store.sealed import sealed_text
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tuning.bench import Bench, tuned_recipe
from maskvd_cli.tuning.choice import nearest
from maskvd_cli.tuning.ending import recipe_of, verdict
from maskvd_cli.tuning.goal import goal_of
from maskvd_cli.tuning.journal import Confirmation, Trial
from maskvd_cli.tuning.reading import read_trial
from maskvd_cli.tuning.search import Budget, Outcome, run_search
from maskvd_cli.tuning.space import declared_ranges, space_of
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import prepare

_SUPPORT = Path(__file__).parents[1] / "work" / "measured_runs.py"
# Random detectors find next to nothing; static masks differ all the same.
MEASURED = ("mask=static", "score_threshold=default", "margin=default", "period=2,3")


def _write_recipe(folder: Path) -> Path:
    spec = importlib.util.spec_from_file_location("measured_runs_of_tune", _SUPPORT)
    assert spec is not None
    assert spec.loader is not None
    support = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(support)
    return support.write_recipe(folder)


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_recipe(tmp_path_factory.mktemp("tuned"))


def bench_of(
    path: Path, objective: str, loss: float | None, *space: str, weights: bool = True
) -> Bench:
    changes = [] if weights else ["model.weights=null"]
    single = tuned_recipe(load_recipe(path, catalog(), changes), "maskvd", None)
    kind = methods.load("maskvd").params_type
    declared = declared_ranges("maskvd", 32, 16, with_scores=weights)
    made = space_of("maskvd", kind, declared, space)
    return Bench(single, "maskvd", made, goal_of(single.recipe, objective, loss))


@pytest.fixture(scope="module")
def planned(recipe_file: Path) -> Bench:
    return bench_of(recipe_file, "gmacs", None, "margin=default", weights=False)


@pytest.fixture(scope="module")
def measured(recipe_file: Path) -> Bench:
    return bench_of(recipe_file, "latency", 90.0, *MEASURED)


@pytest.fixture(scope="module")
def timed(measured: Bench, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return searched(measured, tmp_path_factory.mktemp("timed"), 2)


def searched(bench: Bench, results: Path, trials: int, **heard: Any) -> Outcome:
    return run_search(bench, bench.open(results, 0), Budget(trials), **heard)


def stamps(run: Run) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (run.folder / "points").iterdir()}


def earlier_layout(text: str) -> bytes:
    """Return a search as version 2 wrote it."""
    content = json.loads(text)
    content["dense"] = content.pop("baseline")
    for trial in (content["dense"], *content["trials"]):
        trial["map50"], trial["map50_change"] = trial.pop("quality"), trial.pop("change")
    content["settings"]["max_map_drop"] = content["settings"].pop("max_loss")
    assert content["settings"].pop("headline") == "map50"
    return sealed_text({**content, "version": 2})


def stop_after(count: int) -> Callable[..., None]:
    """Return what is interrupted when it is called for the `count`-th time."""
    calls: list[object] = []

    def heard(*words: object) -> None:
        calls.append(words)
        if len(calls) == count:
            raise KeyboardInterrupt

    return heard


def test_a_planned_search_ends_with_its_cheapest_point(planned: Bench, tmp_path: Path) -> None:
    outcome = searched(planned, tmp_path, 6)
    assert outcome.choice is not None
    costs = [trial.cost.value for trial in outcome.trials if trial.cost is not None]
    assert len(costs) == 6
    assert outcome.choice.trial.cost is not None
    assert outcome.choice.trial.cost.value == min(costs)
    assert outcome.choice.trial.gmacs == min(costs)
    assert outcome.confirmed is None


@pytest.mark.parametrize("where", ["on_trial", "on_talk"])
def test_a_search_that_was_stopped_ends_as_one_that_was_not(
    planned: Bench, tmp_path: Path, where: str
) -> None:
    told: list[object] = []
    whole = searched(planned, tmp_path / "whole", 6, **{where: lambda *words: told.append(words)})
    results = tmp_path / "stopped"
    # In the middle: a point says something of each of its clips.
    with pytest.raises(KeyboardInterrupt):
        searched(planned, results, 6, **{where: stop_after(len(told) * 4 // 7)})
    journal = planned.open(results, 0)
    before = stamps(journal.run)
    assert 2 <= len(journal.trials) <= 3
    resumed = searched(planned, results, 6)
    assert resumed.journal.run == journal.run
    assert resumed.trials == whole.trials
    after = stamps(journal.run)
    assert len(after) == 7
    assert {name: after[name] for name in before} == before
    again = searched(planned, results, 6)
    assert again.trials == whole.trials
    assert stamps(journal.run) == after


def test_another_seed_begins_another_search_and_takes_points_over(
    planned: Bench, tmp_path: Path
) -> None:
    first = searched(planned, tmp_path, 2)
    journal = planned.open(tmp_path, 1)
    assert journal.run != first.journal.run
    second = run_search(planned, journal, Budget(1))
    record = second.journal.run.point(planned.baseline.key)
    assert record is not None
    assert record == first.journal.run.point(planned.baseline.key)


def test_more_trials_go_on_and_a_small_space_ends(recipe_file: Path, tmp_path: Path) -> None:
    bench = bench_of(
        recipe_file, "tokens", None, "margin=0", "period=2,4", "static_keep_rate=0.2,0.5",
        weights=False,
    )  # fmt: skip
    assert len(searched(bench, tmp_path, 2).trials) == 2
    outcome = searched(bench, tmp_path, 30)
    assert len(outcome.trials) == 4
    assert outcome.ended == "all 4 points of the space were tried"
    assert len(runs_below(tmp_path)) == 1


def test_the_run_is_an_ordinary_one(planned: Bench, tmp_path: Path) -> None:
    outcome = searched(planned, tmp_path, 3)
    report = read_report(outcome.journal.run)
    assert list(report.rows["status"]) == ["ok"] * 4
    assert list(report.rows["method"]) == ["dense", *["maskvd"] * 3]
    again = prepare(load_recipe(outcome.journal.run.folder / "recipe.yaml", catalog()))
    assert [point.key for point in again.points] == list(report.rows["key"])
    plan = outcome.journal.run.plan()
    assert {name: about.role for name, about in plan.methods.items()} == {
        "dense": "baseline",
        "maskvd": "method",
    }
    assert report.legend.columns_of("maskvd")["period"] == "P"
    periods = [trial.params["period"] for trial in outcome.trials]
    assert list(report.rows["period"])[1:] == periods


def test_two_searches_do_not_write_to_one_run(planned: Bench, tmp_path: Path) -> None:
    def meddle(trial: Trial, is_new: bool) -> None:
        searched(planned, tmp_path, 2)

    with pytest.raises(ResultError, match="another search"):
        searched(planned, tmp_path, 2, on_trial=meddle)


def test_damaged_files_of_a_search_are_told(planned: Bench, tmp_path: Path) -> None:
    outcome = searched(planned, tmp_path, 1)
    path = outcome.journal.folder / "tune.json"
    path.write_text(path.read_text().replace('"number": 1', '"number": NaN'))
    with pytest.raises(ResultError, match="damaged file of a search"):
        planned.open(tmp_path, 0)


def test_finalists_are_timed_together_in_one_session(timed: Outcome) -> None:
    assert timed.confirmed is not None
    keys = [trial.key or "" for trial in timed.finalists]
    records = [timed.confirmed.measured("latency", key) for key in keys]
    sessions = {record.known_details.session for record in records if record}
    assert len(sessions) == 1
    before = [timed.journal.run.measured("latency", key) for key in keys]
    assert not sessions & {record.known_details.session for record in before if record}
    assert timed.choice is not None
    last = timed.confirmed.measured("latency", timed.choice.trial.key or "")
    assert last is not None
    assert timed.choice.trial.cost is not None
    assert timed.choice.trial.cost.value == pytest.approx(1 / last.values["speedup"].value)


def test_confirming_runs_no_point_again(timed: Outcome) -> None:
    assert timed.confirmed is not None
    for trial in timed.finalists:
        theirs = timed.confirmed.point(trial.key or "")
        assert theirs is not None
        assert theirs == timed.journal.run.point(trial.key or "")


def test_a_finished_search_measures_nothing_again(timed: Outcome, measured: Bench) -> None:
    folder = timed.journal.run.folder.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("measured/*/*")}
    again = searched(measured, folder.parent, 2)
    assert again.choice == timed.choice
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("measured/*/*")} == before


def test_the_recipe_of_the_choice_gives_its_key(
    timed: Outcome, measured: Bench, tmp_path: Path
) -> None:
    assert timed.choice is not None
    path = tmp_path / "best.yaml"
    path.write_text(recipe_of(measured, timed))
    sweep = prepare(load_recipe(path, catalog()))
    assert [point.key for point in sweep.points] == [measured.baseline.key, timed.choice.trial.key]


def test_what_loses_too_much_is_neither_timed_nor_chosen(measured: Bench, timed: Outcome) -> None:
    """mAP50 would have to rise by a point, which it does not; points are taken over."""
    goal = replace(measured.goal, max_loss=-1.0)
    bench = Bench(measured.loaded, "maskvd", measured.space, goal)
    outcome = searched(bench, timed.journal.run.folder.parent.parent, 2)
    assert [trial.key for trial in outcome.trials] == [trial.key for trial in timed.trials]
    assert all(trial.change and trial.cost is None for trial in outcome.trials)
    assert outcome.choice is None
    assert outcome.confirmed is None
    assert not (outcome.journal.run.folder / "measured" / "latency").exists()
    assert "No trial loses at most" in verdict(goal, outcome)[0]
    near = nearest(outcome.trials, goal)
    assert near is not None
    assert near.label in verdict(goal, outcome)[0]


def test_goals_that_nothing_measures_are_refused(recipe_file: Path) -> None:
    planned = load_recipe(recipe_file, catalog(), ["model.weights=null"]).recipe
    with pytest.raises(UsageError, match="objective latency needs a model"):
        goal_of(planned, "latency", None)
    with pytest.raises(UsageError, match="no mAP50 without"):
        goal_of(planned, "gmacs", 1.0)
    drawn = load_recipe(recipe_file, catalog(), ["model.weights=random"]).recipe
    with pytest.raises(UsageError, match="no mAP50 of random weights"):
        goal_of(drawn, "latency", 1.0)
    assert goal_of(drawn, "latency", None).max_loss is None
    assert goal_of(load_recipe(recipe_file, catalog()).recipe, "peak", None).max_loss == 1.0
    with pytest.raises(UsageError, match=r"unknown objective 'latencey'.*'latency'"):
        goal_of(drawn, "latencey", None)
    for loss in (float("nan"), float("inf")):
        with pytest.raises(UsageError, match="is no limit; give a number to --max-loss"):
            goal_of(load_recipe(recipe_file, catalog()).recipe, "peak", loss)


def test_the_goal_of_a_recipe_comes_from_its_task_and_the_baseline(recipe_file: Path) -> None:
    goal = goal_of(load_recipe(recipe_file, catalog()).recipe, "latency", 0.5)
    assert (goal.headline, goal.baseline) == (Detection.headline(), baseline().name)
    assert (goal.scored_by, goal.passes) == ("accuracy", ["accuracy", "latency"])
    assert goal.more_is_better


def test_a_search_may_make_any_counted_quantity_small(recipe_file: Path, tmp_path: Path) -> None:
    bench = bench_of(
        recipe_file, "state_mb", None, "margin=0", "period=4", "static_keep_rate=0.2,0.5",
        weights=False,
    )  # fmt: skip
    outcome = searched(bench, tmp_path, 2)
    for trial in [outcome.baseline, *outcome.trials]:
        record = outcome.journal.run.point(trial.key or "")
        assert record is not None and record.metrics is not None and trial.cost is not None
        assert trial.cost.value == record.metrics.state_bytes / 1e6


def test_an_objective_without_a_value_fails_its_trial(recipe_file: Path, tmp_path: Path) -> None:
    """Else it would count as 0, and every later trial would be drawn near it."""
    bench = bench_of(recipe_file, "gmacs", None, "period=2,4", "margin=0", weights=False)
    outcome = searched(bench, tmp_path, 1)
    nowhere = replace(bench.goal.objective, quantity="gmacs_of_nothing")
    goal = replace(bench.goal, objective=nowhere)
    trial = outcome.trials[0]
    again = read_trial(
        outcome.journal.run, goal, 1, trial.params, bench.point(bench.task(trial.params))
    )
    assert (again.state, again.cost) == ("failed", None)
    assert again.failure == "GMACs could not be told of this point"


def test_the_peak_is_that_of_the_record(recipe_file: Path, tmp_path: Path) -> None:
    bench = bench_of(recipe_file, "peak", 90.0, "mask=static", "score_threshold=default",
                     "margin=default", "period=2", "static_keep_rate=0.2,0.5")  # fmt: skip
    outcome = searched(bench, tmp_path, 2)
    assert outcome.confirmed is None
    for trial in [outcome.baseline, *outcome.trials]:
        record = outcome.journal.run.measured("memory", trial.key or "")
        assert record is not None and trial.cost is not None
        assert trial.cost == record.values["peak_mib"]
    assert outcome.choice is not None
    assert "peak MiB" in verdict(bench.goal, outcome)[0]


def test_a_search_of_before_goes_on(planned: Bench, tmp_path: Path) -> None:
    """Its file called headline and baseline by name, and the limit by the headline."""
    first = searched(planned, tmp_path, 2)
    path = first.journal.folder / "tune.json"
    path.write_bytes(earlier_layout(path.read_text()))
    before = stamps(first.journal.run)
    again = searched(planned, tmp_path, 3)
    assert again.journal.run == first.journal.run
    assert again.trials[:2] == first.trials
    assert again.baseline == first.baseline
    after = stamps(again.journal.run)
    assert {name: after[name] for name in before} == before
    content = json.loads(path.read_text())
    assert content["version"] == 3
    assert {"dense", "map50"}.isdisjoint([*content, *content["trials"][0], *content["baseline"]])


def test_the_verdict_says_how_it_was_chosen(timed: Outcome, measured: Bench) -> None:
    text = " ".join(verdict(measured.goal, timed))
    assert "interleaved with dense" in text
    assert "a loss of 90 points is allowed" in text


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/tmp/x", "a\\b", "x" * 200, "a\nb"]
)
def test_the_run_of_a_confirmation_is_a_name_and_no_path(name: str) -> None:
    with pytest.raises(ValidationError):
        Confirmation.model_validate({"run": name, "keys": []})
    assert Confirmation(run=new_run_id(), keys=[]).run
