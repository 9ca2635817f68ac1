"""Lists of values to points: order, lists that are values themselves, where each value stood."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from maskvd_cli.recipe.grid import count, expand, grid_schema


class Params(BaseModel):
    """Scalars, lists and tuples."""

    period: int = Field(default=8, ge=1, description="frames")
    rate: float | None = None
    mask: Literal["static", "dynamic"] = "static"
    sizes: list[int] = Field(default_factory=list[int])
    levels: tuple[int, ...] | None = None


FIELDS = Params.model_fields


def values(params: dict[str, Any]) -> list[dict[str, Any]]:
    return [point.values for point in expand(params, FIELDS, ())]


def test_no_lists_one_point() -> None:
    assert values({"period": 4, "mask": "static"}) == [{"period": 4, "mask": "static"}]
    assert values({}) == [{}]


def test_the_last_key_varies_fastest() -> None:
    assert values({"rate": [0.5, 0.1], "mask": "static", "period": [8, 4]}) == [
        {"rate": 0.5, "mask": "static", "period": 8},
        {"rate": 0.5, "mask": "static", "period": 4},
        {"rate": 0.1, "mask": "static", "period": 8},
        {"rate": 0.1, "mask": "static", "period": 4},
    ]


def test_the_order_is_that_of_the_text_not_of_the_fields() -> None:
    points = values({"period": [1, 2], "rate": [0.1, 0.2]})
    assert [(point["period"], point["rate"]) for point in points] == [
        (1, 0.1),
        (1, 0.2),
        (2, 0.1),
        (2, 0.2),
    ]


def test_where_each_value_stood() -> None:
    points = list(expand({"period": [4, 8], "rate": 0.5}, FIELDS, ("methods", 2)))
    assert [point.origins for point in points] == [
        {"period": ("methods", 2, "period", index), "rate": ("methods", 2, "rate")}
        for index in (0, 1)
    ]


@pytest.mark.parametrize("key", ["sizes", "levels"])
def test_a_parameter_that_is_a_list_needs_a_list_of_lists(key: str) -> None:
    assert values({key: [1, 2]}) == [{key: [1, 2]}]
    assert values({key: [[1, 2], [3], []]}) == [{key: [1, 2]}, {key: [3]}, {key: []}]
    assert values({key: [[1, 2], 3]}) == [{key: [[1, 2], 3]}]
    assert values({key: []}) == [{key: []}]


def test_a_list_of_lists_under_a_scalar_is_one_axis() -> None:
    assert values({"period": [[1, 2], 3]}) == [{"period": [1, 2]}, {"period": 3}]


def test_an_empty_list_is_left_to_the_type_to_refuse() -> None:
    assert values({"period": [], "rate": [0.1, 0.2]}) == [
        {"period": [], "rate": 0.1},
        {"period": [], "rate": 0.2},
    ]


def test_null_may_be_a_value_of_a_grid() -> None:
    assert values({"rate": [None, 0.5]}) == [{"rate": None}, {"rate": 0.5}]


NUMBERS = st.integers(0, 3)
LISTS = st.lists(NUMBERS, max_size=3)
GRIDS = st.fixed_dictionaries(
    {},
    optional={
        "period": NUMBERS | LISTS,
        "rate": NUMBERS | LISTS,
        "sizes": LISTS | st.lists(LISTS, max_size=3),
        "levels": st.none() | LISTS | st.lists(LISTS, max_size=3),
        "unknown": NUMBERS | LISTS,
    },
)


@given(GRIDS)
def test_counting_agrees_with_expanding(params: dict[str, Any]) -> None:
    points = list(expand(params, FIELDS, ("m",)))
    assert count(params, FIELDS) == len(points)
    places = {tuple(sorted(map(str, point.origins.values()))) for point in points}
    assert len(places) == len(points)
    for point in points:
        assert list(point.values) == list(params)
        for key, found in point.values.items():
            _, _, *index = point.origins[key]
            expected = params[key]
            for step in index:
                expected = expected[step]
            assert found == expected


def test_counting_makes_no_points() -> None:
    lists = {key: list(range(10_000)) for key in ("period", "rate", "mask", "a", "b", "c")}
    assert count(lists, FIELDS) == math.prod([10_000] * 6)


def test_the_schema_of_an_entry_takes_values_and_lists_of_them() -> None:
    schema = grid_schema(Params, "mine")
    properties = schema["properties"]
    assert list(properties) == ["name", "input", "model", *FIELDS]
    assert properties["name"] == {"const": "mine"}
    one = {"type": "string", "pattern": "^[1-9][0-9]*x[1-9][0-9]*$"}
    several = {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}
    assert properties["input"]["anyOf"] == [one, several, {"type": "null"}]
    assert schema["title"] == "mine"
    assert schema["required"] == ["name"]
    assert properties["period"]["anyOf"] == [
        {"type": "integer", "minimum": 1},
        {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
    ]
    assert properties["period"]["description"] == "frames"
    assert properties["period"]["default"] == 8
    sizes = {"type": "array", "items": {"type": "integer"}}
    assert properties["sizes"]["anyOf"] == [sizes, {"type": "array", "items": sizes, "minItems": 1}]


def test_the_schema_of_an_entry_requires_what_has_no_default() -> None:
    class Needy(BaseModel):
        depth: int
        width: int = 1

    assert grid_schema(Needy, "needy")["required"] == ["name", "depth"]
