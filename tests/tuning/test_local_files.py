"""A search over weights of a method: its recipes find the files from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.families.checkpoints import save
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.selectors import drawn
from maskvd_cli.methods.svit import SViT, SViTParams
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.tuning.bench import Bench, tuned_recipe
from maskvd_cli.tuning.ending import recipe_of
from maskvd_cli.tuning.goal import goal_of
from maskvd_cli.tuning.search import Budget, run_search
from maskvd_cli.tuning.space import Space, space_of
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import prepare

from ..work.measured_runs import write_kitti, write_weights

RECIPE = """\
schema: 1
name: own
dataset: {name: kitti, root: kitti, split: train}
model: {name: vitdet-ti-global, input: 64x128, frame: 48x128, weights: tiny.safetensors}
methods: [{name: dense}]
metrics: [accuracy]
device: cpu
"""


def write_selectors(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    arch = get_arch("vitdet-ti-global")
    module = drawn(lambda: SViT.new_module(SViTParams(selector="random"), arch), seed)
    facts = {"contains": "module", "method": "svit", "arch": arch.name, "detector": "e" * 64}
    save(path, module.state_dict(), facts)


def svit_space(*given: str) -> Space:
    return space_of("svit", methods.load("svit").params_type, {}, given)


def test_recipes_of_a_search_run_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write_kitti(home / "kitti", clips=1, frames=2)
    write_weights(home / "tiny.safetensors", name="vitdet-ti-global")
    (home / "own.yaml").write_text(RECIPE)
    for seed, name in enumerate(("one", "two")):
        write_selectors(home / "selectors" / f"{name}.safetensors", seed)
    monkeypatch.chdir(home)
    given = "selector=selectors/one.safetensors,selectors/two.safetensors"
    loaded = tuned_recipe(load_recipe(home / "own.yaml", catalog(), []), "svit", None)
    bench = Bench(loaded, "svit", svit_space(given), goal_of(loaded.recipe, "gmacs", None))
    told = [note for note in bench.notes() if "learnt beside" in note]
    assert [name in note for note, name in zip(told, ("two", "one"), strict=True)] == [True] * 2
    outcome = run_search(bench, bench.open(tmp_path / "results", 0), Budget(2, None))
    assert [trial.failure for trial in outcome.trials] == [None, None]
    assert outcome.choice is not None
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    (away / "best.yaml").write_text(recipe_of(bench, outcome))
    for recipe, trials in (
        (away / "best.yaml", [outcome.choice.trial]),
        (outcome.journal.run.folder / "recipe.yaml", outcome.trials),
    ):
        keys = [point.key for point in prepare(load_recipe(recipe, catalog())).points]
        assert sorted(keys) == sorted([bench.baseline.key, *(str(trial.key) for trial in trials)])
    # What others get to see says nothing of the folder.
    plan = outcome.journal.run.plan()
    told = [point.params["selector"] for point in plan.points if point.method == "svit"]
    assert sorted(told) == ["one.safetensors", "two.safetensors"]


def test_files_of_one_name_could_not_be_told_apart(tmp_path: Path) -> None:
    files = [tmp_path / name / "mine.safetensors" for name in ("a", "b")]
    with pytest.raises(RecipeError, match=r"two files are called mine\.safetensors, .*rename one"):
        svit_space(f"selector={files[0]},{files[1]}")
    assert svit_space(f"selector={files[0]}").fixed == {"selector": str(files[0])}
    assert svit_space("selector=random").fixed == {"selector": "random"}
