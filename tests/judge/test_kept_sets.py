"""Which tokens points keep of the same frames, against sums over sets written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.kept_sets import kept_sets, spearman
from maskvd_cli.judge.rows import Report, read_report
from maskvd_cli.store.piece import KEPT, Piece
from maskvd_cli.store.runs import Run, part_of

from .measured_report import Measured, a_setting

TOKENS = 12
Sets = list[list[list[int]]]
# Of two clips the tokens of each frame; the first frame of each is full.
ALL = list(range(TOKENS))
LEFT: Sets = [[ALL, [0, 1, 2, 3], [0, 1]], [ALL, [4, 5, 6]]]
NEAR: Sets = [[ALL, [0, 1, 2, 7], [0, 1]], [ALL, [4, 5]]]
FAR: Sets = [[ALL, [8, 9], [10, 11]], [ALL, [0]]]
TRUTH: Sets = [[ALL, [0, 1, 2], [0, 1, 2]], [ALL, [4, 5, 6, 7]]]


def marked(sets: list[list[int]]) -> NDArray[np.uint8]:
    made = np.zeros((len(sets), TOKENS), dtype=np.uint8)
    for frame, tokens in enumerate(sets):
        made[frame, tokens] = 255
    return made


def jaccard(one: Sets, other: Sets) -> float:
    pairs = [
        (set(a), set(b))
        for clip, beside in zip(one, other, strict=True)
        for a, b in zip(clip, beside, strict=True)
        if len(a) < TOKENS and len(b) < TOKENS
    ]
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


def with_sets(run: Run, key: str, clips: list[NDArray[np.uint8]] | None) -> None:
    """Give a point pieces, with kept sets or without."""
    for number, kept in enumerate(clips or [np.zeros((1, TOKENS), np.uint8)] * 2):
        arrays = {"tokens": np.zeros(len(kept))} | ({KEPT: kept} if clips else {})
        run.write_piece(Piece(key, part_of(number), arrays, {}))
    record = run.point(key)
    assert record is not None
    run.write_point(record.model_copy(update={"pieces": 2}), None)


def report_of(folder: Path, sets: dict[str, Sets | None], change: dict[str, float]) -> Report:
    made = Measured().point("dense", "dense", map50=70.0, change=(0.0, None, None))
    for key in sets:
        method = "oracle" if key == "truth" else "maskvd"
        made.point(key, method, map50=70.0 + change[key], change=(change[key], None, None))
    run = made.run(folder / "run")
    for key, clips in {"dense": None, **sets}.items():
        with_sets(run, key, None if clips is None else [marked(clip) for clip in clips])
    return read_report(run)


def test_overlaps_are_means_over_frames_that_neither_computes_whole(tmp_path: Path) -> None:
    sets: dict[str, Sets | None] = {"left": LEFT, "near": NEAR, "far": FAR}
    found = kept_sets(report_of(tmp_path, sets, {"left": -1.0, "near": -2.0, "far": -9.0}))
    by_pair = {(one.first, one.second): one for one in found.overlaps}
    assert set(by_pair) == {("left", "near"), ("left", "far"), ("near", "far")}
    for (first, second), one in by_pair.items():
        known = {"left": LEFT, "near": NEAR, "far": FAR}
        assert one.overlap == pytest.approx(jaccard(known[first], known[second]))
        assert one.frames == 3
    pair = by_pair["left", "near"]
    # 4 and 4, 2 and 2, 3 and 2 of 12 tokens, drawn without knowledge of each other.
    shares = [(4 / 12, 4 / 12), (2 / 12, 2 / 12), (3 / 12, 2 / 12)]
    chance = sum(p * q / (p + q - p * q) for p, q in shares) / 3
    assert pair.chance == pytest.approx(chance)
    assert pair.beyond == pytest.approx((pair.overlap - chance) / (1 - chance))
    assert pair.change == pytest.approx(1.0)
    assert [one.beyond for one in found.overlaps] == sorted(
        (one.beyond for one in found.overlaps), reverse=True
    )
    # Three pairs are too few for a correlation.
    assert found.correlations == ()
    assert found.left_out == ()


def test_shares_of_layers_count_by_the_smaller_and_the_larger(tmp_path: Path) -> None:
    """One of four layers keeps token 0 in one point, three do in the other; token 1 likewise."""
    made = report_of(tmp_path, {"a": LEFT, "b": LEFT}, {"a": 0.0, "b": 0.0})
    for key, shares in {"a": (51, 153), "b": (153, 153)}.items():
        kept = np.zeros((1, TOKENS), dtype=np.uint8)
        kept[0, :2] = shares
        with_sets(made.run, key, [kept, kept])
    (one,) = kept_sets(made).overlaps
    assert one.overlap == pytest.approx((0.2 + 0.6) / (0.6 + 0.6))


def test_overlap_with_a_control_is_held_against_the_loss(tmp_path: Path) -> None:
    sets: dict[str, Sets | None] = {
        "truth": TRUTH, "left": LEFT, "near": NEAR, "far": FAR,
        "other": [[ALL, [3, 4, 5], [0]], [ALL, [1, 7]]],
    }  # fmt: skip
    change = {"truth": -0.5, "left": -1.0, "near": -2.0, "far": -9.0, "other": -6.0}
    found = kept_sets(report_of(tmp_path, sets, change))
    pairs, control = found.correlations
    assert (control.reference, control.points) == ("truth", 4)
    with_truth = {
        one.second if one.first == "truth" else one.first: one.beyond
        for one in found.overlaps
        if "truth" in (one.first, one.second)
    }
    names = sorted(with_truth)
    ranks = [sorted(with_truth.values()).index(with_truth[name]) for name in names]
    losses = [sorted(change[name] for name in names).index(change[name]) for name in names]
    assert control.rank == pytest.approx(np.corrcoef(ranks, losses)[0, 1])
    assert control.rank > 0.5
    assert (pairs.reference, pairs.points) == (None, 10)


def test_models_are_compared_each_by_itself(tmp_path: Path) -> None:
    made = Measured()
    for key, model in (("a", "vitdet-b"), ("b", "vitdet-b"), ("c", "vitdet-b-global")):
        made.point(key, map50=60.0, setting=a_setting(model))
    run = made.run(tmp_path / "run")
    for key in "abc":
        with_sets(run, key, [marked(clip) for clip in LEFT])
    (one,) = kept_sets(read_report(run)).overlaps
    assert one.overlap == 1.0
    assert "c" not in (one.first[0], one.second[0])


def test_points_without_sets_are_named_with_the_reason(tmp_path: Path) -> None:
    sets: dict[str, Sets | None] = {"left": LEFT, "near": NEAR, "older": None}
    found = kept_sets(report_of(tmp_path, sets, dict.fromkeys(sets, 0.0)))
    assert len(found.overlaps) == 1
    assert found.left_out == (
        "older: does not tell its tokens, or was run before they were stored",
    )
    made = report_of(tmp_path / "none", {"older": None, "left": LEFT}, {"older": 0.0, "left": 0.0})
    with pytest.raises(ResultError, match="has kept sets of no two points on one model; sweep"):
        kept_sets(made)


def test_ranks_correlate() -> None:
    assert spearman([1.0, 2.0, 3.0, 9.0], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(1.0)
    assert spearman([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)
    # Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3.
    assert spearman([1.0, 2.0, 2.0, 5.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(0.9486833)
    assert spearman([1.0, 1.0], [1.0, 2.0]) == 0.0


@pytest.mark.parametrize("kind", ["console", "markdown", "json", "html"])
def test_the_report_shows_them_where_asked_for(tmp_path: Path, kind: str) -> None:
    sets: dict[str, Sets | None] = {
        "truth": TRUTH, "left": LEFT, "near": NEAR, "far": FAR, "other": FAR, "older": None,
    }  # fmt: skip
    change = {"truth": -0.5, "left": -1.0, "near": -2.0, "far": -9.0, "other": -6.0, "older": -3.0}
    run = report_of(tmp_path, sets, change).run
    words = ["report", str(run.folder), "--format", kind]
    silent = CliRunner().invoke(app, words, env={"COLUMNS": "160"})
    assert "kept sets" not in silent.stdout.lower()
    done = CliRunner().invoke(app, [*words, "--kept-sets"], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    if kind == "json":
        content = json.loads(done.stdout)["kept_sets"]
        assert len(content["overlaps"]) == 10
        assert content["correlations"][1]["reference"] == "truth"
        assert json.loads(silent.stdout)["kept_sets"] is None
        return
    text = " ".join(done.stdout.split())
    assert "kept sets" in text.lower()
    assert "Overlap with truth and the change of mAP50: rank correlation +" in text
    assert "Left out: older: does not tell its tokens" in text


def test_runs_without_a_model_are_told_so(tmp_path: Path) -> None:
    run = Measured().point("a").point("b").run(tmp_path / "run", planned=True)
    done = CliRunner().invoke(app, ["report", str(run.folder), "--kept-sets"])
    assert done.exit_code == 2
    assert "has kept sets of no two points on one model" in done.stderr
