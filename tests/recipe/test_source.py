"""Recipe text to plain data: YAML 1.2 scalars, the place of every key, nothing unsafe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.recipe.source import KeyPath, parse, read_file


def value(text: str) -> Any:
    return parse(f"key: {text}\n", "r.yaml").data["key"]


def problem(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(text, "r.yaml")
    (line,) = caught.value.problems
    assert "\n" not in line
    return line


def file_problem(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        read_file(path)
    (line,) = caught.value.problems
    assert line.startswith(f"{path}")
    return line.removeprefix(str(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("nULL", "nULL"),
        ("null", None),
        ("~", None),
        ("", None),
        ("# nothing", None),
        ("8", 8),
        ("-8", -8),
        ("+8", 8),
        ("010", 10),
        ("0", 0),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-1.5e+2", -150.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("8.0", 8.0),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2024-01-31", "2024-01-31"),
        ("1.2.3", "1.2.3"),
        ("384x1280", "384x1280"),
        ("'8'", "8"),
        ('"8.5"', "8.5"),
        ("'true'", "true"),
        ("'null'", "null"),
        ("''", ""),
        ("|\n  8\n", "8\n"),
        ("|-\n  8\n", "8"),
        (">-\n  8\n", "8"),
        ("plain words # and a comment", "plain words"),
        ("<<", "<<"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, expected: object) -> None:
    found = value(text)
    assert (type(found), found) == (type(expected), expected)


def test_scalars_in_lists_too() -> None:
    assert value("[no, 010, 1e-3, '8', ~]") == ["no", 10, 0.001, "8", None]


def test_keys_are_words_whatever_they_look_like() -> None:
    assert parse("1: a\nno: b\nnull: c\n1e3: d\n", "r.yaml").data == {
        "1": "a",
        "no": "b",
        "null": "c",
        "1e3": "d",
    }


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "---\n...\n"])
def test_empty_text_is_no_data(text: str) -> None:
    document = parse(text, "r.yaml")
    assert document.data is None
    assert document.place(()) == "r.yaml:1:1"


def test_places_of_keys_and_items_count_from_one() -> None:
    text = """\
# a comment
schema: 1

dataset:
    name: kitti
methods:
  - name: dense
  - name: maskvd
    period: [4, 8]
    "rate":
      - 0.5
  - { name: x, deep: {y: [z]} }
"""
    document = parse(text, "recipe.yaml")
    places = {
        (): "1:1",
        ("schema",): "2:1",
        ("dataset",): "4:1",
        ("dataset", "name"): "5:5",
        ("methods",): "6:1",
        ("methods", 0): "7:5",
        ("methods", 0, "name"): "7:5",
        ("methods", 1): "8:5",
        ("methods", 1, "name"): "8:5",
        ("methods", 1, "period"): "9:5",
        ("methods", 1, "period", 0): "9:14",
        ("methods", 1, "period", 1): "9:17",
        ("methods", 1, "rate"): "10:5",
        ("methods", 1, "rate", 0): "11:9",
        ("methods", 2): "12:5",
        ("methods", 2, "name"): "12:7",
        ("methods", 2, "deep"): "12:16",
        ("methods", 2, "deep", "y"): "12:23",
        ("methods", 2, "deep", "y", 0): "12:27",
    }
    assert document.places == {path: f"recipe.yaml:{place}" for path, place in places.items()}


def test_columns_count_characters_not_bytes() -> None:
    assert parse("{é: ü, x: 1}", "r.yaml").places["x",] == "r.yaml:1:8"


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_places_with_other_line_ends(newline: str) -> None:
    document = parse(newline.join(["a: 1", "b:", "  c: 2", ""]), "r.yaml")
    assert document.data == {"a": 1, "b": {"c": 2}}
    assert document.places["b", "c"] == "r.yaml:3:3"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfschema: 1\n")
    _, document = read_file(path)
    assert document.data == {"schema": 1}
    assert document.places["schema",] == f"{path}:1:1"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("b", "c"), "r.yaml:3:3"),
        (("b", "absent"), "r.yaml:2:1"),
        (("b", "absent", 3, "x"), "r.yaml:2:1"),
        (("a", 0), "r.yaml:1:1"),
        (("absent",), "r.yaml:1:1"),
        ((), "r.yaml:1:1"),
    ],
)
def test_what_is_absent_has_the_place_of_the_nearest_key_around_it(
    path: KeyPath, place: str
) -> None:
    assert parse("a: 1\nb:\n  c: 2\n", "r.yaml").place(path) == place


def test_a_problem_names_place_and_key() -> None:
    document = parse("a:\n  - b: 1\n", "r.yaml")
    assert document.problem(("a", 0, "b"), "is wrong") == "r.yaml:2:5 a.0.b: is wrong"
    assert document.problem(("a", 0, "c"), "is missing") == "r.yaml:2:5 a.0.c: is missing"
    assert document.problem((), "is wrong") == "r.yaml: is wrong"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3:1: key 'a' stands here for the second time"),
        ("a: 1\n'a': 3\n", "r.yaml:2:1: key 'a' stands here for the second time"),
        ("x: {a: 1, b: 2, a: 3}", "r.yaml:1:17: key 'a' stands here for the second time"),
        ("- a: 1\n- a: 1\n  a: 1\n", "r.yaml:3:3: key 'a' stands here for the second time"),
    ],
)
def test_repeated_keys(text: str, expected: str) -> None:
    assert problem(text) == expected


def test_one_key_in_two_sections_is_not_repeated() -> None:
    assert parse("- a: 1\n- a: 2\n- {b: {a: 3}}\n", "r.yaml").data == [
        {"a": 1},
        {"a": 2},
        {"b": {"a": 3}},
    ]


def test_aliases() -> None:
    assert problem("a: &x [1]\nb: *x\n").startswith("r.yaml:2:4: aliases (*name) are not allowed")


def test_aliases_that_would_grow_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    assert problem("\n".join(lines)).startswith("r.yaml:2:10: aliases (*name) are not allowed")
    assert "aliases" in problem("a: &a [*a]")
    assert "aliases" in problem("&a a: *a")


@pytest.mark.parametrize(
    "text", ["<<: {a: 1}\nb: 2\n", "<<: [{a: 1}, {b: 1}]", "x: {'<<': {a: 1}}"]
)
def test_merge_keys(text: str) -> None:
    assert "keys must be plain words" in problem(text)


@pytest.mark.parametrize("text", ["? [a, b]\n: 1\n", "{a: 1}: 2\n", "? {a: 1}\n: 2"])
def test_keys_that_are_no_words(text: str) -> None:
    assert "keys must be plain words" in problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [exit 1]",
        "a: !!python/object:pathlib.Path {}",
        "a: !!python/name:os.system",
        "a: !!python/tuple [1, 2]",
        "a: !!str 8",
        "a: !!int '8'",
        "a: !!set {x, y}",
        "a: !!binary aGk=",
        "a: !x 1",
        "a: !x [1]",
        "a: !x {b: 1}",
        "a: ! 8",
        "a: [!x 1]",
        "a: !<tag:yaml.org,2002:int> 8",
        "!x a: 1",
        "!!python/name:os.system a: 1",
        "!x\na: 1",
        "%TAG ! tag:yaml.org,2002:\n---\na: !str 8",
        "a: !!python/object/apply:os.system [exit 1] # and so on\nb: 1",
    ],
)
def test_tags(text: str) -> None:
    line = problem(text)
    assert line.startswith("r.yaml:")
    assert "tag " in line
    assert line.endswith(" is not allowed")


def test_the_place_of_a_tag() -> None:
    assert problem("a: 1\nb:\n  - !x 1\n") == "r.yaml:3:5: tag !x is not allowed"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_nesting_up_to_32_levels(opening: str, closing: str) -> None:
    innermost = "x"
    found = parse(opening * 31 + innermost + closing * 31, "r.yaml").data
    for _ in range(31):
        (found,) = found.values() if isinstance(found, dict) else found
    assert found == innermost
    assert "nested deeper than 32 levels" in problem(opening * 32 + innermost + closing * 32)


@pytest.mark.parametrize("text", ["[" * 10_000, "{" * 10_000, "- " * 10_000, "{a: " * 10_000])
def test_ten_thousand_levels(text: str) -> None:
    line = problem(text)
    assert line.startswith("r.yaml:1:")
    assert line.endswith("nested deeper than 32 levels")


def test_ten_thousand_lines_of_growing_indent() -> None:
    text = "".join(f"{' ' * depth}a:\n" for depth in range(1_000))
    assert problem(text) == "r.yaml:32:32: nested deeper than 32 levels"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\n---\nb: 2\n", "r.yaml:2:1: "),
        ("--- 1\n--- 2\n", "r.yaml:2:1: "),
        ("a: 1\n...\nb: 2\n", "r.yaml:3:1: "),
        ("a:\n\tb: 1\n", "r.yaml:2:1: "),
        ("a: b: c\n", "r.yaml:1:5: "),
        ("a: [1,\n", "r.yaml:2:1: "),
        ("a: 'open\n", "r.yaml:2:1: "),
        ("a: 1\n b: 2\n", "r.yaml:2:3: "),
        ("- 1\nb: 2\n", "r.yaml:2:1: "),
        ("a: @x\n", "r.yaml:1:4: "),
        ('a: "\\q"\n', "r.yaml:1:6: "),
        ("%YAML 2.0\n---\na: 1\n", "r.yaml:1:1: "),
    ],
)
def test_text_that_is_no_yaml_is_told_with_its_place(text: str, place: str) -> None:
    line = problem(text)
    assert line.startswith(place)
    assert len(line) > len(place)


@pytest.mark.parametrize(
    "text",
    [
        "a: x\0y\n",
        "\0",
        "a: \x1b[31m\n",
        "a: \ud800\n",
        'a: "\\UFFFFFFFF"\n',
        'a: "\\U00110000"\n',
        f"%YAML 1.{'9' * 5_000}\n---\na: 1\n",
    ],
)
def test_characters_and_numbers_beyond_yaml(text: str) -> None:
    assert problem(text).startswith("r.yaml: no YAML (")


@given(st.text(alphabet="ab:-[]{}&*!<>|?%@'\"\\#,=~ \t\n\r\0é\ud800UxX019._", max_size=40))
def test_any_text_is_data_or_one_complaint(text: str) -> None:
    try:
        document = parse(text, "r.yaml")
    except RecipeError as error:
        assert len(error.problems) == 1
    else:
        json.dumps(document.data)


class Quoting(yaml.SafeDumper):
    """Writes strings with quotes, so that readers of YAML 1.1 and 1.2 agree on what they are."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _quoted(dumper: Quoting, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


Quoting.add_representer(str, _quoted)

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN_DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS.filter(lambda word: word != "<<"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN_DATA, st.booleans())
def test_plain_data_comes_back(data: object, flow: bool) -> None:
    text = yaml.dump(
        data, Dumper=Quoting, default_flow_style=flow, sort_keys=False, allow_unicode=True
    )
    assert json.dumps(parse(text, "r.yaml").data) == json.dumps(data)


@given(st.text(st.sampled_from("noyesntrufalw0123456789.eE+-_xX"), min_size=1, max_size=8))
def test_words_without_quotes_are_themselves_or_numbers_or_truth(word: str) -> None:
    try:
        found = parse(f"[{word}]", "r.yaml").data[0]
    except RecipeError:
        return
    if word in (words := {"true": True, "false": False, "null": None}):
        assert found is words[word]
    elif isinstance(found, str):
        assert found == word
    else:
        assert found == float(word)


def test_the_bytes_of_a_file_are_returned_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    content = "# ü\r\nschema:   1\r\n".encode()
    path.write_bytes(content)
    raw, document = read_file(path)
    assert raw == content
    assert document.data == {"schema": 1}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert file_problem(tmp_path / "r.yaml") == (
        ": cannot be read (No such file or directory); check the path"
    )


def test_a_folder(tmp_path: Path) -> None:
    assert file_problem(tmp_path) == ": cannot be read (Is a directory); check the path"


def test_a_file_above_one_mebibyte(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    text = b"a: 1\n#"
    path.write_bytes(text + b"x" * ((1 << 20) - len(text)))
    assert read_file(path)[1].data == {"a": 1}
    with path.open("ab") as file:
        file.write(b"x")
    assert file_problem(path) == ": larger than 1 MiB; this is no recipe"


@pytest.mark.parametrize(
    ("content", "byte"),
    [
        (b"a: \xff\n", 3),
        ("a: ü\n".encode("latin-1"), 3),
        (b"\xff\xfea\x00", 0),
        (b"a: \xed\xa0", 3),
    ],
)
def test_a_file_that_is_no_utf_8(content: bytes, byte: int, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    assert file_problem(path) == f": no UTF-8 text (byte {byte})"


def test_a_file_with_nul_characters(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(b"schema: 1\n\0\0\0\0")
    assert file_problem(path).startswith(": no YAML (")


def test_mistakes_in_a_file_carry_its_path(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("a: 1\na: 2\n")
    assert file_problem(path).startswith(":2:1: key 'a'")
