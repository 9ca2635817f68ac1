"""Instance masks run end to end: outputs, scores, costs, intervals, and reports."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.size import Size
from maskvd_cli.data import silhouettes
from maskvd_cli.families.checkpoints import save
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.head_costs import mask_head_macs, mask_stages_of
from maskvd_cli.families.vitdet.mask_detector import MaskDetector
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.runs import Run
from maskvd_cli.tasks.silhouette_arrays import unpacked
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import prepare, run_sweep

from ..data.youtube_set import SIZE, write_youtube_vis

HEADS = HeadArch(classes=2, channels=8, hidden=16, post_nms=24, detections=9)
RECIPE = """\
schema: 1
name: masked
dataset: {{name: youtube-vis, root: {root}, split: valid}}
heatmap: {{split: valid}}
model: {{name: vitdet-ti-global-mask, input: 64x96, frame: 64x96, weights: w.safetensors}}
methods:
  - name: dense
  - name: maskvd
    period: 2
    mask: static
    static_keep_rate: [1.0, 0.2]
metrics: [accuracy, latency]
latency: {{rounds: 2, frames: 4, warmup: 2}}
device: cpu
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked")
    write_youtube_vis(folder / "set", "valid", 3)
    model = MaskDetector(get_arch("vitdet-ti-global-mask"), HEADS, SIZE, seed=2)
    with torch.no_grad():
        model.mask_head.classes.weight.mul_(1000)
    facts = {"arch": "vitdet-ti-global-mask", "heads": json.dumps(asdict(HEADS))}
    save(folder / "w.safetensors", model.state_dict(), facts)
    (folder / "masked.yaml").write_text(RECIPE.format(root=folder / "set"))
    return folder / "masked.yaml"


@pytest.fixture(scope="module")
def run(recipe: Path) -> Run:
    made = Run(recipe.parent / "run")
    outcome = run_sweep(prepare(load_recipe(recipe, catalog())), made)
    assert not outcome.failed
    assert not outcome.unmeasured
    return made


def maskvd(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "220"})
    assert done.exit_code == 0, done.output
    return done.stdout


def rows_of(run: Run) -> dict[str, dict[str, str]]:
    rows = csv.DictReader(io.StringIO(maskvd("report", run.folder, "--format", "csv")))
    return {row["method"] + row.get("static_keep_rate", ""): row for row in rows}


def test_the_plan_names_the_task_and_its_headline(run: Run) -> None:
    plan = run.plan()
    assert plan.task == "instance-masks"
    assert plan.headline == "mask_ap50"


def test_truth_and_outputs_hold_silhouettes_without_pickles(run: Run) -> None:
    truth, facts = run.truth_arrays()
    assert facts["task"] == "instance-masks"
    assert truth["00000/silhouette_runs"].dtype == np.uint8
    outputs = run.piece(run.plan().points[0].key, 0).outputs
    made = unpacked(outputs, np.tile(outputs["silhouette_size"], (len(outputs["score"]), 1)))
    assert len(made) == len(outputs["score"]) > 0
    masks = silhouettes.decoded(made, SIZE)
    # What is pasted lies in its box, but for the pixels that its edge cuts.
    for mask, (x, y, width, height) in zip(masks, outputs["box"].tolist(), strict=True):
        mask[max(int(y) - 1, 0) : int(y + height) + 2, max(int(x) - 1, 0) : int(x + width) + 2] = 0
        assert not mask.any()


def test_every_point_has_its_scores_and_the_change_an_interval(run: Run) -> None:
    rows = rows_of(run)
    dense = rows["dense"]
    assert float(dense["mask_ap50"]) >= float(dense["mask_ap"]) >= 0
    assert float(dense["mask_ap50_change"]) == 0
    whole = rows["maskvd1.0"]
    assert whole["mask_ap50"] == dense["mask_ap50"], "all tokens kept: dense"
    assert "map50" not in dense
    assert "mask AP50" in maskvd("report", run.folder)
    assert "mAP50" not in maskvd("report", run.folder)
    assert "mask AP50" in maskvd("score", run.folder)
    assert maskvd("compare", run.folder, run.folder)


def test_the_cost_holds_the_masks_that_were_computed(run: Run) -> None:
    point = run.plan().points[0]
    around = run.piece(point.key, 0).arrays["around"]
    found = np.bincount(run.piece(point.key, 0).outputs["frame"], minlength=4)
    assert found.max() <= 9
    each = mask_head_macs(HEADS, 1)
    plain = around - found * each
    proposals = run.piece(point.key, 0).arrays["proposals"]
    assert len(set(plain[proposals == 24].tolist())) == 1


def test_planned_costs_are_those_at_the_most_masks(recipe: Path) -> None:
    assignments = ["model.weights=null", "metrics=null", "name=planned"]
    planned = Run(recipe.parent / "planned")
    assert not run_sweep(prepare(load_recipe(recipe, catalog(), assignments)), planned).failed
    row = rows_of(planned)["dense"]
    heads, grid = HeadArch.for_patch(16, classes=2), Size(4, 6)
    stages = mask_stages_of(get_arch("vitdet-ti-global-mask"), heads, grid)
    around = sum(stage.macs(None) for stage in stages if stage.macs is not None)
    assert float(row["gmacs_detector"]) == pytest.approx(float(row["gmacs"]) + around / 1e9)


@pytest.mark.skipif(find_spec("trackeval") is None, reason="TrackEval is not installed")
def test_track_ap_stands_on_the_same_outputs(recipe: Path, run: Run) -> None:
    words = ["metrics=[accuracy, track-ap]", "name=tracked"]
    made = Run(recipe.parent / "tracked")
    outcome = run_sweep(prepare(load_recipe(recipe, catalog(), words)), made)
    assert not outcome.failed
    assert not outcome.unmeasured
    rows = rows_of(made)
    dense = rows["dense"]
    assert 0 <= float(dense["track_ap"]) <= float(dense["track_ap50"])
    assert float(dense["track_ap_change"]) == 0
    assert rows["maskvd1.0"]["track_ap"] == dense["track_ap"]
    assert {row["mask_ap50"] for row in rows.values()} == {
        row["mask_ap50"] for row in rows_of(run).values()
    }
    assert "track AP" in maskvd("score", made.folder)
    assert "track AP" not in maskvd("score", run.folder)


def test_track_ap_of_a_task_without_tracks_is_told(tmp_path: Path) -> None:
    from .measured_runs import write_recipe

    path = write_recipe(tmp_path)
    words = ["metrics=[track-ap]", "limit={clips: 1, frames: 2}"]
    made = Run(tmp_path / "run")
    outcome = run_sweep(prepare(load_recipe(path, catalog(), words)), made)
    assert not outcome.failed
    reasons = {str(record.failure) for record in outcome.unmeasured}
    assert reasons
    assert all("objects of the task detection have no tracks" in reason for reason in reasons)
