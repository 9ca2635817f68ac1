"""Architectures with other patches than 16 plan, train and run like those that come with maskvd."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import read_metadata, read_tensors, save
from maskvd_cli.families.vitdet.archs import ARCHS
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.store.runs import runs_below
from maskvd_cli.training.folder import TrainingFolder
from maskvd_cli.training.load import load_training
from maskvd_cli.training.runner import run_training
from maskvd_cli.training.setup import Training, prepare

from .trainings import TINY, write_kitti, write_recipe

SWEEP = """\
schema: 1
name: patches
dataset: {{name: kitti, root: kitti, split: train}}
model: {{name: tiny-patch, input: {size}, frame: {size}{weights}}}
methods:
  - {{name: dense}}
  - {{name: maskvd, period: 2, static_keep_rate: 0.5}}
  - {{name: eventful, r: 8}}
metrics: {metrics}
limit: {{clips: 1, frames: 3}}
"""
# The sizes are multiples of the patch, and those of the frames are the same.
SIZES = {8: "64x96", 14: "70x98"}


class Quiet:
    def begins(self, training: Training, step: int) -> None: ...

    def computed(self, done: int, videos: int) -> None: ...
    def stepped(self, step: int) -> None: ...

    def logged(self, entry: dict[str, Any]) -> None: ...


@pytest.fixture(params=[8, 14])
def patch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    size: int = request.param
    grid = Size(5, 7)
    arch = replace(
        TINY, name="tiny-patch", patch=size, position_table=grid, relative_table=Size(5, 7)
    )
    monkeypatch.setitem(ARCHS, arch.name, arch)
    return size


def swept(folder: Path, patch: int, weights: str, metrics: str) -> dict[str, Any]:
    (folder / "sweep.yaml").write_text(
        SWEEP.format(size=SIZES[patch], weights=weights, metrics=metrics)
    )
    results = folder / f"results{len(weights)}"
    words = ["sweep", str(folder / "sweep.yaml"), "--results", str(results)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    (run,) = runs_below(results / "patches")
    points = {point.method: run.point(point.key) for point in run.plan().points}
    return {"run": run, "points": points, "said": done.output}


def test_another_patch_plans_trains_and_sweeps(patch: int, tmp_path: Path) -> None:
    write_kitti(tmp_path / "kitti", frames=4)
    planned = swept(tmp_path, patch, "", "null")["points"]
    rows, cols = (int(side) for side in SIZES[patch].split("x"))
    tokens = rows // patch * (cols // patch)
    assert planned["dense"].metrics.tokens == tokens
    assert tokens / 3 < planned["maskvd"].metrics.tokens < tokens

    changes = {"name: tiny\n  input: 64x96\n  frame: 64x96":
               f"name: tiny-patch\n  input: {SIZES[patch]}\n  frame: {SIZES[patch]}"}  # fmt: skip
    recipe = write_recipe(tmp_path, changes)
    words = ["schedule.length=1", "schedule.warmup=0", "evaluation.limit=2", "batch=1", "ema=0"]
    training = prepare(load_training(recipe, words), resolve_device("cpu"))
    run_training(training, TrainingFolder(tmp_path / "out"), Quiet())
    file = tmp_path / "out" / "tiny.safetensors"
    stated = json.loads(read_metadata(file)["heads"])["strides"]
    assert stated == [patch / 4 * 2**level for level in range(5)]

    made = swept(tmp_path, patch, f", weights: {file}", "[accuracy]")
    assert made["points"]["dense"].metrics.tokens == tokens
    assert "anchors" not in made["said"]
    bare = tmp_path / "bare.safetensors"
    save(bare, read_tensors(file), {"classes": read_metadata(file)["classes"]})
    told = swept(tmp_path, patch, f", weights: {bare}", "[accuracy]")
    assert "Weights bare.safetensors do not say their anchors" in told["said"]


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"heads": "[]"}, "metadata heads is []"),
        ({"heads": "[" * 100_000}, "metadata heads is no JSON"),
        ({"heads": '{"strides": [4, 8, 16, 32, 64]}'}, "metadata heads.strides is (4, 8"),
        ({"classes": '["car"]'}, "metadata classes names 1, the tensors have 3"),
        ({"classes": "3"}, "metadata classes is 3, expected a list of names"),
    ],
    ids=["list", "deep", "strides", "count", "number"],
)
def test_a_sweep_refuses_metadata_that_are_not_so(
    metadata: dict[str, str], said: str, patch: int, tmp_path: Path
) -> None:
    from maskvd_cli.families.vitdet.detector import Detector
    from maskvd_cli.families.vitdet.head_arch import HeadArch

    write_kitti(tmp_path / "kitti", frames=2)
    arch = ARCHS["tiny-patch"]
    heads = HeadArch.for_patch(patch, classes=3, channels=8, hidden=8)
    file = tmp_path / "w.safetensors"
    save(file, Detector(arch, heads, Size.parse(SIZES[patch])).state_dict(), metadata)
    size = SIZES[patch]
    (tmp_path / "sweep.yaml").write_text(
        SWEEP.format(size=size, weights=f", weights: {file}", metrics="[accuracy]")
    )
    words = ["sweep", str(tmp_path / "sweep.yaml"), "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    errors = [line for line in done.output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {file}: {said}")
