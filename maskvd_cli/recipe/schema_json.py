"""The JSON schema of recipes, methods and their grids included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskvd_cli.recipe.grid import grid_schema
from maskvd_cli.recipe.load import Catalog, sections_type
from maskvd_cli.recipe.schema import RETIRED, Recipe


def json_schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema that editors complete and check recipes with."""
    schema = Recipe.model_json_schema(by_alias=True)
    sections = sections_type(catalog.sections).model_json_schema()
    schema["properties"] |= sections.get("properties", {})
    schema["$defs"] |= sections.get("$defs", {})
    listed = next(kind for kind in schema["properties"]["metrics"]["anyOf"] if "items" in kind)
    listed["items"]["enum"] = list(catalog.sections)
    names = _working(catalog, "method", catalog.methods)
    methods = [grid_schema(catalog.params_of(name), name) for name in names]
    schema["properties"]["methods"]["items"] = {"anyOf": methods}
    for key, reason in RETIRED.items():
        schema["properties"][key] = {"deprecated": True, "description": reason}
    definitions = schema["$defs"]
    for name, method in zip(names, methods, strict=True):
        own = method.pop("$defs", {})
        definitions |= {f"{name}.{key}": value for key, value in own.items()}
    definitions["DatasetSection"]["properties"]["name"]["enum"] = _working(
        catalog, "dataset", catalog.datasets
    )
    definitions["ModelSection"]["properties"]["name"]["enum"] = list(catalog.models)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _working(catalog: Catalog, kind: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if catalog.why_broken(kind, name) is None]
