"""What is said of weights that a sweep runs with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.coco import NUMBERED
from maskvd_cli.families.yolos.archs import ARCHS, yolos
from maskvd_cli.families.yolos.renaming import library_shapes
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.scenes.weights import Weights

KITTI = ["pedestrian", "car", "cyclist"]


def test_random_weights_say_which_torch_drew_them_and_their_key_does_not() -> None:
    recipe: dict[str, Any] = {
        "schema": 1,
        "name": "drawn",
        "dataset": {"name": "roads"},
        "model": {"name": "vitdet-ti", "weights": "random"},
        "methods": [{"name": "dense"}],
        "seed": 7,
    }
    weights = Weights(Recipe.model_validate(recipe), ["car"])
    (note,) = weights.notes()
    assert f"drawn from seed 7 by torch {torch.__version__};" in note
    assert torch.__version__ not in str(weights.setting())


@pytest.fixture
def coco_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny detector with as many outputs as COCO has numbers."""
    tiny = yolos(
        "tiny", "", dim=8, heads=1, depth=1, patch=8, table=Size(2, 2), detections=2,
        mid_positions=False,
    )  # fmt: skip
    monkeypatch.setitem(ARCHS, "tiny", tiny)
    tensors = {name: torch.zeros(sides) for name, sides in library_shapes(tiny, 92).items()}
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def weights_of(file: Path | str, dataset: list[str], **model: Any) -> Weights:
    recipe: dict[str, Any] = {
        "schema": 1, "name": "drawn", "dataset": {"name": "roads"},
        "model": {"name": "tiny", "weights": str(file), **model}, "methods": [{"name": "dense"}],
    }  # fmt: skip
    return Weights(Recipe.model_validate(recipe), dataset)


def test_a_map_by_name_says_what_classes_stand_for(coco_weights: Path) -> None:
    weights = weights_of(coco_weights, KITTI, classes="coco-to-kitti")
    numbers = {number: of for number, of in enumerate(weights.label_of) if of is not None}
    assert numbers == {1: 0, 3: 1, 6: 1, 8: 1}
    # What decides results is what the map gives, not how it is called.
    listed = [None if of is None else KITTI[of] for of in weights.label_of]
    assert weights.setting() == weights_of(coco_weights, KITTI, classes=listed).setting()
    (note,) = weights.notes()
    assert "name no classes; their 91 are COCO's, by number" in note


def test_classes_that_do_not_fit_name_the_map(coco_weights: Path) -> None:
    with pytest.raises(UsageError) as caught:
        weights_of(coco_weights, KITTI)
    assert str(caught.value) == (
        "the weights name 79 classes that the dataset does not have (person, bicycle, motorcycle, "
        "airplane, bus, ...); give model.classes: coco-to-kitti"
    )
    with pytest.raises(UsageError, match=r"79 classes.*give model.classes: by-name"):
        weights_of(coco_weights, ["person"])
    with pytest.raises(UsageError, match=r"80 classes.*say in model.classes which"):
        weights_of(coco_weights, ["ghost"])
    assert weights_of(coco_weights, [name for name in NUMBERED if name]).label_of[90] == 79


def test_maps_need_names(coco_weights: Path) -> None:
    with pytest.raises(UsageError, match="by-name needs weights that name their classes"):
        weights_of("random", KITTI, classes="by-name")
    with pytest.raises(ValidationError, match=r"unknown map of classes 'coco-to-kity' \(did you"):
        weights_of(coco_weights, KITTI, classes="coco-to-kity")
