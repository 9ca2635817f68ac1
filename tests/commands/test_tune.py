"""`maskvd tune`: options, what it prints, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.core.errors import UsageError
from maskvd_cli.data.synthetic import write_labels
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import prepare

RECIPE = """\
schema: 1
name: planned
dataset: {name: kitti, root: set}
model: {name: vitdet-b, input: 672x672}
methods: [{name: dense}]
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe without weights, on a small set of labels."""
    write_labels(tmp_path / "set", 4, 8, 0)
    (tmp_path / "planned.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return "planned.yaml"


def tune(*words: object) -> Result:
    return CliRunner().invoke(app, ["tune", *map(str, words)])


def test_the_chosen_point_comes_as_table_and_recipe(recipe: str, tmp_path: Path) -> None:
    words = (recipe, "--objective", "gmacs", "--trials", 3)
    done = tune(*words)
    assert done.exit_code == 0, done.output
    assert "chosen" in done.stdout
    assert "trial 3/3: " in done.stderr
    assert "best so far: GMACs" in done.stderr
    text = done.stdout.split("# as a recipe, for maskvd sweep\n")[1]
    (tmp_path / "printed.yaml").write_text(text)
    again = tune(*words, "-o", "best", "--json")
    assert again.exit_code == 0, again.output
    found = json.loads(again.stdout)
    assert (tmp_path / "best.yaml").read_text() == found["recipe"] == text
    assert "goes on after 3 trials" in again.stderr
    keys = [p.key for p in prepare(load_recipe(tmp_path / "printed.yaml", catalog())).points]
    assert keys[-1] == found["chosen"]["key"]
    assert min(trial["gmacs"] for trial in found["trials"]) == found["chosen"]["gmacs"]


def test_a_recipe_that_is_there_is_overwritten_only_by_force(recipe: str, tmp_path: Path) -> None:
    words = (recipe, "--objective", "tokens", "--trials", 1, "-o", "best")
    (tmp_path / "best.yaml").write_text("mine")
    done = tune(*words)
    assert done.exit_code == 2, done.output
    assert "best.yaml: exists; choose another name, or --force" in done.stderr
    assert (tmp_path / "best.yaml").read_text() == "mine"
    assert not (tmp_path / "results").exists()
    assert tune(*words, "--force").exit_code == 0
    assert "methods:" in (tmp_path / "best.yaml").read_text()


def test_a_search_says_what_it_does_where_no_terminal_shows_it(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskvd_cli.commands.tune._BETWEEN", 0.0)
    done = tune(recipe, "--objective", "tokens", "--trials", 1)
    assert done.exit_code == 0, done.output
    lines = done.stderr.splitlines()
    assert lines[0] == "reading annotations"
    trial = next(number for number, line in enumerate(lines) if line.startswith("trial 1/1: "))
    assert any("maskvd" in line for line in lines[1:trial])


@pytest.mark.parametrize("option", ["--max-loss", "--max-map-drop"])
def test_the_limit_has_two_names(recipe: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    def noted(recipe: object, objective: str, max_loss: float | None) -> None:
        limits.append(max_loss)
        raise UsageError("enough")

    monkeypatch.setattr("maskvd_cli.tuning.goal.goal_of", noted)
    assert tune(recipe, option, 2.5).exit_code == 2
    assert limits == [2.5]


def test_a_file_of_a_search_that_is_a_link_is_told(recipe: str, tmp_path: Path) -> None:
    words = (recipe, "--objective", "tokens", "--trials", 1)
    assert tune(*words).exit_code == 0
    (path,) = tmp_path.glob("results/planned/*/tune/tune.json")
    path.rename(tmp_path / "moved.json")
    path.symlink_to(tmp_path / "moved.json")
    done = tune(*words, "--quiet")
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert "tune.json: damaged file of a search (is a link, no regular file); " in done.stderr
    assert path.is_symlink()


def test_quiet_says_nothing_beside_the_result(recipe: str) -> None:
    done = tune(recipe, "--objective", "tokens", "--trials", 1, "--quiet")
    assert done.exit_code == 0
    assert done.stderr == ""
    assert "chosen" in done.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--objective", "speed"), "unknown objective 'speed'"),
        (("--method", "maskdv"), "did you mean 'maskvd'"),
        (("--objective", "gmacs", "--space", "perod=2"), "did you mean 'period'"),
        (("--objective", "speed"), "gmacs, gmacs_detector"),
        (("--objective", "gmacs", "--max-map-drop", 1), "no mAP50 without model.weights"),
        (("--objective", "gmacs", "--max-loss", 1), "or leave --max-loss out"),
        (("--objective", "gmacs", "--max-loss", "inf"), "is no limit"),
        (("--objective", "latency"), "needs a model that runs"),
        (("--objective", "gmacs", "--model", "vitdet-s"), "the recipe has no model vitdet-s"),
        (("--objective", "gmacs", "--method", "dense"), "give --space"),
        (("--objective", "gmacs", "--method", "evit"), "use vitdet-b-global"),
        (("--objective", "gmacs", "--results", "set/out"), "never writes to"),
        (("--objective", "gmacs", "-o", "set/best.yaml"), "never writes to"),
    ],
)
def test_bad_options_are_told_in_a_line(
    recipe: str, words: tuple[object, ...], reason: str
) -> None:
    done = tune(recipe, *words)
    assert done.exit_code == 2, done.output
    assert reason in done.stderr
    assert "Traceback" not in done.output


def test_without_a_point_that_ran_the_exit_code_is_3(recipe: str) -> None:
    """Gates choose by pixels, so that nothing of them can be planned from labels."""
    words = ("--method", "stgt", "--objective", "gmacs", "--space", "policy=threshold", "--space")
    done = tune(recipe, *words, "r=default", "--space", "threshold=1:9:4", "--trials", 2)
    assert done.exit_code == 3, done.output
    assert "No trial ran" in done.stdout


def test_ctrl_c_ends_with_130_and_the_command_to_go_on(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*words: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("maskvd_cli.tuning.bench.Bench.run_trial", interrupted)
        done = tune(recipe, "--objective", "gmacs", "--trials", 1)
    assert done.exit_code == 130
    assert "go on with: maskvd" in done.stderr
    assert tune(recipe, "--objective", "gmacs", "--trials", 1).exit_code == 0
