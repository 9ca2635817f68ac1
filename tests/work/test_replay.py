"""Planned sweeps: token counts by hand on a tiny set, and Table 1 on the real labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.errors import DatasetError, RecipeError, UsageError
from maskvd_cli.families.vitdet.head_costs import embedding_macs, head_macs
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe.schema import Recipe
from maskvd_cli.scenes.annotations import Annotations
from maskvd_cli.scenes.scene import Scene, scenes_of
from maskvd_cli.store.schema import Metrics
from maskvd_cli.work.plan import PointSpec, detections_of
from maskvd_cli.work.replay import MergedPoint, replay

# Table 1 of the paper, windowed, KITTI: (P, k_s) -> tokens, GMACs.
TABLE_1 = {
    (8, 0.5): (1005, 110.75),
    (8, 0.3): (723, 85.08),
    (8, 0.1): (459, 63.59),
    (16, 0.5): (952, 106.18),
    (16, 0.3): (635, 79.16),
    (16, 0.1): (370, 55.67),
}
TINY_MODEL = {"name": "vitdet-b", "input": "64x64", "frame": "48x64"}


def recipe(root: Path, **changes: Any) -> Recipe:
    base: dict[str, Any] = {
        "schema": 1,
        "name": "test",
        "dataset": {"name": "kitti", "root": str(root)},
        "model": {"input": "672x672"},
        "methods": [{"name": "dense"}],
    }
    return Recipe.model_validate({**base, **changes})


def task(model: str = "vitdet-b", method: str = "maskvd", **params: Any) -> PointSpec:
    kind = methods.load(method)
    resolved = kind.resolve(kind.params_type.model_validate(params), get_arch(model))
    return PointSpec(kind, resolved)


def scene_of(made: Recipe) -> Scene:
    """The scene at the first input."""
    return next(iter(scenes_of(made, "labels").values()))


def row(frame: int, box: tuple[float, ...], kind: str = "Car", track: int = 0) -> str:
    corners = " ".join(str(value) for value in box)
    return f"{frame} {track} {kind} 0 0 0 {corners} 1 1 1 0 0 9 0"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Four frames of 375 x 1242 in each half; boxes in cells of 125 x 310.5 native pixels."""
    first = [row(0, (0, 0, 310, 124)), row(1, (0, 0, 310, 124)), row(2, (311, 125, 620, 249))]
    # Stretched to 48 x 64: 0.128 rows and 0.0515 columns a pixel, so one 16 x 16 token each.
    second = [
        row(4, (0, 0, 310, 124)),
        row(5, (311, 125, 620, 249), track=1),
        row(5, (0, 0, 310, 124), kind="DontCare", track=-1),
    ]
    folder = tmp_path / "kitti" / "training" / "label_02"
    folder.mkdir(parents=True)
    (folder / "0000.txt").write_text("\n".join([*first, *second]) + "\n")
    seqmap = folder.parent / "evaluate_tracking.seqmap.training"
    seqmap.write_text("0000 empty 000000 000008\n")
    return tmp_path / "kitti"


def run(root: Path, made: PointSpec, **changes: Any) -> MergedPoint:
    return replay(made, scene_of(recipe(root, **{"model": TINY_MODEL, **changes})))


def test_tokens_by_hand(tiny: Path) -> None:
    outcome = run(tiny, task(period=8, static_keep_rate=0.0625))
    samples = outcome.samples
    # Frame 4 is full; 5 and 6 keep the static token 0 and the box before them; 7 sees no box.
    assert samples["frame"].tolist() == [4, 5, 6, 7]
    assert samples["tokens"].tolist() == [16, 1, 2, 16]
    assert samples["real_tokens"].tolist() == [12, 1, 2, 12]
    assert samples["is_full"].tolist() == [True, False, False, True]
    metrics = outcome.metrics
    assert (metrics.clips, metrics.frames) == (1, 4)
    assert metrics.tokens == 35 / 4
    assert metrics.keep_rate == 35 / 64
    assert metrics.keep_rate_real == 27 / 48
    assert metrics.full_frame_share == 0.5


def test_ignore_regions_make_no_dynamic_mask(tiny: Path) -> None:
    ignoring = {"name": "kitti", "root": str(tiny), "protocol": "kitti-ignore"}
    outcome = run(tiny, task(mask="dynamic"), dataset=ignoring)
    assert outcome.samples["tokens"].tolist() == [16, 1, 1, 16]


def test_costs_are_means_over_frames(tiny: Path) -> None:
    for version in ("C", "T", "H"):
        made = task(version=version, period=8, static_keep_rate=0.0625)
        scene = scene_of(recipe(tiny, model=TINY_MODEL))
        arch, grid = scene.geometry.arch, scene.geometry.grid
        outcome = replay(made, scene)
        published = [
            made.method.published_at(arch, grid, made.params, int(n)) or 0
            for n in outcome.samples["tokens"]
        ]
        (view,) = scene.views(with_scores=True)
        trace = made.method.plan(made.params, arch, view)
        assert trace is not None
        macs = made.method.macs(arch, grid, made.params, trace)
        assert macs is not None
        matrix = np.asarray(macs.matrix)
        assert matrix.shape == (4,)
        assert matrix[1] < matrix[2] < matrix[0] == matrix[3]
        assert outcome.metrics.gmacs_published == pytest.approx(sum(published) / 4e9, rel=1e-12)
        assert outcome.metrics.gmacs == pytest.approx(matrix.sum() / 4e9, rel=1e-12)


@pytest.mark.parametrize("model", ["vitdet-b", "vitdet-b-global"])
def test_the_cost_curve_is_the_closed_form(tiny: Path, model: str) -> None:
    for made in (task(model, period=8, static_keep_rate=0.0625), task(model, "dense")):
        scene = scene_of(recipe(tiny, model={**TINY_MODEL, "name": model}))
        metrics = replay(made, scene).metrics
        assert metrics.cost_curve is not None
        c0, c1, c2 = metrics.cost_curve
        for tokens in (0, 5, 16):
            exact = made.method.published_at(
                scene.geometry.arch, scene.geometry.grid, made.params, tokens
            )
            assert exact is not None
            assert c0 + c1 * tokens + c2 * tokens**2 == pytest.approx(exact / 1e9)
        at_mean = c0 + c1 * metrics.tokens + c2 * metrics.tokens**2
        assert metrics.gmacs_published_at_mean_tokens == pytest.approx(at_mean)
        if model == "vitdet-b-global" and made.method.name == "maskvd":
            assert metrics.gmacs_published is not None
            assert metrics.gmacs_published > at_mean


def test_methods_whose_layers_differ_leave_what_they_do_not_have_empty(tiny: Path) -> None:
    outcome = run(tiny, task("vitdet-b-global", "evit", keep_rate=0.5), model={
        **TINY_MODEL, "name": "vitdet-b-global"})  # fmt: skip
    metrics, samples = outcome.metrics, outcome.samples
    # 16 tokens in blocks 0 to 2, then 8, 4 and 2 after blocks 3, 6 and 9.
    assert metrics.tokens == (3 * 16 + 3 * 8 + 3 * 4 + 3 * 2) / 12 == 7.5
    assert samples["tokens"].tolist() == [7.5] * 4
    assert samples["real_tokens"].isna().all()
    assert samples["all_real_tokens"].tolist() == [12] * 4
    assert metrics.keep_rate_real is None
    assert metrics.cost_curve is metrics.gmacs_published_at_mean_tokens is None
    assert samples["count_start"].tolist() == [16] * 4


def test_unpadded_has_no_curve_but_knows_its_real_tokens(tiny: Path) -> None:
    metrics = run(tiny, task(method="dense-unpadded")).metrics
    assert (metrics.tokens, metrics.keep_rate, metrics.keep_rate_real) == (12, 0.75, 1.0)
    assert metrics.cost_curve is None


def test_counts_of_the_closed_forms_are_kept_per_frame(tiny: Path) -> None:
    samples = run(tiny, task(period=8, static_keep_rate=0.0625)).samples
    assert samples["count_window_keys"].tolist() == [16] * 4
    # One window of 14 x 14 holds everything: two chosen tokens ask for two places.
    assert samples["count_window_queries"].tolist() == [196, 1, 2, 196]


@pytest.mark.parametrize(
    ("protocol", "classes"), [("maskvd-paper", 3), ("kitti-ignore", 3), ("raw", 10)]
)
def test_the_whole_detector_adds_embedding_and_heads(
    tiny: Path, protocol: str, classes: int
) -> None:
    dataset = {"name": "kitti", "root": str(tiny), "protocol": protocol}
    scene = scene_of(recipe(tiny, model=TINY_MODEL, dataset=dataset))
    metrics = replay(task(method="dense"), scene).metrics
    arch, grid = scene.geometry.arch, scene.geometry.grid
    assert scene.shape is not None
    assert scene.shape.classes == classes == scene.setting["model"]["heads"]["classes"]
    around = embedding_macs(arch, grid) + head_macs(arch, scene.shape, grid, 300)
    assert metrics.gmacs_detector == pytest.approx(metrics.gmacs + around / 1e9, rel=1e-12)


def test_heads_of_the_published_detector(kitti_scene: Scene) -> None:
    metrics = replay(task(method="dense"), kitti_scene).metrics
    assert metrics.gmacs_detector is not None
    embedding, heads_of_30_classes = 1.040449536, 113.954474496
    fewer_classes = 300 * 1024 * 5 * (30 - 3) / 1e9
    assert metrics.gmacs_detector - metrics.gmacs == pytest.approx(
        embedding + heads_of_30_classes - fewer_classes, rel=1e-9
    )


def test_heatmap_on_the_input_places_boxes_as_frames_are(tiny: Path) -> None:
    scene = scene_of(recipe(tiny, model=TINY_MODEL, heatmap={"canvas": "input"}))
    assert isinstance(scene.source, Annotations)
    assert scene.source.heatmap(scene.geometry).counts.shape == (64, 64)
    (view,) = scene.views(with_scores=True)
    assert view.region_scores is not None
    assert view.region_scores.argmax() == 0
    assert view.region_scores[12:].sum() == 0


def test_a_frame_larger_than_the_input_is_refused(tiny: Path) -> None:
    model = {"name": "vitdet-b", "input": "64x64", "frame": "65x64"}
    with pytest.raises(UsageError, match="frame 65x64 does not fit into input 64x64"):
        scene_of(recipe(tiny, model=model))


def test_a_clip_has_frames_of_one_size(tmp_path: Path) -> None:
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": 64 + i, "height": 48, "video_id": 1,
         "frame_id": i}
        for i in range(2)
    ]  # fmt: skip
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    dataset = {"name": "coco-video", "root": str(tmp_path)}
    scene = scene_of(recipe(tmp_path, dataset=dataset, model={"input": "64x64"}))
    with pytest.raises(DatasetError, match="clip 1 has frames of 48x64 and 48x65"):
        scene.views(with_scores=False)


def test_classes_without_a_box_are_refused(tiny: Path) -> None:
    scene = scene_of(recipe(tiny, model=TINY_MODEL, heatmap={"classes": ["Tram"]}))
    with pytest.raises(DatasetError, match="no box of classes 'Tram' in split train-half"):
        _ = scene.heatmap_setting


def test_labels_stand_in_unless_the_model_is_asked_for(tiny: Path) -> None:
    assert detections_of(recipe(tiny)) == (
        "labels",
        "model.weights is not given, so annotated boxes stand for detections",
    )
    assert detections_of(recipe(tiny, detections="labels"))[0] == "labels"
    weights = {**TINY_MODEL, "weights": "w.safetensors"}
    assert detections_of(recipe(tiny, model=weights))[0] == "model"
    assert detections_of(recipe(tiny, model=weights, detections="labels"))[0] == "labels"
    assert detections_of(recipe(tiny, model={**TINY_MODEL, "weights": "random"}))[0] == "labels"
    with pytest.raises(RecipeError, match="asks for the detector"):
        detections_of(recipe(tiny, detections="model"))


@pytest.fixture(scope="module")
def kitti_scene(kitti_root: Path) -> Scene:
    return scene_of(recipe(kitti_root))


def deviation(ours: float, theirs: float) -> float:
    return 100 * abs(ours / theirs - 1)


@pytest.mark.parametrize(("setting", "paper"), TABLE_1.items())
def test_table_1_windowed_rows(
    kitti_scene: Scene, setting: tuple[int, float], paper: tuple[float, float]
) -> None:
    period, keep_rate = setting
    metrics = replay(task(period=period, static_keep_rate=keep_rate), kitti_scene).metrics
    assert (metrics.clips, metrics.frames) == (21, 4009)
    assert deviation(metrics.tokens, paper[0]) < 3
    assert metrics.gmacs_published is not None
    assert deviation(metrics.gmacs_published, paper[1]) < 2.5


def test_version_c_fits_the_published_gmacs_better_than_the_text(kitti_scene: Scene) -> None:
    def error(version: str) -> float:
        found: list[float] = []
        for (period, keep_rate), (_, gmacs) in TABLE_1.items():
            made = task(version=version, period=period, static_keep_rate=keep_rate)
            published = replay(made, kitti_scene).metrics.gmacs_published
            assert published is not None
            found.append(deviation(published, gmacs))
        return sum(found) / len(found)

    assert error("C") < error("T") < error("H")


def test_shorter_periods_and_larger_static_masks_cost_more(kitti_scene: Scene) -> None:
    def metrics(period: int, keep_rate: float) -> Metrics:
        return replay(task(period=period, static_keep_rate=keep_rate), kitti_scene).metrics

    assert metrics(4, 0.3).tokens > metrics(8, 0.3).tokens > metrics(16, 0.3).tokens
    assert metrics(8, 0.5).gmacs > metrics(8, 0.3).gmacs > metrics(8, 0.1).gmacs
