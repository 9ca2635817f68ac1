"""The recipes that come with the package load, and are found by name or path."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.recipe.shipped import find_recipe, recipe_origin, shipped_recipes
from maskvd_cli.work.catalog import catalog

FOLDER = Path(__file__).parents[2] / "recipes"
FILES = sorted(FOLDER.glob("*.yaml"), key=lambda path: path.stem)


@pytest.fixture(autouse=True)
def a_folder_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKVD_WEIGHTS", "weights")


def test_all_files_are_shipped_under_their_names() -> None:
    assert FILES
    assert shipped_recipes() == {path.stem: path for path in FILES}
    assert list(shipped_recipes()) == sorted(shipped_recipes())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recipes_load_and_are_named_as_their_files(path: Path) -> None:
    loaded = load_recipe(path, catalog())
    assert loaded.recipe.name == path.stem
    assert loaded.recipe.description
    assert loaded.points


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("kitti-table1", 1 + 3 * 2 * 3),
        ("kitti-table1-nonwindowed", 1 + 2 * 2),
        ("kitti-table2-masks", 3),
        ("imagenet-vid-table1", 1 + 2 * 2 + 2),
        ("kitti-methods", 2 + 3 + 3 + 1 + 3 + 3),
        ("kitti-methods-nonwindowed", 2 + 2 + 3 + 2),
        ("vid-table-c", 2 * (2 + 2 * 6 + 6)),
        ("vid-rgtp", 2 + 2 * 5),
        ("vid-rgtp-radius", 1 + 4),
        ("vid-rgtp-radius-quarter", 1 + 4),
        ("maskvd-grid", 1 + 3 * 3 + 2),
        ("demo-labels", 1 + 2 * 3),
        ("demo", 3 + 1 + 2 * 3 + 2 + 2 + 2 + 1 + 1 + 1 + 2),
        (
            "synthetic-full",
            3 + 3 + 3 * 3 + 1 + 1 + 3 + 3 + 3 + 2 + 3 + 2 + 2 + 2 + 3 + 3 + 3 + 3 + 18,
        ),
        ("kitti", 2 + 2 * 3 + 3 + 3),
        ("vid", 1 + 2 * 2 + 2 + 3 + 3),
        ("vivit-epic-table", 1 + 13),
        ("vivit-k400-table", 1 + 3),
        ("vivit-epic-rgtp", 1 + 6),
        ("vivit-k400-rgtp", 1 + 3),
        ("actions", 1 + 6 + 2 * 2 + 6 + 4 + 2 + 4 + 2 + 3 + 3),
        ("actions-tuned", 3 + 10 + 5 + 5),
        ("learned-noise", 1 + 2 * (1 + 5)),
        ("compute-rfdetr", 4 * (1 + 2 * 2 + 6)),
        ("masks", 1 + 3 * 3 + 3 + 2 * 3 + 2),
    ],
)
def test_how_many_points_the_recipes_have(name: str, points: int) -> None:
    assert len(load_recipe(find_recipe(name), catalog()).points) == points


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recipes_are_found_by_name(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe(path.stem) == path
    assert find_recipe(path.name) == path
    assert find_recipe(f"recipes/{path.name}") == path
    assert find_recipe(str(path)) == path


def test_where_a_shipped_recipe_lies_is_not_told(tmp_path: Path) -> None:
    assert recipe_origin(shipped_recipes()["demo"]) == "recipes/demo.yaml"
    own = tmp_path / "demo.yaml"
    own.write_text("name: demo\n")
    assert recipe_origin(own) == str(own)


def test_a_file_at_hand_comes_before_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "demo.yaml").touch()
    assert find_recipe("mine.yaml") == Path("mine.yaml")
    assert find_recipe("./demo.yaml") == Path("demo.yaml")
    assert find_recipe("demo.yaml") == Path("demo.yaml")
    assert find_recipe("demo") == FOLDER / "demo.yaml"


def test_a_folder_is_no_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert find_recipe("demo") == FOLDER / "demo.yaml"
    (tmp_path / "other").mkdir()
    with pytest.raises(RecipeError, match="other: no such recipe file"):
        find_recipe("other")


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("kitti-table", " (did you mean 'kitti-table1'?)"),
        ("dmo.yaml", " (did you mean 'demo'?)"),
        ("elsewhere/demo.yaml", " (did you mean 'demo'?)"),
        ("zzzzzz", ""),
        ("", ""),
        (".", ""),
        ("z" * 5_000, ""),
    ],
)
def test_words_that_name_no_recipe(
    word: str, near: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        find_recipe(word)
    names = ", ".join(path.stem for path in FILES)
    assert caught.value.problems == (
        f"{word}: no such recipe file{near}; shipped: {names}",
    )  # fmt: skip
