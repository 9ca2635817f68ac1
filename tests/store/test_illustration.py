"""What a run keeps for pictures: it comes back, and a changed value in it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.illustration import (
    HEATMAP,
    ILLUSTRATION,
    Illustration,
    ShownFrame,
    ShownMask,
    StoredHeatmap,
    read_heatmap,
    read_illustration,
    write_heatmap,
    write_illustration,
)
from maskvd_cli.store.runs import Run

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


def test_files_of_before_have_no_checksum(run: Run) -> None:
    def without(text: Any) -> Any:
        content = json.loads(str(text))
        del content["sealed"]
        return np.array(json.dumps(content))

    for file in (HEATMAP, ILLUSTRATION):
        changed(run.folder / file, {"metadata": without})
    test_both_come_back(run)
