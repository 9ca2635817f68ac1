"""Recipe files to checked sections and points: every mistake at once, each with its place."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.recipe.load import Catalog, Choices, LoadedRecipe, load_recipe
from maskvd_cli.recipe.section import Section


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Plain(Strict):
    """No parameters."""


class Masked(Strict):
    period: int = Field(default=8, ge=1)
    rate: float = Field(default=0.1, ge=0, le=1)
    margin: int = 0
    mask: Literal["static", "dynamic"] = "static"

    @model_validator(mode="before")
    @classmethod
    def _no_rate_in_dynamic(cls, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("mask") == "dynamic" and "rate" in data:
            raise ValueError("Dynamic masks have no rate")
        return data


class Region(Strict):
    rows: int
    cols: int = 1


class Shaped(Strict):
    sizes: list[int]
    levels: tuple[int, ...] | None = None
    depth: int = 1
    region: Region | None = None
    regions: list[Region] = Field(default_factory=list[Region])


PARAMS: dict[str, type[BaseModel]] = {"dense": Plain, "masked": Masked, "shaped": Shaped}
CHOICES = {
    "roads": Choices(("train", "val-half"), ("paper", "raw")),
    "skies": Choices(("test",), ("raw",)),
}


class SpeedSection(Section):
    """What stands under a metric's name."""

    rounds: int = Field(default=5, ge=1)


CATALOG = Catalog(
    methods=list(PARAMS),
    models=["vit-b", "vit-b-global"],
    datasets=list(CHOICES),
    params_of=PARAMS.__getitem__,
    choices_of=CHOICES.__getitem__,
    sections={"speed": SpeedSection, "weight": Section},
)

HEAD = """\
schema: 1
name: small
dataset:
  name: roads
model:
  name: vit-b
"""
DENSE = "methods: [{name: dense}]\n"


def entry(text: str) -> str:
    """A recipe whose one method is at 8:5 and whose parameters begin at 9:5."""
    return f"{HEAD}methods:\n  - name: masked\n    {text}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that recipes have short names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str, *assignments: str, path: Path = Path("recipe.yaml")) -> LoadedRecipe:
    path.write_text(text, "utf-8")
    return load_recipe(path, CATALOG, assignments)


def problems(text: str, *assignments: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, *assignments)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def params(text: str, *assignments: str) -> list[BaseModel]:
    return [point.params for point in load(text, *assignments).points]


def test_a_line_names_file_line_column_and_key(folder: Path) -> None:
    text = """\
schema: 1
name: small
methods:
  - name: dense
  - name: masked
    period: 0
dataset: {name: roads}
"""
    assert problems(text) == [
        "recipe.yaml:6:5 methods.1.period: "
        "input should be greater than or equal to 1 (got 0)"
    ]  # fmt: skip
    path = folder / "below" / "other.yaml"
    path.parent.mkdir()
    with pytest.raises(RecipeError) as caught:
        load(text, path=path)
    assert str(caught.value).startswith(f"{path}:6:5 methods.1.period: ")


def test_a_good_recipe(folder: Path) -> None:
    text = """\
schema: 1
name: small-1.0_x
description: two words
dataset: {name: roads, split: val-half, protocol: raw}
heatmap: {split: train, classes: [car, van], canvas: 384X1280, accumulate: union, align: image}
model: {name: vit-b-global, input: 192x352, frame: fit}
detections: labels
methods:
  - name: dense
  - {name: masked, period: 4}
seed: 3
"""
    loaded = load(text)
    assert loaded.path == Path("recipe.yaml")
    assert loaded.source == text.encode()
    assert loaded.assignments == ()
    recipe = loaded.recipe
    assert (recipe.name, recipe.description, recipe.seed) == ("small-1.0_x", "two words", 3)
    assert (recipe.dataset.split, recipe.dataset.protocol) == ("val-half", "raw")
    assert recipe.heatmap.classes == ["car", "van"]
    assert recipe.heatmap.canvas == "384x1280"
    assert (recipe.model.input, recipe.model.frame) == (["192x352"], "fit")
    dense, masked = loaded.points
    assert (dense.method, dense.params) == ("dense", Plain())
    assert (masked.method, masked.params) == ("masked", Masked(period=4))
    assert (dense.input, masked.input) == ("192x352", "192x352")
    assert (dense.place, masked.place) == ("recipe.yaml:9:5", "recipe.yaml:10:5")


def test_defaults_of_a_short_recipe(folder: Path) -> None:
    recipe = load(f"schema: 1\nname: a\ndataset: {{name: skies}}\n{DENSE}").recipe
    assert (recipe.dataset.root, recipe.dataset.split, recipe.model.weights) == (None, None, None)
    assert (recipe.detections, recipe.seed, recipe.description) == ("auto", 0, "")
    assert (recipe.model.input, recipe.dataset.statistics) == (["672x672"], None)


def test_an_input_that_is_not_named_is_what_the_model_is_made_for(folder: Path) -> None:
    path = folder / "recipe.yaml"
    text = f"schema: 1\nname: a\ndataset: {{name: skies}}\nmodel: [{{name: vit-b}}, " \
        f"{{name: vit-b-global, input: 64x64}}]\n{DENSE}"  # fmt: skip
    path.write_text(text)
    made_for = {"vit-b": "32x96"}
    loaded = load_recipe(path, replace(CATALOG, made_for=made_for.__getitem__))
    assert [model.input for model in loaded.recipe.models] == [["32x96"], ["64x64"]]
    assert [point.input for point in loaded.points] == ["32x96", "64x64"]
    # Written again, it says so, whatever a model's input will be.
    assert loaded.recipe.content()["model"][0]["input"] == ["32x96"]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices_are_kinds_or_one_of_several_gpus(device: str, folder: Path) -> None:
    assert load(f"{HEAD}{DENSE}device: {device}\n").recipe.device == device


def test_all_mistakes_at_once_in_the_order_of_the_file(folder: Path) -> None:
    text = """\
schema: 2
methods:
  - name: masked
    period: [4, 0]
    perod: 8
  - 5
  - name: mask
  - period: 3
model:
  input: 12
  name: vit-c
dataset:
  split: vla-half
  protocol: papers
  name: roads
seed: -1
"""
    sections = (
        "schema, name, description, dataset, heatmap, model, detections, methods, metrics, device, "
        "precision, limit, smoke, seed, speed, weight"
    )
    assert problems(text) == [
        "recipe.yaml:1:1 schema: input should be 1 (got 2)",
        "recipe.yaml:1:1 name: missing; add it",
        "recipe.yaml:4:17 methods.0.period.1: "
        "input should be greater than or equal to 1 (got 0)",
        "recipe.yaml:5:5 methods.0.perod: unknown key (did you mean 'period'?); "
        "allowed here: period, rate, margin, mask",
        "recipe.yaml:6:5 methods.1: input should be an object (got 5)",
        "recipe.yaml:7:5 methods.2.name: unknown method 'mask' (did you mean 'masked'?); "
        "there are: dense, masked, shaped",
        "recipe.yaml:8:5 methods.3: name the method, for example `name: dense`",
        "recipe.yaml:10:3 model.input: write rows x columns, for example 384x1280 (got 12)",
        "recipe.yaml:11:3 model.name: unknown model 'vit-c' (did you mean 'vit-b'?); "
        "there are: vit-b, vit-b-global",
        "recipe.yaml:13:3 dataset.split: unknown split 'vla-half' (did you mean 'val-half'?); "
        "there are: train, val-half",
        "recipe.yaml:14:3 dataset.protocol: unknown protocol 'papers' (did you mean 'paper'?); "
        "there are: paper, raw",
        "recipe.yaml:16:1 seed: input should be greater than or equal to 0 (got -1)",
    ]  # fmt: skip
    assert f"allowed here: {sections}" in problems(f"{text}datset: 1\n")[-1]


def test_what_stands_under_a_metrics_name(folder: Path) -> None:
    sections = load(f"{HEAD}{DENSE}speed: {{rounds: 4}}\n").recipe.sections
    assert dict(sections) == {"speed": SpeedSection(rounds=4), "weight": Section()}
    assert problems(f"{HEAD}{DENSE}speed: {{rounds: 0}}\nweight: {{heavy: 1}}\n") == [
        "recipe.yaml:8:9 speed.rounds: input should be greater than or equal to 1 (got 0)",
        "recipe.yaml:9:10 weight.heavy: unknown key",
    ]


def test_keys_of_earlier_recipes_are_read_and_passed_over(folder: Path) -> None:
    now = load(f"{HEAD}{DENSE}")
    earlier = load(f"{HEAD}{DENSE}resamples: 40\n")
    assert (now.notes, earlier.recipe, earlier.points) == ((), now.recipe, now.points)
    assert earlier.notes == (
        "recipe.yaml:8:1 resamples is not used any more: intervals are computed, nothing is drawn "
        "for them",
    )
    assert "resamples" not in earlier.recipe.content()


def test_lines_and_columns_are_ordered_as_numbers(folder: Path) -> None:
    filler = "# \n" * 8
    text = f"{HEAD}{DENSE}seed: a\n{filler}description: 1\nnme: {{a: 1, b: 2}}\n"
    places = [line.split()[0] for line in problems(text)]
    assert places == ["recipe.yaml:8:1", "recipe.yaml:17:1", "recipe.yaml:18:1"]
    text = entry("period: [0, 1, 0, 2, 0]")
    places = [line.split()[0] for line in problems(text)]
    assert places == [f"recipe.yaml:9:{column}" for column in (14, 20, 26)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nme: x", "recipe.yaml:8:1 nme: unknown key (did you mean 'name'?); allowed here: schema"),
        ("heatmap: {clases: all}", "8:11 heatmap.clases: unknown key (did you mean 'classes'?)"),
        ("heatmap: {split: trian}", "8:11 heatmap.split: unknown split 'trian' (did you mean"),
        ("heatmap: {zzz: 1}", "8:11 heatmap.zzz: unknown key; allowed here: split, classes"),
        ("heatmap: {align: x}", "8:11 heatmap.align: input should be 'canvas' or 'image' (got"),
        ("heatmap: {canvas: 5x}", "8:11 heatmap.canvas: write rows x columns"),
        ("heatmap: []", "recipe.yaml:8:1 heatmap: input should be an object (got [])"),
        ("heatmap:", "recipe.yaml:8:1 heatmap: input should be an object (got null)"),
        ("seed: '8'", 'recipe.yaml:8:1 seed: input should be a valid integer (got "8")'),
        ("seed: 8.0", "recipe.yaml:8:1 seed: input should be a valid integer (got 8.0)"),
        ("seed: true", "recipe.yaml:8:1 seed: input should be a valid integer (got true)"),
        ("description: 5", "recipe.yaml:8:1 description: input should be a valid string (got 5)"),
        ("detections: labls", "8:1 detections: input should be 'auto', 'labels' or 'model' (got"),
        (
            "device: gpu",
            "recipe.yaml:8:1 device: write auto, cpu, cuda or, of several GPUs, cuda:1",
        ),
        ("device: 'cuda:01'", "recipe.yaml:8:1 device: write auto, cpu, cuda or, of several GPUs"),
        ("device: 0", "recipe.yaml:8:1 device: input should be a valid string (got 0)"),
    ],
)
def test_mistakes_in_sections(text: str, expected: str, folder: Path) -> None:
    (line,) = problems(f"{HEAD}{DENSE}{text}\n")
    assert expected in line


@pytest.mark.parametrize("classes", ["5", "[car, 5]", "{a: 1}", "~"])
def test_a_value_that_is_none_of_several_kinds(classes: str, folder: Path) -> None:
    lines = problems(f"{HEAD}{DENSE}heatmap: {{classes: {classes}}}\n")
    assert {line.partition(": ")[0] for line in lines} == {"recipe.yaml:8:11 heatmap.classes"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "roads",
            "road",
            "4:3 dataset.name: unknown dataset 'road' (did you mean 'roads'?); there",
        ),
        ("roads", "zebra", "4:3 dataset.name: unknown dataset 'zebra'; there are: roads, skies"),
        ("vit-b", "vitb", "6:3 model.name: unknown model 'vitb' (did you mean 'vit-b'?); there"),
        ("name: roads", "nam: roads", "recipe.yaml:3:1 dataset.name: missing; add it"),
        ("small", "Small", "2:1 name: string should match pattern"),
        ("small", "../x", "2:1 name: string should match pattern"),
        ("small", "''", "2:1 name: string should match pattern"),
        ("small", "2", "2:1 name: input should be a valid string (got 2)"),
        ("schema: 1", "schema: '1'", '1:1 schema: input should be 1 (got "1")'),
        ("schema: 1", "schema:", "1:1 schema: input should be 1 (got null)"),
        ("schema: 1", "schma: 1", "recipe.yaml:1:1 schema: missing; add it"),
    ],
)
def test_mistakes_in_the_head(old: str, new: str, expected: str, folder: Path) -> None:
    assert expected in problems(HEAD.replace(old, new, 1) + DENSE)[0]


@pytest.mark.parametrize("key", ["schema", "name", "dataset", "methods"])
def test_missing_keys(key: str, folder: Path) -> None:
    parts = {
        "schema": "schema: 1\n",
        "name": "name: a\n",
        "dataset": "dataset: {name: roads}\n",
        "methods": DENSE,
    }
    text = "".join(part for name, part in parts.items() if name != key)
    assert problems(text) == [f"recipe.yaml:1:1 {key}: missing; add it"]


def test_splits_are_those_of_the_dataset_at_hand(folder: Path) -> None:
    text = HEAD.replace("roads", "skies\n  split: train") + DENSE
    assert problems(text) == [
        "recipe.yaml:5:3 dataset.split: unknown split 'train'; there are: test"
    ]


def test_splits_of_an_unknown_dataset_are_not_judged(folder: Path) -> None:
    (line,) = problems(HEAD.replace("roads", "road\n  split: zzz") + DENSE)
    assert "dataset.name: unknown dataset" in line


@pytest.mark.parametrize(
    ("text", "kind", "got"),
    [
        ('period: "8"', "integer", '"8"'),
        ("period: '8'", "integer", '"8"'),
        ("period: 8.0", "integer", "8.0"),
        ("period: true", "integer", "true"),
        ("period: 1e3", "integer", "1000.0"),
        ("period:", "integer", "null"),
        ("period: {a: 1}", "integer", '{"a": 1}'),
        ("period: []", "integer", "[]"),
        ("period: 1_000", "integer", '"1_000"'),
        ("rate: '0.5'", "number", '"0.5"'),
        ("rate: true", "number", "true"),
        ("rate: no", "number", '"no"'),
        ("rate: .nan", "number", '".nan"'),
    ],
)
def test_types_are_strict(text: str, kind: str, got: str, folder: Path) -> None:
    key = text.partition(":")[0]
    assert problems(entry(text)) == [
        f"recipe.yaml:9:5 methods.0.{key}: input should be a valid {kind} (got {got})"
    ]


def test_a_whole_number_will_do_for_a_real_one(folder: Path) -> None:
    (found,) = params(entry("rate: 1"))
    assert isinstance(found, Masked)
    assert (type(found.rate), found.rate) == (float, 1.0)


def test_numbers_beyond_all_bounds(folder: Path) -> None:
    assert "methods.0.rate: input should be" in problems(entry("rate: 1e999"))[0]
    assert "methods.0.period: input should be" in problems(entry(f"period: {'9' * 400}"))[0]


def test_what_was_given_is_shortened(folder: Path) -> None:
    (line,) = problems(entry(f"period: {'a' * 500}"))
    assert line.endswith("aaa...)")
    assert len(line) < 200


@pytest.mark.parametrize("text", ["[]", "- a", "5", "schema", "''"])
def test_a_root_that_is_no_mapping(text: str, folder: Path) -> None:
    assert problems(text) == [
        "recipe.yaml:1:1: a recipe is a mapping; start it with `schema: 1`"
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "---\n"])
def test_an_empty_file(text: str, folder: Path) -> None:
    assert problems(text) == [
        "recipe.yaml:1:1: a recipe is a mapping; start it with `schema: 1`"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("methods: []", "methods: list should have at least 1 item"),
        ("methods:", "methods: input should be a valid array (got null)"),
        ("methods: {name: dense}", "methods: input should be a valid array (got {"),
        ("methods: dense", 'methods: input should be a valid array (got "dense")'),
        ("methods: [dense]", 'methods.0: input should be an object (got "dense")'),
        ("methods: [{name: [dense]}]", "methods.0: name the method"),
        ("methods: [{name: 5}]", "methods.0: name the method"),
        ("methods: [{}]", "methods.0: name the method"),
    ],
)
def test_methods_that_name_none(text: str, expected: str, folder: Path) -> None:
    (line,) = problems(f"{HEAD}{text}\n")
    assert line.startswith("recipe.yaml:7:")
    assert f" {expected}" in line


def test_mistakes_of_the_text_itself_come_alone(folder: Path) -> None:
    assert problems("schema: 2\nname: X\nname: Y\n") == [
        "recipe.yaml:3:1: key 'name' stands here for the second time"
    ]
    with pytest.raises(RecipeError, match=r"^absent\.yaml: cannot be read"):
        load_recipe(Path("absent.yaml"), CATALOG)


def test_grids_expand_with_the_last_key_fastest(folder: Path) -> None:
    loaded = load(entry("rate: [0.5, 0.1]\n    margin: 2\n    period: [4, 8]"))
    assert [point.params for point in loaded.points] == [
        Masked(rate=rate, margin=2, period=period) for rate in (0.5, 0.1) for period in (4, 8)
    ]
    assert {point.place for point in loaded.points} == {"recipe.yaml:8:5"}


def test_points_keep_the_order_of_the_entries(folder: Path) -> None:
    text = (
        "methods:\n- {name: masked, period: [2, 1]}\n- name: dense\n- {name: masked, margin: 1}\n"
    )
    assert params(HEAD + text) == [Masked(period=2), Masked(period=1), Plain(), Masked(margin=1)]


def test_mistakes_in_a_grid_stand_at_their_value_and_once(folder: Path) -> None:
    assert problems(entry("period: [4, 0, 8]\n    rate: [0.1, 0.2, 0.3]")) == [
        "recipe.yaml:9:17 methods.0.period.1: input should be greater than or equal to 1 (got 0)"
    ]
    assert problems(entry("period: [[4], 8]")) == [
        "recipe.yaml:9:14 methods.0.period.0: input should be a valid integer (got [4])"
    ]


def test_an_unknown_key_with_a_list_is_one_mistake(folder: Path) -> None:
    assert problems(entry("perod: [1, 2, 3]\n    rate: [0.1, 0.2]")) == [
        "recipe.yaml:9:5 methods.0.perod: unknown key (did you mean 'period'?); "
        "allowed here: period, rate, margin, mask"
    ]


def test_values_that_do_not_go_together_are_one_mistake(folder: Path) -> None:
    text = "mask: [dynamic, static]\n    rate: [0.1, 0.2]\n    period: [1, 2, 3]"
    assert problems(entry(text)) == ["recipe.yaml:8:5 methods.0: dynamic masks have no rate"]


@pytest.mark.parametrize("text", ["period: [8, 4, 8]", "rate: [0, 0.0]", "rate: [1, 1.0]"])
def test_a_point_twice(text: str, folder: Path) -> None:
    (line,) = problems(entry(text))
    assert line.startswith("recipe.yaml:8:5 methods.0: the grid names a point twice, for example ")
    assert line.endswith(text.replace(": [", " ").rpartition(",")[2].strip(" ]"))


def test_many_points_are_refused_without_making_them(folder: Path) -> None:
    row = str(list(range(1, 1001)))
    text = f"period: {row}\n    rate: {row}\n    margin: {row}\n    mask: {row}"
    assert problems(entry(text)) == [
        "recipe.yaml:8:5 methods.0: the grid has 1000000000000 points, more than 10000; "
        "split the recipe"
    ]


def test_ten_thousand_points_are_the_most(folder: Path) -> None:
    row = str(list(range(1, 101)))
    assert len(params(entry(f"period: {row}\n    margin: {row}"))) == 10_000
    text = f"period: {list(range(1, 74))}\n    margin: {list(range(137))}"
    assert "the grid has 10001 points" in problems(entry(text))[0]


SHAPED = f"{HEAD}methods:\n  - name: shaped\n    "


def test_a_list_is_the_value_of_a_parameter_that_is_a_list(folder: Path) -> None:
    assert params(f"{SHAPED}sizes: [1, 2]\n") == [Shaped(sizes=[1, 2])]
    assert params(f"{SHAPED}sizes: []\n") == [Shaped(sizes=[])]
    assert params(f"{SHAPED}sizes: [1]\n    levels: [2, 3]\n    depth: [4, 5]\n") == [
        Shaped(sizes=[1], levels=(2, 3), depth=depth) for depth in (4, 5)
    ]


def test_a_list_of_lists_is_its_grid(folder: Path) -> None:
    text = f"{SHAPED}sizes: [[1, 2], [3]]\n    levels: [[4], [5, 6]]\n"
    assert params(text) == [
        Shaped(sizes=sizes, levels=levels)
        for sizes in ([1, 2], [3])
        for levels in ((4,), (5, 6))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("sizes: [1, x]", "9:16 methods.0.sizes.1"),
        ("sizes: [1, [2]]", "9:16 methods.0.sizes.1"),
        ("sizes: [[1, 2], [3, x]]", "9:25 methods.0.sizes.1.1"),
        ("sizes: 1", "9:5 methods.0.sizes"),
        ("depth: 1", "8:5 methods.0.sizes"),
        ("sizes: []\n    region: {rows: x}", "10:14 methods.0.region.rows"),
        ("sizes: []\n    region: [{rows: 1}, {rows: x}]", "10:26 methods.0.region.1.rows"),
        ("sizes: []\n    region: {rows: 1, clos: 2}", "10:23 methods.0.region.clos"),
        ("sizes: []\n    regions: [{rows: 1}, {rows: 1, x: 2}]", "10:36 methods.0.regions.1.x"),
    ],
)
def test_places_of_mistakes_inside_values(text: str, place: str, folder: Path) -> None:
    (line,) = problems(f"{SHAPED}{text}\n")
    assert line.startswith(f"recipe.yaml:{place}: ")


@pytest.mark.parametrize(
    ("assignment", "key"),
    [
        ("methods.0.period=0", "methods.0.period"),
        ("methods.masked.period=0", "methods.0.period"),
        ("dataset.name=rods", "dataset.name"),
        ("datset.name=roads", "datset"),
        ("nme=small", "nme"),
        ("methods.0.period=[4, 0]", "methods.0.period.1"),
        ("methods=[{name: masked, period: 0}]", "methods.0.period"),
        ("dataset={name: roads, rot: x}", "dataset.rot"),
        ("dataset={name: 5}", "dataset.name"),
    ],
)
def test_mistakes_from_the_command_line(assignment: str, key: str, folder: Path) -> None:
    (line,) = problems(entry("period: 8"), assignment)
    assert line.startswith(f"--set {assignment} {key}: ")


def test_mistakes_from_the_command_line_come_first(folder: Path) -> None:
    lines = problems(entry("period: 0"), "seed=-1")
    assert [line.split()[0] for line in lines] == ["--set", "recipe.yaml:9:5"]


def test_overrides_mend_and_are_kept(folder: Path) -> None:
    text = entry("period: 0")
    loaded = load(text, "methods.0.period=[2, 4]", "seed=7")
    assert [point.params for point in loaded.points] == [Masked(period=2), Masked(period=4)]
    assert loaded.recipe.seed == 7
    assert loaded.assignments == ("methods.0.period=[2, 4]", "seed=7")
    assert loaded.source == text.encode()


def test_a_recipe_made_on_the_command_line_alone(folder: Path) -> None:
    loaded = load("", "schema=1", "name=x", "dataset.name=roads", "methods=[{name: dense}]")
    assert [point.params for point in loaded.points] == [Plain()]


def paths(text: str, *assignments: str, path: Path) -> tuple[str | None, str | None]:
    recipe = load(text, *assignments, path=path).recipe
    return recipe.dataset.root, recipe.model.weights


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe's path in another folder than the current one, `tmp_path / 'here'`."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKVD_TEST_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MASKVD_TEST_WORD", "word")
    monkeypatch.delenv("MASKVD_TEST_ABSENT", raising=False)
    monkeypatch.delenv("MASKVD_TEST_OTHER", raising=False)
    return tmp_path / "there" / "recipe.yaml"


def with_paths(root: str, weights: str) -> str:
    return f"""\
schema: 1
name: small
model:
  weights: {weights}
dataset:
  root: {root}
  name: roads
{DENSE}"""


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("labels", "there/labels"),
        ("../labels", "labels"),
        ("./a/../b", "there/b"),
        ("$MASKVD_TEST_DIR", "data"),
        ("$MASKVD_TEST_DIR/x", "data/x"),
        ("${MASKVD_TEST_DIR}/x", "data/x"),
        ("a/${MASKVD_TEST_WORD}s", "there/a/words"),
        ("~", "home"),
        ("~/x", "home/x"),
        ("a/~", "there/a/~"),
    ],
)
def test_paths_start_at_the_recipe(written: str, resolved: str, elsewhere: Path) -> None:
    expected = str(elsewhere.parent.parent / resolved)
    text = with_paths(f"'{written}'", f"'{written}'")
    assert paths(text, path=elsewhere) == (expected, expected)


def test_paths_start_at_the_recipe_however_it_is_named(elsewhere: Path) -> None:
    expected = str(elsewhere.parent / "labels")
    text = with_paths("labels", "labels")
    assert paths(text, path=Path("../there/recipe.yaml")) == (expected, expected)


def test_absolute_paths_stay(elsewhere: Path, tmp_path: Path) -> None:
    text = with_paths(str(tmp_path / "a"), str(tmp_path / "b"))
    assert paths(text, path=elsewhere) == (str(tmp_path / "a"), str(tmp_path / "b"))


def test_paths_from_the_command_line_start_where_it_is(elsewhere: Path, tmp_path: Path) -> None:
    text = with_paths("labels", "weights")
    here, there = tmp_path / "here", tmp_path / "there"
    assert paths(text, "dataset.root=x", path=elsewhere) == (
        str(here / "x"),
        str(there / "weights"),
    )
    assert paths(text, "model.weights=../w", path=elsewhere) == (
        str(there / "labels"),
        str(tmp_path / "w"),
    )
    assert paths(text, "dataset={name: roads, root: x}", path=elsewhere)[0] == str(here / "x")
    assert paths(text, "dataset.root=~/x", path=elsewhere)[0] == str(tmp_path / "home/x")
    assert paths(text, "dataset.root=$MASKVD_TEST_WORD", path=elsewhere)[0] == str(here / "word")


def test_variables_that_are_not_set(elsewhere: Path) -> None:
    text = with_paths("${MASKVD_TEST_ABSENT}/x", "a/$MASKVD_TEST_OTHER")
    with pytest.raises(RecipeError) as caught:
        load(text, path=elsewhere)
    assert caught.value.problems == (
        f"{elsewhere}:4:3 model.weights: environment variable MASKVD_TEST_OTHER is not set",
        f"{elsewhere}:6:3 dataset.root: environment variable MASKVD_TEST_ABSENT is not set",
    )
    with pytest.raises(RecipeError) as caught:
        load(with_paths("a", "b"), "dataset.root=$MASKVD_TEST_ABSENT", path=elsewhere)
    assert caught.value.problems == (
        "--set dataset.root=$MASKVD_TEST_ABSENT dataset.root: "
        "environment variable MASKVD_TEST_ABSENT is not set",
    )


@pytest.mark.parametrize("root", ['"a\\0b"', "~nobody-of-this-name/x"])
def test_paths_that_cannot_be(root: str, elsewhere: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(with_paths(root, "w"), path=elsewhere)
    (line,) = caught.value.problems
    assert line.startswith(f"{elsewhere}:6:3 dataset.root: no usable path (")


def test_half_a_character_in_a_text(folder: Path) -> None:
    (line,) = problems(HEAD.replace("small", '"\\ud800"') + DENSE)
    assert line.startswith("recipe.yaml:2:7: half a character (a lone surrogate)")


def test_true_is_no_version(folder: Path) -> None:
    (line,) = problems(HEAD.replace("schema: 1", "schema: true") + DENSE)
    assert line == "recipe.yaml:1:1 schema: write schema: 1 (got true)"


def with_inputs(inputs: str, methods: str) -> str:
    """A recipe whose inputs stand at 7:3 and whose methods begin in line 9."""
    return f"{HEAD}  input: {inputs}\nmethods:\n{methods}"


def inputs_of(text: str, *assignments: str) -> list[tuple[str, str]]:
    return [(point.method, point.input) for point in load(text, *assignments).points]


def test_every_method_runs_at_every_input_the_inputs_varying_slowest(folder: Path) -> None:
    text = with_inputs("[64x64, 32X96]", "  - name: dense\n  - {name: masked, period: [4, 8]}\n")
    one = ["dense", "masked", "masked"]
    expected = [(method, size) for size in ("64x64", "32x96") for method in one]
    assert inputs_of(text) == expected
    assert inputs_of(text, "model.input=16x16") == [(method, "16x16") for method in one]


def test_an_entry_may_run_at_some_of_the_inputs_only(folder: Path) -> None:
    text = with_inputs(
        "[64x64, 32x96, 16x16]",
        "  - {name: masked, input: 32x96}\n  - {name: dense, input: [16X16, 64x64]}\n"
        "  - {name: masked, period: 1, input: null}\n",
    )
    assert inputs_of(text) == [
        ("dense", "64x64"), ("masked", "64x64"), ("masked", "32x96"), ("masked", "32x96"),
        ("dense", "16x16"), ("masked", "16x16"),
    ]  # fmt: skip
    assert inputs_of(text, "methods.dense.input=32x96")[1:4] == [
        ("masked", "32x96"), ("dense", "32x96"), ("masked", "32x96"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "entry", "expected"),
    [
        ("64", "input: 64x64", "7:3 model.input: write rows x columns, for example 384x1280 (got"),
        ("[64x64, 1]", "margin: 1", "7:18 model.input.1: write rows x columns, for example"),
        ("[64x64, 64X64]", "margin: 1", "7:3 model.input: 64x64 stands here twice; remove one"),
        ("[]", "margin: 1", "7:3 model.input: value should have at least 1 item"),
        ("64x64", "input: 32x32", "9:20 methods.0.input: 32x32 is not among the inputs of the "
         "model (64x64); add it to model.input"),
        ("64x64", "input: 32", "9:20 methods.0.input: write rows x columns"),
        ("64x64", "input: [64x64, x]", "9:35 methods.0.input.1: write rows x columns"),
        ("[64x64, 32x32]", "input: 64x64", "7:3 model.input: no method runs at 32x32; remove it, "
         "or add it to the input of a method"),
    ],
)  # fmt: skip
def test_mistakes_in_inputs(inputs: str, entry: str, expected: str, folder: Path) -> None:
    (line,) = problems(with_inputs(inputs, f"  - {{name: masked, {entry}}}\n"))
    assert line.startswith(f"recipe.yaml:{expected}")


def with_models(models: str, methods: str) -> str:
    """A recipe whose models stand from 6:3 on."""
    return (
        f"schema: 1\nname: small\ndataset: {{name: roads}}\n\nmodel:\n{models}methods:\n{methods}"
    )


TWO = "  - {name: vit-b, input: [64x64, 32x96]}\n  - {name: vit-b-global, input: 64x64}\n"


def test_entries_run_on_all_models_or_on_those_that_they_name(folder: Path) -> None:
    methods = "  - name: dense\n  - {name: masked, model: vit-b-global}\n"
    loaded = load(with_models(TWO, methods))
    assert [(p.method, p.model, p.input) for p in loaded.points] == [
        ("dense", "vit-b", "64x64"), ("dense", "vit-b", "32x96"),
        ("dense", "vit-b-global", "64x64"), ("masked", "vit-b-global", "64x64"),
    ]  # fmt: skip
    assert [single.model.name for single in loaded.recipe.for_each_model()] == [
        "vit-b", "vit-b-global",
    ]  # fmt: skip
    more = load(with_models(TWO, "  - name: dense\n  - {name: masked, input: 32x96}\n"))
    assert [(p.model, p.input) for p in more.points if p.method == "masked"] == [("vit-b", "32x96")]


def test_weights_of_each_model_are_relative_to_the_recipe(folder: Path) -> None:
    models = "  - {name: vit-b, weights: a.pt}\n  - {name: vit-b-global, weights: b.pt}\n"
    text = with_models(models, "  - name: dense\n")
    changed = load(text, "model.vit-b-global.weights=c: d.pt").recipe.models
    assert [model.weights for model in changed] == [str(folder / "a.pt"), str(folder / "c: d.pt")]


def test_one_model_with_several_weights_is_told_apart_by_what_it_is_called(folder: Path) -> None:
    models = "  - {name: vit-b, weights: a.pt}\n  - {name: vit-b, called: tuned, weights: b.pt}\n"
    text = with_models(models, "  - name: dense\n  - {name: masked, model: tuned}\n")
    loaded = load(text, "model.tuned.weights=c.pt", "model.vit-b.input=64x64")
    assert [(p.method, p.model) for p in loaded.points] == [
        ("dense", "vit-b"), ("dense", "tuned"), ("masked", "tuned"),
    ]  # fmt: skip
    plain, tuned = loaded.recipe.models
    assert (plain.known_as, tuned.known_as) == ("vit-b", "tuned")
    assert (plain.weights, tuned.weights) == (str(folder / "a.pt"), str(folder / "c.pt"))
    assert (plain.input, tuned.input) == (["64x64"], ["672x672"])
    assert loaded.recipe.arch_of("tuned") == "vit-b"


@pytest.mark.parametrize(
    ("models", "entry", "expected"),
    [
        (TWO, "model: vit", "9:20 methods.0.model: vit is not among the models (vit-b, "
         "vit-b-global); add it to model"),
        (TWO, "model: vit-b", "5:1 model: no method runs on vit-b-global; remove it, or add it to "
         "the model of a method"),
        (TWO.replace("-global", ""), "margin: 1", "5:1 model: vit-b stands here twice; remove one, "
         "or say what else it is called"),
        (TWO.replace("-global", ", called: other"), "margin: 1", "5:1 model: vit-b stands here "
         "twice with the same weights; remove one"),
        (TWO.replace("-global", ", called: No Name"), "margin: 1", "7:19 model.1.called: "),
        (TWO.replace("64x64}", "64x64, weights: x}"), "margin: 1", "5:1 model: give weights for "
         "all models, random ones for all, or for none"),
        (TWO.replace("name: vit-b-", "nme: vit-b-"), "margin: 1", "7:6 model.1.nme: unknown key "
         "(did you mean 'name'?); allowed here: name, input"),
        (TWO.replace("vit-b-global", "vit-c"), "margin: 1", "7:6 model.1.name: unknown model"),
        ("  name: vit-c\n", "margin: 1", "6:3 model.name: unknown model"),
        ("  nme: vit-b\n", "margin: 1", "6:3 model.nme: unknown key (did you mean 'name'?)"),
    ],
)  # fmt: skip
def test_mistakes_in_models(models: str, entry: str, expected: str, folder: Path) -> None:
    line = problems(with_models(models, f"  - {{name: masked, {entry}}}\n"))[0]
    assert line.startswith(f"recipe.yaml:{expected}")


def with_statistics(text: str, more: str = "") -> str:
    """A recipe whose statistics stand at 5:3."""
    return HEAD.replace("roads\n", f"roads\n  statistics: {text}\n{more}") + DENSE


def test_statistics_stand_in_for_the_dataset(folder: Path) -> None:
    stated = load(with_statistics("{clips: 3, frames: 3}")).recipe.dataset.statistics
    assert stated is not None
    assert (stated.clips, stated.frames, stated.classes) == (3, 3, None)
    cleared = load(with_statistics("{clips: 3, frames: 3}"), "dataset.statistics=null")
    assert cleared.recipe.dataset.statistics is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{clips: 4, frames: 3}", "5:26 dataset.statistics.frames: fewer than the 4 clips; each"),
        ("{clips: 0, frames: 3}", "5:16 dataset.statistics.clips: input should be greater than"),
        ("{clips: 1, frames: 100000000}", "5:26 dataset.statistics.frames: input should be less"),
        ("{clips: 1}", "5:3 dataset.statistics.frames: missing; add it"),
        ("{clips: 1, frames: 2, clases: 3}", "5:37 dataset.statistics.clases: unknown key (did you "
         "mean 'classes'?); allowed here: clips, frames, classes"),
        ("5", "5:3 dataset.statistics: input should be an object (got 5)"),
    ],
)  # fmt: skip
def test_mistakes_in_statistics(text: str, expected: str, folder: Path) -> None:
    (line,) = problems(with_statistics(text))
    assert line.startswith(f"recipe.yaml:{expected}")


def test_statistics_and_a_root_exclude_each_other(folder: Path) -> None:
    (line,) = problems(with_statistics("{clips: 3, frames: 3}", "  root: x\n"))
    assert line.startswith(
        "recipe.yaml:5:3 dataset.statistics: statistics stand in for a dataset that is not there, "
        "and root names one"
    )
    assert "--set dataset.statistics=null" in line
    (line,) = problems(with_statistics("{clips: 3, frames: 3}"), "dataset.root=x")
    assert "leave one of them out" in line


def test_what_stands_under_a_metrics_name_is_checked_by_the_metric(folder: Path) -> None:
    assert load(HEAD + DENSE).recipe.sections["speed"] == SpeedSection()
    loaded = load(HEAD + DENSE + "speed: {rounds: 3}\nmetrics: [speed]\n", "weight={}")
    assert loaded.recipe.sections["speed"] == SpeedSection(rounds=3)
    assert loaded.recipe.content()["speed"] == {"rounds": 3}
    assert pickle.loads(pickle.dumps(loaded)).recipe.sections == loaded.recipe.sections
    assert load(HEAD + DENSE, "speed.rounds=2").recipe.sections["speed"] == SpeedSection(rounds=2)


def test_mistakes_under_a_metrics_name_have_a_place(folder: Path) -> None:
    text = HEAD + DENSE + "speed:\n  rounds: 0\n  runds: 3\nweight: 5\nmetrics: [sped]\n"
    assert problems(text) == [
        "recipe.yaml:9:3 speed.rounds: input should be greater than or equal to 1 (got 0)",
        "recipe.yaml:10:3 speed.runds: unknown key (did you mean 'rounds'?); allowed here: rounds",
        "recipe.yaml:11:1 weight: input should be an object (got 5)",
        "recipe.yaml:12:11 metrics.0: unknown metric 'sped' (did you mean 'speed'?); there are: "
        "speed, weight",
    ]
