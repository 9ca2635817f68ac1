"""Stored outputs: whether two points gave the same, without reading all of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.piece import OUTPUT, Piece
from maskvd_cli.store.runs import Run, part_of
from maskvd_cli.store.schema import Metrics, PointRecord
from maskvd_cli.store.sealed import sealed_text
from maskvd_cli.tasks.stored import StoredTruth, same_outputs

KEY, CLIPS = "dense-0123456789ab", 2
SETTING = {
    "dataset": {"name": "d", "split": "val", "protocol": "p"},
    "model": {"name": "m", "backbone": "windowed", "input": "64x64", "frame": "64x64"},
    "heatmap": None,
    "seed": 0,
}


def written(folder: Path, scores: tuple[float, float], seconds: float) -> StoredTruth:
    """Write a run of one point with a score a clip."""
    run = Run(folder)
    for number, score in enumerate(scores):
        arrays = {f"{OUTPUT}score": np.full(3, score), "is_full": np.ones(3, dtype=np.bool_)}
        run.write_piece(Piece(KEY, part_of(number), arrays, {"seconds": seconds}))
    metrics = Metrics(
        clips=CLIPS, frames=6, tokens=1.0, keep_rate=1.0, keep_rate_real=None,
        full_frame_share=1.0, gmacs=1.0, gmacs_published=None, state_bytes=0,
        gmacs_published_at_mean_tokens=None, cost_curve=None,
    )  # fmt: skip
    point = PointRecord(
        key=KEY, label="dense", status="ok", method="dense", revision=1, params={}, failure=None,
        setting=SETTING, environment={}, metrics=metrics, finished="2026-01-01T00:00:00Z",
        seconds=seconds, tool_version="0.1.0", pieces=CLIPS,
    )  # fmt: skip
    run.write_point(point, None)
    facts = {"task": "detection", "classes": ["a"], "clips": ["x", "y"], "videos": ["x", "y"]}
    run.write_truth_arrays({f"{part_of(n)}/index": np.arange(3) for n in range(CLIPS)}, facts)
    return StoredTruth.of(run)


def forget_outputs(run: Run) -> None:
    """Make a point what an earlier version wrote."""
    path = run.folder / "points" / f"{KEY}.json"
    content = json.loads(path.read_text("utf-8"))
    del content["outputs"]
    path.write_bytes(sealed_text(content))


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(("scores", "same"), [((0.5, 0.25), True), ((0.5, 0.26), False)])
def test_outputs_are_compared_to_the_last_digit(
    scores: tuple[float, float], same: bool, older: bool, tmp_path: Path
) -> None:
    first = written(tmp_path / "a", (0.5, 0.25), seconds=1.0)
    second = written(tmp_path / "b", scores, seconds=2.0)
    if older:
        forget_outputs(second.run)
    assert same_outputs(first, second, (KEY, KEY)) is same


def test_they_are_read_only_where_a_point_does_not_tell(tmp_path: Path) -> None:
    first = written(tmp_path / "a", (0.5, 0.25), seconds=1.0)
    second = written(tmp_path / "b", (0.5, 0.25), seconds=2.0)
    second.run.drop_pieces(KEY)
    assert same_outputs(first, second, (KEY, KEY))
    forget_outputs(second.run)
    with pytest.raises(ResultError, match="is missing"):
        same_outputs(first, second, (KEY, KEY))
