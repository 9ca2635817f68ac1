"""Parameters that name files: relative to the recipe, told by their names alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.recipe.load import Catalog, Choices, load_recipe
from maskvd_cli.recipe.paths import LocalFile, files_in


class Loaded(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: Annotated[str | None, LocalFile(".bin")] = None
    word: str = "x.bin"


CATALOG = Catalog(
    ["loaded"], ["vitdet-b"], ["roads"], lambda name: Loaded,
    lambda name: Choices(("val",), ("paper",)),
)  # fmt: skip


def load(folder: Path, entry: str, *assignments: str) -> list[Loaded]:
    path = folder / "recipe.yaml"
    text = (
        f"schema: 1\nname: r\ndataset: {{name: roads}}\nmethods:\n  - {{name: loaded, {entry}}}\n"
    )
    path.write_text(text)
    made = [point.params for point in load_recipe(path, CATALOG, assignments).points]
    assert all(isinstance(params, Loaded) for params in made)
    return made  # pyright: ignore[reportReturnType]


def test_a_file_lies_beside_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (params,) = load(tmp_path, "file: weights/a.bin, word: y.bin")
    assert params.file == str(tmp_path / "weights" / "a.bin")
    assert params.word == "y.bin"
    assert list(files_in(params)) == [("file", params.file)]


def test_words_are_no_files(tmp_path: Path) -> None:
    params = load(tmp_path, "file: [random, some-name]")
    assert [each.file for each in params] == ["random", "some-name"]
    assert not any(list(files_in(each)) for each in params)


def test_a_grid_of_files_is_resolved_one_by_one(tmp_path: Path) -> None:
    params = load(tmp_path, "file: [a/x.bin, b/x.bin, ../x.BIN]")
    expected = [tmp_path / "a" / "x.bin", tmp_path / "b" / "x.bin", tmp_path.parent / "x.BIN"]
    assert [each.file for each in params] == [str(path) for path in expected]


def test_one_file_by_two_paths_is_one_point_twice(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the grid names a point twice"):
        load(tmp_path, "file: [a/x.bin, b/../a/x.bin]")


def test_files_of_the_command_line_lie_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (params,) = load(tmp_path, "word: z", "methods.0.file=own.bin")
    assert params.file == str(here / "own.bin")


def test_variables_are_replaced_or_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", str(tmp_path / "mine"))
    (params,) = load(tmp_path, "file: $MINE/a.bin")
    assert params.file == str(tmp_path / "mine" / "a.bin")
    with pytest.raises(RecipeError, match=r"recipe.yaml:5:\d+ methods.0.file: .*THEIRS is not set"):
        load(tmp_path, "file: $THEIRS/a.bin")
