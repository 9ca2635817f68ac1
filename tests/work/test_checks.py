"""What a recipe needs is checked part by part, and nothing is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.checks import Check, checks_of

from .measured_runs import write_recipe


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


def checked(path: Path, *assignments: str) -> dict[str, Check]:
    loaded = load_recipe(path, catalog(), assignments)
    return {check.part: check for check in checks_of(loaded)}


def test_a_whole_recipe_misses_nothing(recipe_file: Path) -> None:
    found = checked(recipe_file)
    parts = ["points", "dataset", "images", "heatmap", "weights of vitdet-ti"]
    assert list(found) == parts
    assert all(check.ok for check in found.values())
    assert "2 clips, 12 frames" in found["dataset"].found
    assert found["points"].found.startswith("3, masks from model")


def test_all_that_is_missing_is_told_at_once(recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "kitti/training/image_02/0001/000003.png").unlink()
    (tmp_path / "tiny.safetensors").unlink()
    found = checked(recipe_file)
    assert {name for name, check in found.items() if not check.ok} == {
        "images", "weights of vitdet-ti",
    }  # fmt: skip
    assert "0001" in found["images"].found
    assert "tiny.safetensors" in found["weights of vitdet-ti"].found


def test_without_a_dataset_the_rest_is_still_checked(recipe_file: Path, tmp_path: Path) -> None:
    found = checked(recipe_file, f"dataset.root={tmp_path / 'nowhere'}")
    assert [name for name, check in found.items() if not check.ok] == ["dataset"]
    assert "fit is not checked" in found["weights of vitdet-ti"].found
    drawn = f"dataset.root={tmp_path / 'nowhere'}", "model.weights=random"
    found = checked(recipe_file, *drawn)
    assert [name for name, check in found.items() if not check.ok] == ["dataset"]
    assert found["weights of vitdet-ti"].found.startswith("random; of how many classes")


def test_weights_of_another_shape_are_told(recipe_file: Path) -> None:
    found = checked(recipe_file, "model.name=vitdet-ti-global")
    assert not found["weights of vitdet-ti-global"].ok


def test_a_planned_recipe_needs_no_images(recipe_file: Path) -> None:
    assert list(checked(recipe_file, "model.weights=null")) == ["points", "dataset", "heatmap"]
