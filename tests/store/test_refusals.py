"""Each check by which the store refuses a file: one test that fails where the check is left out."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store import illustration, locking, places
from maskvd_cli.store.atomic import remove_leftovers
from maskvd_cli.store.earlier_outputs import check_fit, checked_predictions, checked_truth
from maskvd_cli.store.illustration import HEATMAP, ILLUSTRATION, read_heatmap, read_illustration
from maskvd_cli.store.locking import remove_unbegun
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.records import NewerResultError, read_gzip, read_named, read_table
from maskvd_cli.store.runs import Run, part_of
from maskvd_cli.store.sealed import sealed_text
from maskvd_cli.store.sessions import open_session, open_sessions

from .test_adopting import latency
from .test_runs import KEY, begun, plan, record

Change = Callable[[dict[str, Any]], object]
HUGE = (1 << 32) + 1


def sealed_anew(path: Path, change: Change) -> None:
    """Change a JSON result file and seal it again."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_bytes(sealed_text(content))


def sparse(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)
    return path


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".hidden", "", "a\nb", "x" * 201])
@pytest.mark.parametrize(
    "place",
    [
        places.point, places.samples, places.predictions, places.pieces,
        lambda name: places.piece(name, 0), lambda name: places.measured("latency", name),
        lambda name: places.measured(name, KEY), lambda name: places.session(name, "latency"),
        lambda name: places.session("abc", name),
    ],
)  # fmt: skip
def test_a_name_is_never_joined_as_a_path(place: Callable[[str], Path], name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a file"):
        place(name)


@pytest.mark.parametrize(
    ("read", "size", "said"),
    [
        (read_table, (1 << 30) + 1, "larger than 1 GiB"),
        (lambda path: read_gzip(path, dict), HUGE, "larger than 4 GiB"),
        (lambda path: read_named(path, None), HUGE, "larger than 4 GiB"),
    ],
)
def test_files_larger_than_a_result_are_not_read(
    read: Callable[[Path], object], size: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ResultError, match=said):
        read(sparse(tmp_path / "file", size))


def test_pictures_larger_than_one_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")
    for name, read in ((HEATMAP, read_heatmap), (ILLUSTRATION, read_illustration)):
        sparse(run.folder / name, (1 << 31) + 1)
        with pytest.raises(ResultError, match="larger than 2 GiB"):
            read(run)
    np.savez(run.folder / ILLUSTRATION, boxes=np.zeros((0, 4)), metadata=np.array("{}"))
    monkeypatch.setattr(illustration, "_MOST_BYTES", 100)
    with pytest.raises(ResultError, match="more than 64 MiB when unpacked"):
        read_illustration(run)


@pytest.mark.parametrize("changed", ["samples", "predictions"])
def test_files_that_a_point_names_are_those(changed: str, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", KEY)
    run.write_point(record(), pd.DataFrame({"tokens": [9.0]}), {"frames": [], "results": []})
    point = run.point(KEY)
    assert point is not None
    assert run.is_whole(point)
    if changed == "samples":
        pd.DataFrame({"tokens": [8.0]}).to_parquet(run.folder / places.samples(KEY))
    else:
        other = sealed_text({"frames": [{"image_id": 1, "age": 0}], "results": []})
        (run.folder / places.predictions(KEY)).write_bytes(gzip.compress(other))
    assert not run.is_whole(point)
    with pytest.raises(ResultError, match="the checksum does not fit"):
        run.samples(KEY) if changed == "samples" else run.predictions(KEY)
    with pytest.raises(ResultError, match="the checksum does not fit"):
        begun(tmp_path / "other", KEY).adopt(point, run)


def test_a_changed_truth_of_before_is_told_though_its_values_could_be(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    run.write_truth({"images": [], "annotations": [], "categories": [{"id": 1, "name": "car"}]})
    path = run.folder / "truth.json.gz"
    text = gzip.decompress(path.read_bytes()).replace(b'"car"', b'"cat"')
    path.write_bytes(gzip.compress(text))
    with pytest.raises(ResultError, match="the checksum does not fit"):
        run.truth()


def test_samples_that_a_record_names_are_those(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", KEY)
    run.write_session("abc", pd.DataFrame({"series": ["dense"], "total_ms": [5.0]}))
    run.write_measured(latency())
    stored = run.measured("latency", KEY)
    assert stored is not None
    run.write_session("abc", pd.DataFrame({"series": ["dense"], "total_ms": [6.0]}))
    with pytest.raises(ResultError, match="the checksum does not fit"):
        run.session("abc", stored)
    other = begun(tmp_path / "other", KEY)
    with pytest.raises(ResultError, match="the checksum does not fit"):
        other.adopt_measured(stored, run)
    assert other.measured("latency", KEY) is None


def test_pieces_and_records_of_another_point_are_refused(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", KEY, "other")
    run.write_piece(Piece("other", part_of(0)))
    os.renames(run.folder / places.pieces("other"), run.folder / places.pieces(KEY))
    with pytest.raises(ResultError, match="holds 00000 of other"):
        run.piece(KEY, 0)
    run.write_piece(Piece(KEY, part_of(1)))
    (run.folder / places.piece(KEY, 1)).rename(run.folder / places.piece(KEY, 0))
    with pytest.raises(ResultError, match=f"holds 00001 of {KEY}"):
        run.piece(KEY, 0)
    run.write_measured(latency())
    source = run.folder / places.measured("latency", KEY)
    for of, key in (("latency", "other"), ("memory", KEY)):
        target = run.folder / places.measured(of, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        with pytest.raises(ResultError, match=f"holds latency of {KEY}"):
            run.measured(of, key)


def test_pieces_are_told_by_their_whole_name(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", KEY)
    run.write_piece(Piece(KEY, part_of(3)))
    folder = run.folder / places.pieces(KEY)
    for name in ("00001.npz.bak", "0.npz", "a00002.npz", "00004", "00005.npzx"):
        (folder / name).touch()
    assert run.parts(KEY) == {3}


def measured_anew(run: Run, change: Change) -> None:
    run.write_session("abc", pd.DataFrame({"series": ["dense"], "total_ms": [5.0]}))
    run.write_measured(latency())
    sealed_anew(run.folder / places.measured("latency", KEY), change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(status="failed", failure={"kind": "X", "message": "y"}),
         "failed and holds values"),
        (lambda c: c.update(failure={"kind": "X", "message": "y"}), "only there"),
        (lambda c: c["details"].update(session="../up"), "details.session: is no name"),
        (lambda c: c["details"].update(session=5), "details.session: Input should be a valid"),
        (lambda c: c.update(of="../up"), "of: String should match pattern"),
        (lambda c: c["values"]["speedup"].update(value=0.0), "is not above zero"),
        (lambda c: c["values"]["speedup"].update(value=1e19), "less than or equal"),
        (lambda c: c["values"]["speedup"].update(value="1"), "valid number"),
        (lambda c: c["details"]["parts"].clear(), "parts"),
        (lambda c: c.update(files={"a": "0"}), "String should match pattern"),
        (lambda c: c.update(key="../up"), "key: Value error, is no name"),
        (lambda c: c.update(estimator=-1), "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_records_that_cannot_be(change: Change, said: str, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", KEY)
    measured_anew(run, change)
    with pytest.raises(ResultError, match=rf"damaged result file \(.*{said}"):
        run.measured("latency", KEY)


def test_a_newer_record_is_no_damage(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", KEY)
    measured_anew(run, lambda content: content.update(schema=6))
    with pytest.raises(NewerResultError, match="upgrade maskvd"):
        run.measured("latency", KEY)


MEASURE = {"metrics": ["latency"], "latency": {"rounds": 3}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(measure={**MEASURE, "metrics": ["../../up"]}), "is no name of a file"),
        (lambda c: c.update(measure={**MEASURE, "metrics": [".hidden"]}), "is no name of a file"),
        (lambda c: c.update(measure={**MEASURE, "metrics": "latency"}), "no list of names"),
        (lambda c: c.update(measure={**MEASURE, "metrics": [1]}), "no list of names"),
        (lambda c: c.update(measure={**MEASURE, "latency": {"rounds": "3"}}), "valid integer"),
        (lambda c: c.update(measure={**MEASURE, "latency": {"rounds": -3}}), "greater than"),
        (lambda c: c.update(created="2025-01-01T00:00:00"), "is no time with its zone"),
        (lambda c: c.update(created="yesterday"), "created"),
        (lambda c: c["points"].append(c["points"][0]), "a key stands twice"),
        (lambda c: c["points"][0].update(key="../up"), "is no name of a file"),
    ],
)
def test_plans_that_cannot_be(change: Change, said: str, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.write_plan(plan(KEY, measure=MEASURE), b"", {})
    assert run.plan().measure == MEASURE
    sealed_anew(run.folder / "plan.json", change)
    with pytest.raises(ResultError, match=rf"damaged result file \(.*{said}"):
        run.plan()


@pytest.mark.parametrize("digest", ["0" * 63, "g" * 64, "0" * 65, 5])
def test_a_digest_is_one(digest: object) -> None:
    with pytest.raises(ValidationError):
        record(files={"samples/a.parquet": digest})


TRUTH: dict[str, Any] = {
    "images": [{"id": 1, "clip": "c", "frame": 0, "height": 9, "width": 9},
               {"id": 2, "clip": "c", "frame": 1, "height": 9, "width": 9}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "area": 4.0,
                     "bbox": [0.0, 0.0, 2.0, 2.0], "iscrowd": 0}],
    "categories": [{"id": 1, "name": "car"}],
}  # fmt: skip
PREDICTIONS: dict[str, Any] = {
    "frames": [{"image_id": 1, "age": 0}, {"image_id": 2, "age": 1}],
    "results": [{"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 2.0, 2.0], "score": 0.5}],
}


def copied(content: dict[str, Any], change: Change) -> dict[str, Any]:
    made = json.loads(json.dumps(content))
    change(made)
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t["images"][1].update(id=1), "images: an id stands twice"),
        (lambda t: t["annotations"].append(t["annotations"][0]), "annotations: an id stands"),
        (lambda t: t["categories"].append(t["categories"][0]), "categories: an id stands"),
        (lambda t: t["annotations"][0].update(image_id=3), "there is no image 3"),
        (lambda t: t["annotations"][0].update(category_id=3), "there is no class 3"),
        (lambda t: t["annotations"][0].update(bbox=[0.0, 0.0, 2.0]), "bbox"),
        (lambda t: t["annotations"][0].update(bbox=[0.0, 0.0, 2.0, 1e10]), "bbox"),
        (lambda t: t["annotations"][0].update(area=-1.0), "area"),
        (lambda t: t["annotations"][0].update(iscrowd=2), "iscrowd"),
        (lambda t: t["images"][0].update(height="9"), "height"),
    ],
)
def test_truths_that_cannot_be(change: Change, said: str) -> None:
    assert checked_truth(TRUTH) == TRUTH
    with pytest.raises(ValueError, match=said):
        checked_truth(copied(TRUTH, change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p["results"][0].update(score=1.5), "score"),
        (lambda p: p["results"][0].update(score="1"), "score"),
        (lambda p: p["results"][0].update(bbox=[-1e10, 0.0, 2.0, 2.0]), "bbox"),
        (lambda p: p["results"][0].update(image_id=3), "there is no image 3"),
        (lambda p: p["results"][0].update(category_id=3), "there is no class 3"),
        (lambda p: p["frames"].pop(), "frames are not those of the truth"),
        (lambda p: p["frames"][0].update(image_id=3), "frames are not those of the truth"),
        (lambda p: p["frames"].append(p["frames"][0]), "frames are not those of the truth"),
    ],
)
def test_predictions_that_cannot_be(change: Change, said: str) -> None:
    check_fit(TRUTH, checked_predictions(PREDICTIONS))
    with pytest.raises(ValueError, match=said):
        check_fit(TRUTH, checked_predictions(copied(PREDICTIONS, change)))


def test_listed_truths_are_checked_as_they_are_read(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    run.write_truth(copied(TRUTH, lambda truth: truth["images"][1].update(id=1)))
    with pytest.raises(ResultError, match="an id stands twice"):
        run.truth()


def test_links_are_no_sessions(tmp_path: Path) -> None:
    session = open_session(tmp_path / "a", "latency", "abc")
    session.begin({})
    other = tmp_path / "b" / "measured" / "latency"
    other.mkdir(parents=True)
    (other / "session-abc").symlink_to(session.folder)
    assert open_sessions(tmp_path / "b", "latency") == []
    for name in ("../up", "a/b", ""):
        with pytest.raises(ValueError, match="is no name"):
            open_session(tmp_path, name, "abc")


def test_leftovers_that_are_links_go_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    link = tmp_path / "run" / ".maskvd-0123456789abcdef.part"
    link.parent.mkdir()
    link.symlink_to(kept)
    remove_leftovers(tmp_path / "run")
    assert not link.is_symlink()
    assert (kept / "file").exists()


def test_a_folder_that_is_begun_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").touch()
    told = iter([True, False])
    monkeypatch.setattr(locking, "_is_unbegun", lambda path: next(told))
    remove_unbegun([folder])
    assert folder.is_dir()
    assert next(told, None) is None


def test_what_a_link_names_is_never_removed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / ".lock").touch()
    link = tmp_path / "link"
    link.symlink_to(target)
    remove_unbegun([link])
    assert target.is_dir()
    assert link.is_symlink()


def test_every_measured_record_is_of_a_metric_with_a_name() -> None:
    content = json.loads(latency().model_dump_json(by_alias=True))
    for name in ("", "a/b", "Latency", "x" * 65, ".x"):
        with pytest.raises(ValidationError, match=re.escape("of")):
            MeasuredRecord.model_validate_json(json.dumps({**content, "of": name}))
