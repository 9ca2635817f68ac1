"""The JSON schema of recipes: well formed, and of one mind with the loader."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.recipe.load import Catalog, Choices, load_recipe
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.recipe.schema_json import json_schema
from maskvd_cli.recipe.shipped import shipped_recipes
from maskvd_cli.recipe.source import parse
from maskvd_cli.training.recipe import TrainingRecipe
from maskvd_cli.work.catalog import catalog

Schema = dict[str, Any]
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
KEYWORDS: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda rule, value: (
        isinstance(value, JSON_TYPES[rule]) and isinstance(value, bool) == (rule == "boolean")
    ),
    "const": lambda rule, value: type(value) is type(rule) and value == rule,
    "enum": lambda rule, value: value in rule,
    "exclusiveMinimum": lambda rule, value: not isinstance(value, int | float) or value > rule,
    "exclusiveMaximum": lambda rule, value: not isinstance(value, int | float) or value < rule,
    "uniqueItems": lambda rule, value: (
        not isinstance(value, list) or all(value.count(item) == 1 for item in value)
    ),
    "minimum": lambda rule, value: not isinstance(value, int | float) or value >= rule,
    "maximum": lambda rule, value: not isinstance(value, int | float) or value <= rule,
    "pattern": lambda rule, value: not isinstance(value, str) or bool(re.search(rule, value)),
    "minItems": lambda rule, value: not isinstance(value, list) or len(value) >= rule,
    "required": lambda rule, value: not isinstance(value, dict) or set(rule) <= set(value),
}
NOTES = {"title", "description", "default", "deprecated", "$schema", "$defs"}
NESTING = {"properties", "additionalProperties", "items", "anyOf", "$ref"}


def resolved(schema: Schema, root: Schema) -> Schema:
    found = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def allows(schema: Schema, value: Any, root: Schema) -> bool:
    """Check a value against the keywords that the schema of recipes uses."""
    assert set(schema) <= {*KEYWORDS, *NOTES, *NESTING}
    simple = all(check(schema[word], value) for word, check in KEYWORDS.items() if word in schema)
    parts: list[tuple[Schema, Any]] = []
    if "$ref" in schema:
        parts.append((resolved(schema, root), value))
    if isinstance(value, list) and "items" in schema:
        parts += [(schema["items"], item) for item in value]
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        if schema.get("additionalProperties") is False and not set(value) <= set(known):
            return False
        parts += [(known[key], item) for key, item in value.items() if key in known]
    options = schema.get("anyOf")
    return (
        simple
        and all(allows(part, item, root) for part, item in parts)
        and (options is None or any(allows(option, value, root) for option in options))
    )


def subschemas(schema: Schema) -> Iterator[Schema]:
    yield schema
    below = [*schema.get("anyOf", []), *schema.get("properties", {}).values()]
    below += schema.get("$defs", {}).values()
    below += [schema["items"]] if "items" in schema else []
    for part in below:
        yield from subschemas(part)


@pytest.fixture(scope="module")
def schema() -> Schema:
    return json_schema(catalog())


def method_entries(schema: Schema) -> dict[str, Schema]:
    entries = schema["properties"]["methods"]["items"]["anyOf"]
    return {entry["properties"]["name"]["const"]: entry for entry in entries}


def test_it_is_json_and_says_of_which_draft(schema: Schema) -> None:
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "maskvd recipe"


def test_every_part_is_well_formed(schema: Schema) -> None:
    for part in subschemas(schema):
        assert set(part) <= {*KEYWORDS, *NOTES, *NESTING}
        assert part.get("type", "null") in JSON_TYPES
        assert "$ref" not in part or isinstance(resolved(part, schema), dict)
        assert set(part.get("required", [])) <= set(part.get("properties", {}))
        assert "enum" not in part or len(set(part["enum"])) == len(part["enum"]) > 0
        if "pattern" in part:
            re.compile(part["pattern"])
        if "default" in part:
            bare = {key: value for key, value in part.items() if key != "default"}
            assert allows(bare, part["default"], schema)


def test_no_part_takes_unknown_keys(schema: Schema) -> None:
    objects = [part for part in subschemas(schema) if part.get("type") == "object"]
    names = [*catalog().methods, *catalog().pairs()]
    assert len(objects) == 7 + len(set(catalog().sections.values())) + len(names)
    assert all(part["additionalProperties"] is False for part in objects)


def test_names_are_those_of_the_catalog(schema: Schema) -> None:
    names = catalog()
    assert schema["$defs"]["DatasetSection"]["properties"]["name"]["enum"] == list(names.datasets)
    assert schema["$defs"]["ModelSection"]["properties"]["name"]["enum"] == list(names.models)
    assert list(method_entries(schema)) == [*names.methods, *names.pairs()]
    assert "maskvd+tome" in names.pairs()


@pytest.mark.parametrize("kind", [Recipe, TrainingRecipe])
def test_no_description_lists_some_of_the_names(kind: type[BaseModel]) -> None:
    # A list by hand is true on the day it is written; names come from the registries.
    names = "|".join(re.escape(name) for name in (*catalog().datasets, *catalog().models))
    listed = re.compile(rf"(?<![\w-])({names})(?![\w-])")
    made = kind.model_json_schema()
    told = [part["description"] for part in subschemas(made) if "description" in part]
    assert len(told) > 20
    assert [text for text in told if listed.search(text)] == []
    sections = made["$defs"].items()
    for name in ("DatasetSection", "ModelSection", "TrainingDataset", "TrainedModel"):
        for section in (each for key, each in sections if key == name):
            assert "maskvd ls" in section["properties"]["name"]["description"]


def test_what_a_recipe_must_have(schema: Schema) -> None:
    assert sorted(schema["required"]) == ["dataset", "methods", "name", "schema"]
    assert schema["properties"]["schema"]["const"] == 1
    assert "schema_version" not in schema["properties"]


def test_every_parameter_takes_a_value_or_a_list_of_values(schema: Schema) -> None:
    for name, entry in method_entries(schema).items():
        fields = catalog().params_of(name).model_fields
        assert list(entry["properties"]) == ["name", "input", "model", *fields]
        assert "name" in entry["required"]
        for key in fields:
            value, grid = entry["properties"][key]["anyOf"]
            assert grid == {"type": "array", "items": value, "minItems": 1}


@pytest.mark.parametrize("path", shipped_recipes().values(), ids=lambda path: path.stem)
def test_shipped_recipes_fit(path: Path, schema: Schema) -> None:
    assert allows(schema, parse(path.read_text("utf-8"), "r").data, schema)


GOOD = """\
schema: 1
name: small
dataset: {name: kitti, split: val-half}
heatmap: {canvas: input, classes: [car]}
model: {input: 192x352, frame: fit}
methods:
  - name: dense
  - {name: maskvd, period: [4, 8], static_keep_rate: 0.5, version: [C, null]}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("[4, 8]", "4"),
        ("0.5", "1"),
        ("fit", "185x336"),
        ("fit", "~"),
        ("[car]", "all"),
        ("schema: 1", "schema: 2"),
        ("schema: 1", "schema: '1'"),
        ("schema: 1\n", ""),
        ("name: small", "name: Small"),
        ("name: small", "nam: small"),
        ("name: kitti", "name: kiti"),
        ("split:", "splt:"),
        ("input: 192x352", "input: 192"),
        ("input: 192x352", "input: fit"),
        ("input: 192x352", "input: [192x352, 384x704]"),
        ("input: 192x352", "input: [192x352, 192x352]"),
        ("input: 192x352", "input: [192x352, 384]"),
        ("input: 192x352", "input: []"),
        ("name: dense", "{name: dense, input: 192x352}"),
        ("name: dense", "{name: dense, input: [192x352]}"),
        ("name: dense", "{name: dense, input: ~}"),
        ("name: dense", "{name: dense, input: 192}"),
        ("name: dense", "{name: dense, input: []}"),
        ("split: val-half", "statistics: {clips: 2, frames: 30}"),
        ("split: val-half", "statistics: {clips: 2, frames: 30, classes: 3}"),
        ("split: val-half", "statistics: {clips: 0, frames: 30}"),
        ("split: val-half", "statistics: {clips: 2}"),
        ("split: val-half", "statistics: {clips: 2, frames: 30, boxes: 3}"),
        ("split: val-half", "statistics: 30"),
        ("split: val-half", "statistics: ~"),
        ("canvas: input", "canvas: fit"),
        ("name: dense", "name: dens"),
        ("name: dense", "period: 4"),
        ("[4, 8]", "[]"),
        ("[4, 8]", "[4, 0]"),
        ("[4, 8]", "[4, true]"),
        ("[4, 8]", "'4'"),
        ("period", "perod"),
        ("0.5", "1.5"),
        ("[C, null]", "[C, X]"),
        ("methods:", "method:"),
    ],
)
def test_the_loader_agrees(old: str, new: str, tmp_path: Path, schema: Schema) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    try:
        load_recipe(path, catalog())
        loads = True
    except RecipeError:
        loads = False
    assert allows(schema, parse(path.read_text(), "r").data, schema) is loads


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rows: int


class Mine(BaseModel):
    sizes: list[int] = Field(default_factory=list[int])
    colour: Colour = Colour.RED
    nested: Nested | None = None


def mine(name: str) -> type[BaseModel]:
    if name == "theirs":

        class Nested(BaseModel):
            model_config = ConfigDict(extra="forbid")
            width: float

        class Theirs(BaseModel):
            nested: Nested | None = None

        return Theirs
    return Mine


def test_parts_of_parameters_are_found_and_kept_apart() -> None:
    made = json_schema(Catalog(["mine", "theirs"], ["m"], ["d"], mine, lambda _: Choices((), ())))
    for part in subschemas(made):
        assert "$ref" not in part or isinstance(resolved(part, made), dict)

    def fits(**entry: object) -> bool:
        recipe = {"schema": 1, "name": "x", "dataset": {"name": "d"}, "methods": [entry]}
        return allows(made, recipe, made)

    assert fits(name="mine", colour=["red", "blue"], nested=[{"rows": 1}, {"rows": 2}])
    assert not fits(name="mine", colour="green")
    assert not fits(name="mine", nested={"width": 1.5})
    assert fits(name="theirs", nested={"width": 1.5})
    assert not fits(name="theirs", nested={"rows": 1})
    assert fits(name="mine", sizes=[1, 2])
    assert fits(name="mine", sizes=[[1, 2], [3]])
    assert not fits(name="mine", sizes=[[1, "x"]])
