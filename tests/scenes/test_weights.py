"""What is said of weights that a sweep runs with."""

from __future__ import annotations

from typing import Any

import torch

from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.scenes.weights import Weights


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
