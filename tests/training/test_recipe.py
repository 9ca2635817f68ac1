"""Training recipes: strict, every mistake with its place, the shipped ones whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.recipe.shipped import find_training, shipped_recipes, shipped_trainings
from maskvd_cli.training.load import load_training
from maskvd_cli.training.schedule import Schedule

from .trainings import RECIPE, write_recipe

SWEEPS = Path(__file__).parents[2] / "recipes"


@pytest.mark.parametrize(
    "name",
    [
        "train-actions",
        "train-actions-temporal",
        "train-epic-temporal",
        "train-evit",
        "train-kitti",
        "train-svit",
        "train-synthetic",
        "train-vid",
        "train-vpp",
    ],
)
def test_shipped_recipes_load_and_are_no_sweeps(name: str) -> None:
    loaded = load_training(find_training(name))
    assert loaded.recipe.description
    assert name in shipped_trainings()
    assert name not in shipped_recipes()
    assert find_training(f"recipes/training/{name}.yaml").stem == name


def test_the_hyperparameters_of_the_papers() -> None:
    kitti = load_training(find_training("train-kitti")).recipe
    schedule = Schedule.of(kitti, 3999)
    assert (schedule.peak, schedule.floor, kitti.optimiser.weight_decay) == (1e-5, 1e-7, 0.1)
    assert (schedule.steps, schedule.warmup) == (3999, 1500)
    vid = Schedule.of(load_training(find_training("train-vid")).recipe, 80_000)
    rates = [vid.learning_rate(epoch * 10_000) for epoch in range(5)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4, 1e-5, 1e-5])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("batch: 2", "batch: two", ":18:1 batch: "),
        ("batch: 2", "batsh: 2", ":18:1 batsh: unknown key (did you mean 'batch'?)"),
        ("name: tiny\n  input", "name: tinny\n  input", "unknown model 'tinny'"),
        ("name: kitti", "name: kiti", "unknown dataset 'kiti' (did you mean 'kitti'?)"),
        ("root: kitti", "split: tests", ":5:24 dataset.split: unknown split 'tests'"),
        ("root: kitti", "root: $NOWHERE_SET", "environment variable NOWHERE_SET is not set"),
        ("warmup: 2", "warmup: 8", "the warm-up is as long as the training"),
        ("warmup: 2", "milestones: [3]", "milestones belong to `decay: milestones`"),
        ("[0.8, 1.2]", "[1.2, 0.8]", "write the smaller number first"),
        ("seed: 3", "seed: 3\nallow_missing: [pyramid.*]", "allow_missing needs init"),
        ("kind: training", "kind: sweep", ":3:1 kind: "),
        ("schema: 1", "schema: 2", ":2:1 schema: "),
    ],
)
def test_mistakes_are_told_with_their_place(
    old: str, new: str, problem: str, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, {old: new})
    with pytest.raises(RecipeError) as caught:
        load_training(path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, {"batch: 2": "batch: 0", "seed: 3": "seed: -1"})
    with pytest.raises(RecipeError) as caught:
        load_training(path)
    assert len(caught.value.problems) == 2


def test_a_sweeps_recipe_is_told_from_a_training() -> None:
    with pytest.raises(RecipeError, match="run it with maskvd sweep"):
        load_training(SWEEPS / "kitti-table1.yaml")
    with pytest.raises(RecipeError, match="did you mean 'train-kitti'"):
        find_training("train-kity")


def test_paths_are_relative_to_the_recipe_or_to_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_training(path).recipe.dataset.root == str(tmp_path / "kitti")
    changed = load_training(path, ["dataset.root=data", "init=weights.pth", "batch=5"]).recipe
    assert changed.dataset.root == str(tmp_path / "elsewhere" / "data")
    assert changed.init == str(tmp_path / "elsewhere" / "weights.pth")
    assert changed.batch == 5


def test_the_cosine_rises_and_falls_to_its_floor() -> None:
    schedule = Schedule(1.0, 110, 10, 0.1, (), 0.1, 10.0)
    rates = [schedule.learning_rate(step) for step in range(110)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[59] == pytest.approx(0.55)
    assert rates[109] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[9:]))


def test_the_recipe_of_the_tests_says_nothing_else(tmp_path: Path) -> None:
    assert load_training(write_recipe(tmp_path)).source.decode() == RECIPE
