"""A recipe of the baseline and given points, as YAML that `maskvd sweep` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import yaml

from maskvd_cli.methods.registry import baseline
from maskvd_cli.recipe.schema import Recipe


def recipe_text(
    recipe: Recipe, method: str, points: Sequence[Mapping[str, Any]], description: str
) -> str:
    """Return the recipe with the baseline and these parameters of one method as its methods.

    Paths are absolute, so that the text works from any folder.
    """
    entries: list[dict[str, Any]] = [{"name": baseline().name}]
    entries += [{"name": method, **params} for params in points]
    changed = recipe.model_copy(update={"methods": entries, "description": description})
    content = changed.content()
    if "model" in content:
        content["model"] = _plain(content["model"])
    # What decides a recipe comes first, as in the shipped ones.
    first = ("schema", "name", "description", "dataset", "heatmap", "model", "detections")
    ordered = {name: content[name] for name in first if name in content}
    return yaml.safe_dump({**ordered, **content}, sort_keys=False, width=96, allow_unicode=True)


def _plain(models: object) -> object:
    """Write a single model, and its single input, without brackets."""
    listed = cast(list[dict[str, Any]], models)
    for model in listed:
        if len(model.get("input", ())) == 1:
            model["input"] = model["input"][0]
    return listed[0] if len(listed) == 1 else listed
