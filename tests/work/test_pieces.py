"""A piece per clip: a kill costs one clip, and the parts make the whole to the last digit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskvd_cli.store.piece import WHOLE
from maskvd_cli.store.runs import Run, find_run

from . import measured_runs as made

CLIPS, FRAMES = 4, 4


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    root = made.write_kitti(folder / "kitti", clips=CLIPS, frames=FRAMES)
    weights = made.write_weights(folder / "tiny.safetensors")
    path = folder / "measured.yaml"
    path.write_text(made.RECIPE.format(root=root, weights=weights) + "metrics: [accuracy]\n")
    return path


def start(recipe: Path, results: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "maskvd_cli", "sweep", str(recipe), "--results", str(results), "-q"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A sweep that nothing stopped."""
    results = tmp_path_factory.mktemp("whole")
    finish(recipe, results)
    return find_run(results)


def finish(recipe: Path, results: Path) -> None:
    process = start(recipe, results)
    _, talk = process.communicate(timeout=200)
    assert process.returncode == 0, talk


def contents(run: Run) -> dict[str, Any]:
    """Return points without times and machine, samples, and the arrays of all pieces."""
    made: dict[str, Any] = {}
    for point in run.plan().points:
        record = run.point(point.key)
        assert record is not None
        made[point.key] = record.model_dump(include={"metrics", "status", "pieces"})
        made[f"{point.key} samples"] = run.samples(point.key).to_csv()
        for number in sorted(run.parts(point.key)):
            piece = run.piece(point.key, number)
            for name, array in piece.arrays.items():
                made[f"{point.key} {number} {name}"] = array.tobytes()
        accuracy = json.loads((run.folder / f"measured/accuracy/{point.key}.json").read_text())
        made[f"{point.key} scores"] = accuracy["values"]
    return made


def test_a_kill_in_the_middle_of_a_point_costs_one_clip(
    recipe: Path, whole: Run, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    process = start(recipe, broken)
    until = time.monotonic() + 120
    while len(list(broken.glob("*/*/pieces/*/*.npz"))) < 2:
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in broken.glob("*/*/pieces/*/*.npz")}
    assert 2 <= len(kept) < CLIPS * 3
    finish(recipe, broken)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(find_run(broken)) == contents(whole)


def test_detections_are_26_bytes_and_frames_a_few_numbers(whole: Run) -> None:
    piece = whole.piece(whole.plan().points[0].key, 0)
    assert sum(a.nbytes for a in piece.outputs.values()) == 26 * len(piece.outputs["score"])
    others = {name: a for name, a in piece.arrays.items() if not name.startswith("output.")}
    kept = others.pop("kept")
    assert (kept.dtype, len(kept)) == (np.uint8, FRAMES)
    assert (kept == WHOLE).all(), "dense computes every token in every layer"
    assert all(a.shape == (FRAMES,) for a in others.values())
    assert np.isfinite(piece.arrays["around"]).all()
