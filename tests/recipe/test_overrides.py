"""`--set key=value`: which values change, and where they are said to come from."""

from __future__ import annotations

from typing import Any

import pytest

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.recipe.overrides import apply
from maskvd_cli.recipe.source import Document, parse

RECIPE = """\
name: small
dataset:
  name: kitti
  root: labels
methods:
  - name: maskvd
    period: 4
  - name: dense
  - name: maskvd
    period: [8, 16]
seed:
"""


def changed(*assignments: str, text: str = RECIPE) -> Document:
    document = parse(text, "r.yaml")
    apply(document, assignments)
    return document


def problems(*assignments: str, text: str = RECIPE) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as caught:
        changed(*assignments, text=text)
    return caught.value.problems


def test_a_value_and_its_new_place() -> None:
    document = changed("dataset.name=vid")
    assert document.data["dataset"] == {"name": "vid", "root": "labels"}
    assert document.place(("dataset", "name")) == "--set dataset.name=vid"
    assert document.place(("dataset", "root")) == "r.yaml:4:3"
    assert document.place(("dataset",)) == "r.yaml:2:1"


def test_by_index() -> None:
    methods = changed("methods.2.period=2").data["methods"]
    assert methods[0] == {"name": "maskvd", "period": 4}
    assert methods[2] == {"name": "maskvd", "period": 2}


def test_by_name_all_entries_of_that_name() -> None:
    document = changed("methods.maskvd.period=2")
    assert document.data["methods"] == [
        {"name": "maskvd", "period": 2},
        {"name": "dense"},
        {"name": "maskvd", "period": 2},
    ]
    for index in (0, 2):
        place = document.place(("methods", index, "period"))
        assert place == "--set methods.maskvd.period=2"


def test_a_whole_entry_by_index_and_by_name() -> None:
    assert changed("methods.1={name: x}").data["methods"][1] == {"name": "x"}
    assert changed("methods.maskvd={name: x}").data["methods"] == [
        {"name": "x"},
        {"name": "dense"},
        {"name": "x"},
    ]


def test_an_item_of_a_grid() -> None:
    document = changed("methods.2.period.1=32")
    assert document.data["methods"][2]["period"] == [8, 32]
    assert document.place(("methods", 2, "period", 0)) == "r.yaml:10:14"
    assert document.place(("methods", 2, "period", 1)) == "--set methods.2.period.1=32"


def test_a_list_makes_a_grid_in_every_entry() -> None:
    methods = changed("methods.maskvd.period=[2, 3]").data["methods"]
    assert [entry.get("period") for entry in methods] == [[2, 3], None, [2, 3]]


def test_entries_set_together_are_changed_apart_afterwards() -> None:
    methods = changed("methods.maskvd.period=[2, 3]", "methods.0.period.0=9").data["methods"]
    assert [entry.get("period") for entry in methods] == [[9, 3], None, [2, 3]]


def test_nothing_is_left_of_what_stood_there() -> None:
    document = changed("methods.2.period=[1]", "methods.0={name: dense}")
    assert document.place(("methods", 2, "period", 1)) == "--set methods.2.period=[1]"
    assert document.place(("methods", 0, "period")) == "--set methods.0={name: dense}"


def test_each_part_of_a_value_has_the_place_of_its_assignment() -> None:
    assignment = "dataset={name: vid, root: x}"
    document = changed(assignment)
    assert ("dataset", "root") in document.places
    assert document.place(("dataset", "root")).startswith(f"--set {assignment}")


def test_new_keys_and_sections() -> None:
    document = changed("model.input=192x352", "description=two words", "seed.deep.er=1")
    assert document.data["model"] == {"input": "192x352"}
    assert document.data["description"] == "two words"
    assert document.data["seed"] == {"deep": {"er": 1}}
    assert document.place(("model", "input")) == "--set model.input=192x352"
    assert document.place(("model",)) == "--set model.input=192x352"
    assert document.place(("seed",)) == "r.yaml:11:1"


def test_an_empty_recipe_can_be_filled() -> None:
    assert changed("name=x", "model.name=y", text="").data == {"name": "x", "model": {"name": "y"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", 8),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        ("no", "no"),
        ("true", True),
        ("'8'", "8"),
        ("", None),
        ("~", None),
        ("[4, 8]", [4, 8]),
        ("[]", []),
        ("{a: [1]}", {"a": [1]}),
        ("a=b", "a=b"),
        (" 8 ", 8),
    ],
)
def test_values_are_yaml(text: str, expected: object) -> None:
    assert changed(f"new={text}").data["new"] == expected


@pytest.mark.parametrize("key", ["dataset.root", "model.weights"])
def test_null_takes_a_path_away(key: str) -> None:
    document = changed(f"{key}=null")
    section, name = key.split(".")
    assert name in document.data[section]
    assert document.data[section][name] is None


@pytest.mark.parametrize("key", ["dataset.root", "model.weights"])
@pytest.mark.parametrize(
    "text", ["8", "no", "[a]", "{x", "a: b", "~/labels", "# x", "'q'", " a ", "a=b", "*x", "./null"]
)
def test_paths_are_taken_as_they_are(key: str, text: str) -> None:
    document = changed(f"{key}={text}")
    section, name = key.split(".")
    assert document.data[section][name] == text
    assert document.place((section, name)) == f"--set {key}={text}"


def test_later_assignments_win_and_see_earlier_ones() -> None:
    document = changed("seed=1", "seed=2", "methods.1.name=other", "methods.other.period=3")
    assert document.data["seed"] == 2
    assert document.data["methods"][1] == {"name": "other", "period": 3}
    assert document.place(("seed",)) == "--set seed=2"


def test_spaces_around_the_key() -> None:
    assert changed(" seed =3").data["seed"] == 3


@pytest.mark.parametrize(
    "assignment", ["seed", "", "=", "=8", ".=8", "a.=8", ".a=8", "a..b=8", " "]
)
def test_wrong_forms(assignment: str) -> None:
    assert problems(assignment) == (
        f"--set {assignment}: write key=value, for example dataset.root=DIR",
    )


@pytest.mark.parametrize(
    "head", ["3", "99", "-1", "-0", "absent", "²", "٣", "9" * 5_000, "Maskvd", "0x1"]
)
def test_neither_an_index_nor_a_name(head: str) -> None:
    (line,) = problems(f"methods.{head}.period=8")
    assert line.endswith(f": '{head}' is neither an index nor a name in methods")


def test_a_single_value_has_nothing_in_it() -> None:
    assert problems("name.x=1") == (
        "--set name.x=1: name holds a single value, there is no 'x' in it",
    )
    assert problems("methods.0.period.0=1") == (
        "--set methods.0.period.0=1: methods.0.period holds a single value, there is no '0' in it",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "'name' is neither an index nor a name in the recipe"),
        ("5", "the recipe holds a single value, there is no 'name' in it"),
    ],
)
def test_a_recipe_that_is_no_mapping(text: str, expected: str) -> None:
    assert problems("name=x", text=text) == (f"--set name=x: {expected}",)


@pytest.mark.parametrize("text", ["[1", "a: b: c", "*x", "!x 1", "{a: 1, a: 2}", "x\0", "\udc80"])
def test_values_that_are_no_yaml(text: str) -> None:
    (line,) = problems(f"name={text}")
    assert line.startswith(f"--set name={text}:")


def test_all_problems_at_once() -> None:
    assert problems("seed", "seed=8", "methods.9=1", "name.x=1", "name=[1") == (
        "--set seed: write key=value, for example dataset.root=DIR",
        "--set methods.9=1: '9' is neither an index nor a name in methods",
        "--set name.x=1: name holds a single value, there is no 'x' in it",
        "--set name=[1:1:3: expected ',' or ']', but got '<stream end>'",
    )


def test_no_assignments_change_nothing() -> None:
    untouched: Any = parse(RECIPE, "r.yaml")
    document = changed()
    assert (document.data, document.places) == (untouched.data, untouched.places)
