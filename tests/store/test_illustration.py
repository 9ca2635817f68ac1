"""What a run keeps for pictures: it comes back, and a changed value in it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.illustration import (
    HEATMAP,
    ILLUSTRATION,
    ILLUSTRATION_VERSION,
    Illustration,
    ShownFrame,
    ShownMask,
    StoredHeatmap,
    read_heatmap,
    read_illustration,
    write_heatmap,
    write_illustration,
)
from maskvd_cli.store.runs import NewerResultError, Run

GRID = (2, 3)
SHOWN: dict[str, Any] = {
    "key": "a", "label": "maskvd", "static_keep_rate": 0.5, "content": "30x48", "input": "32x48",
    "patch": 16,
}  # fmt: skip
FRAME = {
    "clip": "0000", "frame": 3, "position": 3, "period": 4, "score_threshold": 0.5, "margin": 0,
    "boxes_from": "labels", "no_image": None,
}  # fmt: skip
MASK = np.array([[True, False, True], [False, True, False]])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    scores = np.arange(6.0).reshape(GRID)
    made = StoredHeatmap(np.ones((32, 48)), scores, MASK, ShownMask(**SHOWN), {"sha256": "x"})
    write_heatmap(run, made)
    picture = Illustration(
        np.full((30, 48, 3), 7, np.uint8), np.array([[1.0, 2.0, 3.0, 4.0]]), MASK, ~MASK,
        MASK | ~MASK, ShownFrame(**SHOWN, **FRAME),
    )  # fmt: skip
    write_illustration(run, picture)
    return run


def changed(path: Path, change: dict[str, Callable[[Any], Any]]) -> None:
    """Write the arrays of a file anew, some of them changed, so that no archive is damaged."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: np.asarray(file[name]) for name in file.files}
    changed = {name: change.get(name, np.asarray)(array) for name, array in arrays.items()}
    np.savez_compressed(path, **changed)  # pyright: ignore[reportArgumentType]


def text_with(old: str, new: str) -> Callable[[Any], Any]:
    def change(text: Any) -> Any:
        assert old in str(text)
        return np.array(str(text).replace(old, new, 1))

    return change


def test_both_come_back(run: Run) -> None:
    heatmap, picture = read_heatmap(run), read_illustration(run)
    assert heatmap is not None
    assert picture is not None
    assert heatmap.counts.sum() == 32 * 48
    assert heatmap.made_from == {"sha256": "x"}
    assert (heatmap.static == MASK).all()
    assert (picture.image == 7).all()
    assert picture.boxes.tolist() == [[1, 2, 3, 4]]
    assert picture.shown.frame == 3


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (HEATMAP, {"heatmap": lambda a: a + 1}),
        (HEATMAP, {"scores": lambda a: a + 1}),
        (HEATMAP, {"mask": lambda a: ~a}),
        (HEATMAP, {"metadata": text_with('"static_keep_rate": 0.5', '"static_keep_rate": 0.6')}),
        (ILLUSTRATION, {"image": lambda a: a + 1}),
        (ILLUSTRATION, {"boxes": lambda a: a + 1}),
        (ILLUSTRATION, {"dynamic": lambda a: ~a}),
        (ILLUSTRATION, {"combined": lambda a: ~a}),
        (ILLUSTRATION, {"metadata": text_with('"frame": 3', '"frame": 4')}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_changed_value_is_told(
    file: str, change: dict[str, Callable[[Any], Any]], run: Run
) -> None:
    changed(run.folder / file, change)
    with pytest.raises(ResultError, match="does not fit: something was changed"):
        read_heatmap(run) if file == HEATMAP else read_illustration(run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": np.zeros((30, 48), np.uint8)}, "image is no rows x columns x 3"),
        ({"image": np.zeros((30, 48, 3))}, "image is no rows x columns x 3"),
        ({"boxes": np.zeros((1, 3))}, "boxes are no n x 4"),
        ({"boxes": np.zeros((1, 4), np.float32)}, "boxes are no n x 4"),
        ({"boxes": np.full((1, 4), np.nan)}, "a corner that is no number"),
        ({"static": np.zeros((3, 2), bool)}, "array static does not lie on the 2x3 tokens"),
        ({"dynamic": np.zeros(GRID)}, "array dynamic does not lie on the 2x3 tokens"),
        ({"shown": {"content": "30"}}, "content"),
        ({"shown": {"input": "0x0"}}, "input"),
        ({"shown": {"patch": 0}}, "patch"),
    ],
    ids=str,
)
def test_illustrations_that_cannot_be(change: dict[str, Any], said: str, run: Run) -> None:
    whole = read_illustration(run)
    assert whole is not None
    if shown := change.get("shown"):
        change = {"shown": whole.shown.model_copy(update=shown)}
    write_illustration(run, replace(whole, **change))
    with pytest.raises(ResultError, match=rf"damaged result file \(.*{said}"):
        read_illustration(run)


def test_heatmaps_that_cannot_be(run: Run) -> None:
    whole = read_heatmap(run)
    assert whole is not None
    for scores, said in (
        (np.full(GRID, np.nan), "array scores holds what is no number"),
        (np.zeros((3, 2)), "array scores does not lie"),
    ):
        write_heatmap(run, replace(whole, scores=scores))
        with pytest.raises(ResultError, match=said):
            read_heatmap(run)


def test_newer_files_are_no_damage(run: Run) -> None:
    whole = read_illustration(run)
    assert whole is not None
    newer = whole.shown.model_copy(update={"version": ILLUSTRATION_VERSION + 1})
    write_illustration(run, replace(whole, shown=newer))
    with pytest.raises(NewerResultError, match="upgrade maskvd"):
        read_illustration(run)


@pytest.mark.parametrize("file", [HEATMAP, ILLUSTRATION])
def test_pickled_objects_are_never_read(file: str, run: Run) -> None:
    content: dict[str, Any] = {"metadata": np.array([{}], dtype=object)}
    np.savez(run.folder / file, heatmap=np.ones((2, 2)), **content)
    with pytest.raises(ResultError, match="Object arrays cannot be loaded"):
        read_heatmap(run) if file == HEATMAP else read_illustration(run)


def test_files_of_before_have_no_checksum(run: Run) -> None:
    def without(text: Any) -> Any:
        content = json.loads(str(text))
        del content["sealed"]
        return np.array(json.dumps(content))

    for file in (HEATMAP, ILLUSTRATION):
        changed(run.folder / file, {"metadata": without})
    test_both_come_back(run)
