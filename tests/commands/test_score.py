"""`maskvd score` and a measured `maskvd sweep` from the command line."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from maskvd_cli.core.errors import EXIT_BAD_INPUT, EXIT_POINTS_FAILED

_SUPPORT = Path(__file__).parents[1] / "work" / "measured_runs.py"


def support() -> Any:
    spec = importlib.util.spec_from_file_location("measured_runs_of_score", _SUPPORT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def maskvd(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "maskvd_cli", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    recipe = support().write_recipe(folder)
    done = maskvd(
        "sweep", recipe, "--results", "results", "--limit", 4, "--set",
        "metrics=[accuracy, latency]", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SUBSET (first 4 frames of each clip)" in done.stdout
    assert "mAP50" in done.stdout
    return folder


def test_score_needs_nothing_but_the_run(folder: Path) -> None:
    (folder / "kitti").rename(folder / "away")
    (folder / "tiny.safetensors").rename(folder / "away.safetensors")
    try:
        done = maskvd("score", "results", "--classes", "--ages", cwd=folder)
    finally:
        (folder / "away").rename(folder / "kitti")
        (folder / "away.safetensors").rename(folder / "tiny.safetensors")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pedestrian") == 3
    assert "2 to 3 frames after a full one" in done.stdout
    assert "3 points scored" in done.stderr


def test_changed_predictions_are_told(folder: Path) -> None:
    path = sorted(folder.glob("results/*/*/predictions/maskvd*.json.gz"))[0]
    before = path.read_bytes()
    content = json.loads(gzip.decompress(before))
    truth = json.loads(gzip.decompress((path.parents[1] / "truth.json.gz").read_bytes()))
    content["results"] = [
        {**{name: row[name] for name in ("image_id", "category_id", "bbox")}, "score": 1.0}
        for row in truth["annotations"]
    ]
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    try:
        done = maskvd("score", "results", cwd=folder)
    finally:
        path.write_bytes(before)
    assert done.returncode == EXIT_POINTS_FAILED
    assert "100.00" in done.stdout
    assert "1 of 3 points differ" in done.stderr


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", gzip.compress(b'{"results": 3}')])
def test_damaged_predictions_are_one_line(folder: Path, content: bytes) -> None:
    path = sorted(folder.glob("results/*/*/predictions/dense*.json.gz"))[0]
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        done = maskvd("score", "results", cwd=folder)
    finally:
        path.write_bytes(before)
    assert done.returncode == EXIT_BAD_INPUT
    assert "damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_without_predictions_says_what_to_do(folder: Path) -> None:
    made = maskvd(
        "sweep", "measured.yaml", "--results", "other", "--smoke", "--quiet", "--set",
        "metrics=[memory]", "--set", "detections=labels", cwd=folder,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    done = maskvd("score", "other", cwd=folder)
    assert done.returncode == EXIT_BAD_INPUT
    assert "holds no predictions; sweep with model.weights" in done.stderr
