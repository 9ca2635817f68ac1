"""What `maskvd validate` says, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.data.synthetic import write_labels


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MASKVD_KITTI", raising=False)
    write_labels(tmp_path / "kitti", clips=1, frames=2, seed=1)
    return tmp_path / "kitti"


def test_another_dataset_may_be_named(labels: Path) -> None:
    done = run("validate", "maskvd-grid", "--dataset", "kitti", "--root", labels, "--json")
    assert done.exit_code == 0, done.output
    parts = {part["part"]: part["found"] for part in json.loads(done.stdout)}
    assert "kitti val-half, maskvd-paper: 1 clip, 1 frame in" in parts["dataset"]
    assert f"maskvd sweep maskvd-grid --dataset kitti --root {labels}" in done.stderr
    done = run("validate", "maskvd-grid", "--dataset", "kity", "--root", labels)
    assert done.exit_code == 2
    assert "did you mean 'kitti'" in done.stderr


def test_images_of_another_size_are_not_called_missing(labels: Path) -> None:
    folder = labels / "training/image_02/0000"
    folder.mkdir(parents=True)
    for number, size in enumerate([(60, 40), (30, 20)]):
        Image.fromarray(np.zeros((size[1], size[0], 3), dtype=np.uint8)).save(
            folder / f"{number:06d}.png"
        )
    done = run(
        "validate", "compute-kitti", "--root", labels, "--set", "dataset.pixels=images",
        "--set", "device=cpu",
    )  # fmt: skip
    assert done.exit_code == 2
    (line,) = [line for line in done.stdout.splitlines() if line.strip().startswith("images  ")]
    assert "missing" not in line
    assert "problem" in line
    assert "image is 20x30 (rows x columns), 000000.png says 40x60" in " ".join(done.stdout.split())


def test_the_demo_of_labels_says_how_to_draw_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "drawn"
    recipe = run("validate", "demo-labels", "--root", root)
    assert recipe.exit_code == 2
    told = " ".join(recipe.stdout.split())
    command = f"maskvd synth -o {root} --clips 10 --frames 120 --no-images"
    assert command in told
    assert run(*command.split()[1:]).exit_code == 0
    assert run("validate", "demo-labels", "--root", root).exit_code == 0
