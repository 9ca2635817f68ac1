"""`maskvd score` and a measured `maskvd sweep` from the command line."""

from __future__ import annotations

import json
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.core.errors import EXIT_BAD_INPUT, EXIT_POINTS_FAILED
from maskvd_cli.metrics.accuracy import Accuracy
from maskvd_cli.store.piece import OUTPUT
from maskvd_cli.store.runs import find_run
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.tasks.stored import StoredTruth

from ..work import measured_runs


def maskvd(*arguments: object, cwd: Path) -> Result:
    with chdir(cwd):
        return CliRunner().invoke(app, [str(word) for word in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    recipe = measured_runs.write_recipe(folder)
    done = maskvd(
        "sweep", recipe, "--results", "results", "--limit", 4, "--set",
        "metrics=[accuracy, latency]", cwd=folder,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
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
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("pedestrian") == 3
    assert "2 to 3 frames after a full one" in done.stdout
    assert "3 points scored" in done.stderr


def test_changed_outputs_are_told(folder: Path) -> None:
    run = find_run(folder / "results")
    key = next(point.key for point in run.plan().points if point.method == "maskvd")
    before = {path: path.read_bytes() for path in (run.folder / "pieces" / key).iterdir()}
    for number, truth in enumerate(StoredTruth.of(run).arrays):
        piece = run.piece(key, number)
        found = ~truth["ignore"]
        outputs = {
            "frame": truth["frame"][found],
            "label": truth["label"][found],
            "box": truth["box"][found].astype(np.float32),
            "score": np.ones(int(found.sum()), dtype=np.float32),
        }
        arrays = {**piece.arrays, **{f"{OUTPUT}{name}": array for name, array in outputs.items()}}
        run.write_piece(replace(piece, arrays=arrays))
    try:
        done = maskvd("score", "results", cwd=folder)
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    assert done.exit_code == EXIT_POINTS_FAILED
    assert "100.00" in done.stdout
    assert "1 of 3 points differ" in done.stderr


@pytest.mark.parametrize("method", ["dense", "maskvd"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_damaged_outputs_are_one_line(folder: Path, method: str, content: bytes) -> None:
    path = sorted(folder.glob(f"results/*/*/pieces/{method}*/*.npz"))[0]
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        done = maskvd("score", "results", cwd=folder)
    finally:
        path.write_bytes(before)
    assert done.exit_code == EXIT_POINTS_FAILED
    assert f"{path.parent.name}/{path.name}: damaged result file" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_json_holds_values_changes_and_what_was_scored(folder: Path) -> None:
    rows = json.loads(maskvd("score", "results", "--json", cwd=folder).stdout)
    dense, masked = rows[:2]
    assert list(dense)[:4] == ["key", "label", "map50", "map"]
    assert dense["map50_change"] == {"value": 0.0, "low": None, "high": None}
    change = masked["map50_change"]
    assert change["value"] == pytest.approx(masked["map50"] - dense["map50"])
    assert set(Accuracy.details_of(Detection)) <= set(masked)


def test_a_run_without_predictions_says_what_to_do(folder: Path) -> None:
    made = maskvd(
        "sweep", "measured.yaml", "--results", "other", "--smoke", "--quiet", "--set",
        "metrics=[memory]", "--set", "detections=labels", cwd=folder,
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    done = maskvd("score", "other", cwd=folder)
    assert done.exit_code == EXIT_BAD_INPUT
    assert "holds no predictions; sweep with model.weights" in done.stderr
