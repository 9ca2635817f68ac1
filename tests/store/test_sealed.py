"""Checksums: one changed value is told, in whatever file it stands; older files need none."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.piece import OUTPUT, Piece
from maskvd_cli.store.runs import Run, part_of
from maskvd_cli.store.schema import PointRecord
from maskvd_cli.store.sealed import read_object, sealed, sealed_text, unsealed

from .test_runs import KEY, begun, point_file, record

CHANGED = "the checksum does not fit: something was changed"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with every kind of file that has a checksum."""
    run = begun(tmp_path / "run", KEY)
    samples = pd.DataFrame({"tokens": [9.0, 3.0]})
    run.write_truth({"images": [], "annotations": [], "categories": []})
    run.write_point(record(), samples, {"frames": [], "results": []})
    run.write_measured(
        MeasuredRecord(
            key=KEY, of="memory", status="ok", protocol={"frames": 4}, environment={}, estimator=1,
            conditions={}, details={"measured_by": "cpu-allocations", "frames": 4},
            values={
                "peak_mib": StoredEstimate(value=12.5), "state_mb": StoredEstimate(value=0.5),
            },
            finished="2025-01-02T03:04:05Z", tool_version="0.1.0",
        )
    )  # fmt: skip
    return run


def read_all(run: Run) -> list[Any]:
    return [
        run.plan(), run.environment(), run.point(KEY), run.measured("memory", KEY), run.truth(),
        run.predictions(KEY), run.samples(KEY).to_dict(),
    ]  # fmt: skip


def test_a_sealed_object_comes_back_without_its_checksum() -> None:
    content = {"b": 1.5, "a": [1, {"c": "ü"}]}
    made = sealed(content)
    assert list(made) == ["b", "a", "sha256"]
    assert unsealed(made) == content
    assert unsealed(read_object(sealed_text(content).decode())) == content


@pytest.mark.parametrize("indent", [None, 0, 7])
def test_spaces_and_the_order_of_keys_do_not_matter(indent: int | None) -> None:
    made = sealed({"b": 1, "a": 2.0, "c": {"z": None, "y": "ü"}})
    text = json.dumps(dict(reversed(made.items())), indent=indent)
    assert unsealed(read_object(text)) == {"b": 1, "a": 2.0, "c": {"z": None, "y": "ü"}}


@pytest.mark.parametrize(
    "change", [{"a": 2}, {"a": 1.0}, {"a": True}, {"b": 1}, {"sha256": "0" * 64}, {"sha256": 5}]
)
def test_a_change_is_told(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=CHANGED):
        unsealed(sealed({"a": 1}) | change)


def test_from_schema_5_on_a_checksum_is_needed() -> None:
    assert unsealed({"schema": 4}) == {"schema": 4}
    assert unsealed({"anything": 5}) == {"anything": 5}
    for number in (5, 6):
        with pytest.raises(ValueError, match="the checksum is missing"):
            unsealed({"schema": number})
    with pytest.raises(ValueError, match="the checksum is missing"):
        unsealed({"version": 2}, "version", 2)


@pytest.mark.parametrize(
    ("place", "old", "new"),
    [
        ("plan.json", "two words", "two sords"),
        ("environment.json", '"python": "3.11"', '"python": "3.12"'),
        (f"points/{KEY}.json", '"gmacs_published": 123456789.12345679', '"gmacs_published": 1.0'),
        (f"points/{KEY}.json", "kitti", "kitty"),
        (f"measured/memory/{KEY}.json", '"value": 12.5', '"value": 12.6'),
    ],
)
def test_one_value_changed_in_a_record(place: str, old: str, new: str, run: Run) -> None:
    assert read_all(run)
    path = run.folder / place
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ResultError, match=f"damaged result file .{CHANGED}") as caught:
        read_all(run)
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.exit_code == 3


def test_another_truth(run: Run) -> None:
    path = run.folder / "truth.json.gz"
    content = json.loads(gzip.decompress(path.read_bytes()))
    path.write_bytes(gzip.compress(json.dumps(content | {"images": [1]}).encode()))
    with pytest.raises(ResultError, match=CHANGED):
        run.truth()


def test_files_beside_a_point_are_named_by_it(run: Run) -> None:
    found = run.point(KEY)
    assert found is not None
    assert sorted(found.files) == [f"predictions/{KEY}.json.gz", f"samples/{KEY}.parquet"]
    assert run.is_whole(found)
    pd.DataFrame({"tokens": [9.0, 4.0]}).to_parquet(run.folder / f"samples/{KEY}.parquet")
    other = {"frames": [], "results": [], "schema": 4}
    (run.folder / f"predictions/{KEY}.json.gz").write_bytes(
        gzip.compress(json.dumps(other).encode())
    )
    for read in (run.samples, run.predictions):
        with pytest.raises(ResultError, match=CHANGED):
            read(KEY)
    assert not run.is_whole(found)
    with pytest.raises(ResultError, match=CHANGED):
        Run(run.folder.parent / "other").adopt(found, run)
    assert not (run.folder.parent / "other").exists()


def test_any_byte_of_any_file(run: Run) -> None:
    """A flipped bit is told, or changes nothing of what is read."""
    whole, drawn = read_all(run), random.Random(0)
    files = sorted(path for path in run.folder.rglob("*") if path.is_file())
    told = 0
    for _ in range(300):
        path = drawn.choice([file for file in files if file.name != "recipe.yaml"])
        content = path.read_bytes()
        at = drawn.randrange(len(content))
        changed = bytes([content[at] ^ (1 << drawn.randrange(8))])
        path.write_bytes(content[:at] + changed + content[at + 1 :])
        try:
            assert read_all(run) == whole, (path, at)
        except ResultError as error:
            told += 1
            assert str(error).startswith(f"{run.folder}{os.sep}")
            assert "\n" not in str(error)
        path.write_bytes(content)
    assert told > 250


def test_older_files_have_no_checksum(run: Run) -> None:
    for path in (run.folder / "plan.json", point_file(run)):
        content = json.loads(path.read_text("utf-8"))
        del content["sha256"]
        content.pop("files", None)
        path.write_text(json.dumps(content), "utf-8")
        with pytest.raises(ResultError, match="the checksum is missing"):
            run.plan() if path.name == "plan.json" else run.point(KEY)
        path.write_text(json.dumps(content | {"schema": 4}), "utf-8")
    assert run.plan().points
    found = run.point(KEY)
    assert found is not None
    assert found.files == {}
    assert run.predictions(KEY) == {"frames": [], "results": []}


@pytest.fixture
def traced(tmp_path: Path) -> Run:
    """A run with a point whose two clips are pieces."""
    run = begun(tmp_path / "traced", KEY)
    for number in range(2):
        run.write_piece(Piece(KEY, part_of(number), {"out/score": np.full(3, number / 2)}))
    run.write_point(record().model_copy(update={"pieces": 2}), pd.DataFrame({"tokens": [9.0]}))
    return run


def found(run: Run) -> PointRecord:
    point = run.point(KEY)
    assert point is not None
    return point


@pytest.mark.parametrize("damage", ["another", "cut", "none"])
def test_a_point_names_its_pieces(damage: str, traced: Run, tmp_path: Path) -> None:
    assert f"pieces/{KEY}" in found(traced).files
    assert traced.is_whole(found(traced))
    path = traced.folder / "pieces" / KEY / "00001.npz"
    if damage == "another":
        # Whole in itself, and of the right clip.
        traced.write_piece(Piece(KEY, part_of(1), {"out/score": np.full(3, 0.75)}))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    assert not traced.is_whole(found(traced))
    other = begun(tmp_path / "other", KEY)
    with pytest.raises(ResultError, match=r"a piece is missing or was changed|is missing"):
        other.adopt(found(traced), traced)
    assert not (other.has(KEY) or other.has_samples(KEY) or other.parts(KEY))


def test_pieces_of_before_need_no_sum(traced: Run) -> None:
    path = point_file(traced)
    content = json.loads(path.read_text("utf-8"))
    del content["files"][f"pieces/{KEY}"]
    path.write_bytes(sealed_text(content))
    assert traced.is_whole(found(traced))
    (traced.folder / "pieces" / KEY / "00000.npz").unlink()
    assert not traced.is_whole(found(traced))


def test_pieces_are_taken_over_with_their_point(traced: Run, tmp_path: Path) -> None:
    run = begun(tmp_path / "other", KEY)
    # Of a run that was killed: the same clip, which took another time.
    run.write_piece(Piece(KEY, part_of(1), {"out/score": np.full(3, 0.5)}, {"seconds": 1.0}))
    run.adopt(found(traced), traced)
    assert run.is_whole(found(run))
    for number in range(2):
        assert run.piece(KEY, number).facts == traced.piece(KEY, number).facts


def outputs_of(folder: Path, scores: list[float], seconds: float, tokens: float = 9.0) -> str:
    """Return the sha256 of the outputs of a point with a clip for each score."""
    run = begun(folder, KEY)
    for number, score in enumerate(scores):
        arrays = {f"{OUTPUT}score": np.full(3, score), "tokens": np.full(3, tokens)}
        run.write_piece(Piece(KEY, part_of(number), arrays, {"seconds": seconds}))
    count = len(scores)
    run.write_point(record().model_copy(update={"pieces": count}), pd.DataFrame({"tokens": [9.0]}))
    assert run.is_whole(found(run))
    outputs = found(run).outputs
    assert outputs is not None
    return outputs


def test_points_with_equal_outputs_say_so_whatever_time_they_took(tmp_path: Path) -> None:
    first = outputs_of(tmp_path / "a", [0.5, 0.25], seconds=1.0)
    assert outputs_of(tmp_path / "b", [0.5, 0.25], seconds=2.0, tokens=8.0) == first
    others = ([0.5, 0.26], [0.25, 0.5], [0.5], [0.5, 0.25, 0.25])
    digests = [outputs_of(tmp_path / str(n), each, 1.0) for n, each in enumerate(others)]
    assert len({first, *digests}) == 1 + len(others)


def test_a_damaged_piece_is_told_as_its_point_is_written(traced: Run) -> None:
    path = traced.folder / "pieces" / KEY / "00001.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ResultError, match=r"00001\.npz: damaged result file"):
        traced.write_point(record().model_copy(update={"pieces": 2}), None)
