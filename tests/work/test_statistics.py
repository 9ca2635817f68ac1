"""Sweeps without a dataset: clips and frames as numbers, and Eventful Transformers' Table C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from maskvd_cli.core.errors import RecipeError, UsageError
from maskvd_cli.judge.published import papers
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.recipe.shipped import find_recipe
from maskvd_cli.scenes.scene import Scene, scenes_of
from maskvd_cli.store.schema import Metrics
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.plan import PointSpec, detections_of
from maskvd_cli.work.replay import MergedPoint, replay
from maskvd_cli.work.runner import choose_run, plan_tasks, prepare, run_sweep

RECIPE = """\
schema: 1
name: stated
dataset:
  name: imagenet-vid
  statistics: {clips: 3, frames: 8, classes: 30}
model: {input: [96x96, 64x64]}
methods:
  - name: dense
  - {name: maskvd, input: 64x64}
  - {name: stgt, r: 4}
"""


@pytest.fixture(autouse=True)
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKVD_VID", "/nowhere")


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "stated.yaml"
    path.write_text(RECIPE)
    return path


def scene_of(statistics: dict[str, Any], stride: int = 1, **model: Any) -> Scene:
    made = Recipe.model_validate(
        {
            "schema": 1,
            "name": "x",
            "dataset": {
                "name": "imagenet-vid",
                "statistics": statistics,
                "frame_stride": stride,
            },
            "model": {"input": "64x64", **model},
            "methods": [{"name": "dense"}],
        }
    )
    return next(iter(scenes_of(made, "none").values()))


def planned(scene: Scene, method: str, **params: Any) -> MergedPoint:
    kind = methods.load(method)
    made = kind.resolve(kind.params_type.model_validate(params), scene.geometry.arch)
    return replay(PointSpec(kind, made), scene)


def test_clips_are_as_equally_long_as_can_be() -> None:
    samples = planned(scene_of({"clips": 3, "frames": 8}), "stgt", r=4).samples
    assert samples["clip"].tolist() == ["0"] * 3 + ["1"] * 3 + ["2"] * 2
    assert samples["frame"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert samples["is_full"].tolist() == [True, False, False] * 2 + [True, False]
    assert samples["tokens"].tolist() == [16, 4, 4, 16, 4, 4, 16, 4]
    assert samples["real_tokens"].isna().all()
    assert samples["all_real_tokens"].isna().all()


def test_clips_are_as_long_as_stated() -> None:
    lengths = [{"clips": 1, "frames": 2}, {"clips": 2, "frames": 3}]
    samples = planned(scene_of({"clips": 3, "frames": 8, "lengths": lengths}), "stgt", r=4).samples
    assert samples["clip"].tolist() == ["0"] * 2 + ["1"] * 3 + ["2"] * 3
    assert samples["is_full"].tolist() == [True, False] + [True, False, False] * 2


def test_lengths_add_up_to_what_is_stated() -> None:
    with pytest.raises(ValidationError, match="2 clips with 7 frames, not 3 with 8"):
        scene_of(
            {
                "clips": 3,
                "frames": 8,
                "lengths": [{"clips": 1, "frames": 3}, {"clips": 1, "frames": 4}],
            }
        )


def test_of_clips_every_so_many_th_frame_is_left() -> None:
    scene = scene_of({"clips": 2, "frames": 11}, stride=4)
    samples = planned(scene, "stgt", r=4).samples
    assert samples["frame"].tolist() == [0, 4, 0, 4]
    assert samples["is_full"].tolist() == [True, False] * 2
    assert scene.source.setting()["frame_stride"] == 4


def test_means_weigh_the_first_frames() -> None:
    scene = scene_of({"clips": 3, "frames": 8})
    metrics = planned(scene, "stgt", r=4).metrics
    dense = planned(scene, "dense").metrics
    arch, grid = scene.geometry.arch, scene.geometry.grid
    kind = methods.load("stgt")
    later = kind.published_at(arch, grid, kind.params_type.model_validate({"r": 4}), 4)
    assert later is not None
    assert (metrics.clips, metrics.frames, metrics.tokens) == (3, 8, (3 * 16 + 5 * 4) / 8)
    assert metrics.full_frame_share == 3 / 8
    assert dense.gmacs_published is not None
    expected = (3 * dense.gmacs_published + 5 * later / 1e9) / 8
    assert metrics.gmacs_published == pytest.approx(expected, rel=1e-12)
    assert metrics.keep_rate_real is None


def test_the_detector_is_counted_where_the_classes_are_stated() -> None:
    assert planned(scene_of({"clips": 1, "frames": 1}), "dense").metrics.gmacs_detector is None
    stated = scene_of({"clips": 1, "frames": 1, "classes": 30})
    assert stated.setting["model"]["heads"]["proposals"] == 300
    assert planned(stated, "dense").metrics.gmacs_detector is not None


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("maskvd", {}),
        ("maskvd", {"mask": "dynamic"}),
        ("maskvd", {"mask": "static"}),
        ("oracle", {}),
        ("dense-unpadded", {}),
    ],
)
def test_methods_that_need_boxes_fail_clearly(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"{method} needs annotated frames.*dataset\.root"):
        planned(scene_of({"clips": 1, "frames": 4}), method, **params)


PARAMS = {"stgt": {"r": 4}, "eventful": {"r": 4}, "rgtp": {"k": 4}, "boxes-k": {"k": 4}}


@pytest.mark.parametrize("method", ["evit", "dense", *PARAMS])
def test_methods_that_do_not_are_planned(method: str) -> None:
    scene = scene_of({"clips": 2, "frames": 4}, name="vitdet-b-global")
    params = PARAMS.get(method, {})
    assert planned(scene, method, **params).metrics.frames == 4


def test_a_sweep_reads_nothing_and_its_failures_are_rows(recipe_file: Path, tmp_path: Path) -> None:
    sweep = prepare(load_recipe(recipe_file, catalog()))
    run, earlier = choose_run(sweep, tmp_path / "results", fresh=False)
    outcome = run_sweep(sweep, run, earlier)
    found = [(record.label, record.status) for record in outcome.ran]
    assert found == [
        ("dense input=96x96", "ok"), ("stgt r=4 input=96x96", "ok"), ("dense input=64x64", "ok"),
        ("maskvd version=C period=8 static_keep_rate=0.1 input=64x64", "failed"),
        ("stgt r=4 input=64x64", "ok"),
    ]  # fmt: skip
    failure = outcome.failed[0].failure
    assert failure is not None
    assert "only the number of frames is known" in failure.message
    plan = run.plan()
    assert (plan.detections, plan.points[1].input, plan.points[1].named) == ("none", "96x96", ["r"])
    assert "(3) and frames (8) that the recipe states; no dataset was read" in plan.notes[0]
    setting = outcome.ran[0].setting["dataset"]
    assert setting == {
        "name": "imagenet-vid", "split": "val", "protocol": "imagenet-vid",
        "statistics": {"clips": 3, "frames": 8, "classes": 30},
    }  # fmt: skip


def test_statistics_decide_the_key(recipe_file: Path) -> None:
    def keys(*assignments: str) -> set[str]:
        return {
            point.key for point in prepare(load_recipe(recipe_file, catalog(), assignments)).points
        }

    base = keys()
    assert len(base) == 5
    for change in ("clips=2", "frames=9", "classes=3"):
        assert not keys(f"dataset.statistics.{change}") & base
    lengths = "[{clips: 2, frames: 3}, {clips: 1, frames: 2}]"
    assert not keys(f"dataset.statistics.lengths={lengths}") & base
    assert not keys("dataset.frame_stride=2") & base
    assert keys("dataset.frame_stride=1") == base


def test_without_boxes_the_detector_cannot_be_asked_for_either(recipe_file: Path) -> None:
    loaded = load_recipe(recipe_file, catalog())
    assert detections_of(loaded.recipe)[0] == "none"
    with pytest.raises(RecipeError, match="asks for the detector"):
        detections_of(load_recipe(recipe_file, catalog(), ["detections=model"]).recipe)


@pytest.fixture(scope="module")
def table_c() -> dict[tuple[str, str], Metrics]:
    """Every row of the shipped recipe, by input and label."""
    loaded = load_recipe(find_recipe("vid-table-c"), catalog())
    scenes = scenes_of(loaded.recipe, "none")
    tasks, _, _ = plan_tasks(loaded)
    return {
        (task.input, task.label.partition(" input=")[0]): replay(task, scenes[task.site]).metrics
        for task in tasks
    }


def published() -> list[tuple[str, str, float]]:
    """Input, label and GMACs of the published rows that can be planned."""
    (paper,) = [paper for paper in papers() if paper.paper.startswith("Eventful")]
    found: list[tuple[str, str, float]] = []
    for table in paper.tables:
        for row in table.rows:
            point, gmacs = row.point, row.values.get("gmacs")
            assert gmacs is not None
            gated = point["method"] == "eventful"
            if gated and (point["policy"] == "threshold" or point["pool"] > 1):
                continue
            label = str(point["method"])
            label += f" r={point['r']}" if "r" in point else ""
            label += " update=tokenwise" if point.get("update") == "tokenwise" else ""
            label += " pool=2" if point.get("pool") == 2 else ""
            found.append((table.where["input"], label, gmacs))
    return found


@pytest.mark.parametrize(("size", "label", "gmacs"), sorted(set(published())))
def test_table_c(
    size: str, label: str, gmacs: float, table_c: dict[tuple[str, str], Metrics]
) -> None:
    metrics = table_c[size, label]
    assert (metrics.clips, metrics.frames) == (639, 176126)
    assert metrics.gmacs_published is not None
    assert abs(metrics.gmacs_published - gmacs) < 0.1


def test_the_recipe_has_exactly_the_rows_that_can_be_planned(
    table_c: dict[tuple[str, str], Metrics],
) -> None:
    assert set(table_c) == {(size, label) for size, label, _ in published()}
    assert len(table_c) == 40


def test_the_recipe_says_which_annotations_would_do(tmp_path: Path) -> None:
    path = find_recipe("vid-table-c")
    assert "--set dataset.statistics=null --root DIR" in path.read_text()
    assignments = ["dataset.statistics=null", f"dataset.root={tmp_path}"]
    loaded = load_recipe(path, catalog(), assignments)
    assert loaded.recipe.dataset.statistics is None
