"""Run folders: what is written comes back, damage is told, one sweep writes at a time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.runs import Run, find_run, new_run_id, runs_below, utc_now
from maskvd_cli.store.schema import Failure, Metrics, Plan, PlannedPoint, PointRecord

KEY = "0123456789abcdef"
REALS = (
    "tokens", "keep_rate", "keep_rate_real", "full_frame_share", "gmacs", "gmacs_published",
    "gmacs_detector", "gmacs_published_at_mean_tokens",
)  # fmt: skip


def metrics(**changes: Any) -> Metrics:
    values: dict[str, Any] = {
        "clips": 3,
        "frames": 72,
        "tokens": 1 / 3,
        "keep_rate": 0.1,
        "keep_rate_real": 1,
        "full_frame_share": 0.0,
        "gmacs": 1e-300,
        "gmacs_published": 123456789.123456789,
        "gmacs_published_at_mean_tokens": 5.0,
        "cost_curve": (0.1, 0.2, 1e-9),
        "state_bytes": 10**15,
    }
    return Metrics(**(values | changes))


SETTING = {
    "dataset": {"name": "kitti", "split": "val-half", "protocol": "maskvd-paper", "more": 1},
    "model": {"name": "vitdet-b", "backbone": "windowed", "input": "672x672", "frame": "fit"},
    "heatmap": None,
    "seed": 0,
    "more": [1],
}


def record(key: str = KEY, **changes: Any) -> PointRecord:
    values: dict[str, Any] = {
        "key": key,
        "label": "maskvd period=8 ü",
        "status": "ok",
        "method": "maskvd",
        "revision": 1,
        "params": {"period": 8, "static_keep_rate": 0.1, "version": None, "sizes": [1, [2]]},
        "setting": SETTING,
        "environment": {"command": "maskvd sweep"},
        "metrics": metrics(),
        "failure": None,
        "finished": "2025-01-02T03:04:05Z",
        "seconds": 0.25,
        "tool_version": "0.1.0",
    }
    return PointRecord(**(values | changes))


def plan(*keys: str, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "recipe": "small",
        "description": "two words",
        "recipe_file": "small.yaml",
        "assignments": ["seed=1", "dataset.root=~/ü"],
        "created": utc_now(),
        "detections": "labels",
        "detections_reason": "the recipe says so",
        "notes": ["a note"],
        "points": [
            PlannedPoint(key=key, label=f"dense {key}", method="dense", params={}) for key in keys
        ],
        "tool_version": "0.1.0",
    }
    return Plan(**(values | changes))


def begun(folder: Path, *keys: str) -> Run:
    run = Run(folder)
    run.write_plan(plan(*keys), b"schema: 1\n", {"python": "3.11"})
    return run


def point_file(run: Run, key: str = KEY) -> Path:
    return run.folder / "points" / f"{key}.json"


def refused(run: Run, key: str = KEY) -> str:
    with pytest.raises(ResultError) as caught:
        run.point(key)
    text = str(caught.value)
    assert text.startswith(f"{point_file(run, key)}: ")
    assert "\n" not in text
    return text.removeprefix(f"{point_file(run, key)}: ")


@pytest.fixture
def stored(tmp_path: Path) -> Run:
    """A run with one whole point."""
    run = begun(tmp_path / "run", KEY)
    run.write_point(record(), None)
    return run


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_plan_comes_back(tmp_path: Path) -> None:
    run = Run(tmp_path / "results" / "small" / "run")
    written = plan("a", "b")
    recipe = b"# as it was\r\nschema:  1\n\xc3\xbc"
    environment = {"python": "3.11", "packages": {"torch": "2"}, "gpu": None}
    run.write_plan(written, recipe, environment)
    assert run.plan() == written
    assert run.environment() == environment
    assert (run.folder / "recipe.yaml").read_bytes() == recipe
    assert files(run.folder) == ["environment.json", "plan.json", "recipe.yaml"]


def test_a_point_comes_back_with_all_digits(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    written = record()
    assert not run.has(KEY)
    assert run.point(KEY) is None
    run.write_point(written, None)
    assert run.has(KEY)
    assert run.point(KEY) == written
    assert files(run.folder) == [f"points/{KEY}.json"]
    content = json.loads(point_file(run).read_text("utf-8"))
    assert content["schema"] == 5
    assert list(content)[-1] == "sha256"
    assert content["metrics"]["gmacs_detector"] is None


def test_a_failed_point_comes_back(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    failure = Failure(kind="ValueError", message="two\nlines", traceback="Traceback ...")
    written = record(status="failed", metrics=None, failure=failure)
    run.write_point(written, None)
    assert run.point(KEY) == written


def test_samples_lie_beside_the_points(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    samples = pd.DataFrame({"clip": ["a", "a", "b"], "frame": [0, 1, 0], "tokens": [9, 3, 9]})
    run.write_point(record(), samples)
    found = pd.read_parquet(run.folder / "samples" / f"{KEY}.parquet")
    pd.testing.assert_frame_equal(found, samples, check_dtype=False)
    assert files(run.folder) == [f"points/{KEY}.json", f"samples/{KEY}.parquet"]


def test_a_point_without_its_samples_is_not_written(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    (run.folder / "samples").touch()
    with pytest.raises(ResultError, match="cannot be written"):
        run.write_point(record(), pd.DataFrame({"tokens": [1]}))
    assert not run.has(KEY)


def test_a_point_is_replaced(stored: Run) -> None:
    stored.write_point(record(label="again"), None)
    found = stored.point(KEY)
    assert found is not None
    assert found.label == "again"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_metrics_are_numbers(number: float) -> None:
    for name in REALS:
        with pytest.raises(ValidationError, match="finite number"):
            metrics(**{name: number})
    with pytest.raises(ValidationError, match="finite number"):
        metrics(cost_curve=(0.1, number, 0.2))
    with pytest.raises(ValidationError, match="finite number"):
        record(seconds=number)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 1.5},
        {"frames": "1"},
        {"frames": True},
        {"frames": None},
        {"tokens": "1"},
        {"tokens": None},
        {"cost_curve": (1.0, 2.0)},
        {"cost": 1.0},
    ],
)
def test_metrics_are_strict(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        metrics(**changes)


@pytest.mark.parametrize("status", ["OK", "done", None])
def test_a_point_is_ok_or_failed(status: object) -> None:
    with pytest.raises(ValidationError):
        record(status=status)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged result file (Expecting value"),
        (b"{", "damaged result file (Expecting property name"),
        (b"\0\0\0\0", "damaged result file ("),
        (b"[]", "damaged result file (no JSON object)"),
        (b"5", "damaged result file (no JSON object)"),
        (b"null", "damaged result file (no JSON object)"),
        (b'"text"', "damaged result file (no JSON object)"),
        (b"{}", "damaged result file (key: Field required)"),
        (b'{"key": "\xff"}', "damaged result file ('utf-8' codec"),
        (b"[" * 100_000, "damaged result file (maximum recursion depth"),
        (b'{"key": ' + b"1" * 5_000 + b"}", "damaged result file (Exceeds the limit"),
        (b"{'key': 1}", "damaged result file (Expecting property name"),
    ],
)
def test_files_that_are_no_records(content: bytes, reason: str, stored: Run) -> None:
    point_file(stored).write_bytes(content)
    text = refused(stored)
    assert text.startswith(reason)
    assert text.endswith("; remove it and sweep again")
    assert stored.has(KEY)


@pytest.mark.parametrize("kept", [1, 10, 100, -2])
def test_truncated_files(kept: int, stored: Run) -> None:
    path = point_file(stored)
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(stored).startswith("damaged result file (")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"revision": 1', '"revision": "1"', "revision: Input should be a valid integer"),
        ('"revision": 1', '"revision": 1.5', "revision: Input should be a valid integer"),
        ('"frames": 72', '"frames": true', "metrics.frames: Input should be a valid integer"),
        ('"frames": 72', '"frames": null', "metrics.frames: Input should be a valid integer"),
        ('"frames": 72', '"frame": 72', "metrics.frames: Field required"),
        ('"status": "ok"', '"status": "fine"', "status: Input should be 'ok' or 'failed'"),
        ('"revision": 1', '"revision": 1, "more": 2', "more: Extra inputs are not permitted"),
        ('"clips": 3', '"clips": 3, "more": 2', "metrics.more: Extra inputs are not permitted"),
        ('"keep_rate": 0.1', '"keep_rate": NaN', "NaN is no finite number"),
        ('"keep_rate": 0.1', '"keep_rate": -Infinity', "-Infinity is no finite number"),
        ('"period": 8', '"period": NaN', "NaN is no finite number"),
        ('"keep_rate": 0.1', '"keep_rate": 1e999', "1e999 is no finite number"),
        ('"revision": 1', '"revision": 1, "revision": 1', "a key stands twice"),
        ('"period": 8', '"period": 8, "period": 8', "a key stands twice"),
        ('"schema": 5', '"schema": 0', "schema: Input should be 1, 2, 3, 4 or 5"),
        ('"schema": 5', '"schema": "3"', "schema: Input should be 1, 2, 3, 4 or 5"),
        ('"schema": 5', '"schema": "6"', "schema: Input should be 1, 2, 3, 4 or 5"),
    ],
)
def test_damaged_values(old: str, new: str, reason: str, stored: Run) -> None:
    path = point_file(stored)
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    assert refused(stored).startswith(f"damaged result file ({reason}")


def test_a_newer_version_is_no_damage(stored: Run) -> None:
    path = point_file(stored)
    content = json.loads(path.read_text("utf-8")) | {"schema": 6, "news": [1]}
    path.write_text(json.dumps(content), "utf-8")
    assert refused(stored) == (
        "written by a newer maskvd (schema 6, this one reads 5); upgrade maskvd"
    )  # fmt: skip


def test_files_of_schema_1_are_still_read(stored: Run) -> None:
    path = point_file(stored)
    content = json.loads(path.read_text("utf-8")) | {"schema": 1}
    del content["metrics"]["gmacs_detector"], content["files"], content["sha256"]
    path.write_text(json.dumps(content), "utf-8")
    found = stored.point(KEY)
    assert found is not None
    assert found.metrics == metrics()
    path = stored.folder / "plan.json"
    content = json.loads(path.read_text("utf-8")) | {"schema": 1}
    del content["sha256"]
    for point in content["points"]:
        del point["input"], point["named"]
    path.write_text(json.dumps(content), "utf-8")
    assert [(point.input, point.named) for point in stored.plan().points] == [(None, [])]


@pytest.mark.parametrize(
    "name", ["keep_rate_real", "gmacs_detector", "gmacs_published_at_mean_tokens", "cost_curve"]
)
def test_what_some_methods_do_not_have_may_be_none(name: str, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.write_point(record(metrics=metrics(**{name: None})), None)
    found = run.point(KEY)
    assert found is not None
    assert found.metrics is not None
    assert getattr(found.metrics, name) is None


def test_files_above_16_mebibytes(stored: Run) -> None:
    path = point_file(stored)
    size = len(path.read_bytes())
    with path.open("ab") as file:
        file.write(b" " * ((16 << 20) - size))
    assert stored.point(KEY) == record()
    with path.open("ab") as file:
        file.write(b" ")
    assert refused(stored).startswith("damaged result file (larger than 16 MiB)")


def test_what_could_not_be_read_again_is_not_written(stored: Run) -> None:
    before = point_file(stored).read_bytes()
    long = record().model_copy(update={"environment": {"command": "x" * (16 << 20)}})
    with pytest.raises(ResultError, match=r"larger than 16 MiB.*split the recipe"):
        stored.write_point(long, None)
    assert point_file(stored).read_bytes() == before


def test_a_point_under_the_name_of_another(stored: Run) -> None:
    point_file(stored).rename(point_file(stored, "other"))
    assert refused(stored, "other") == f"holds the point {KEY}; remove it and sweep again"


def test_links_and_folders_are_no_points(stored: Run) -> None:
    point_file(stored).rename(stored.folder / "elsewhere.json")
    point_file(stored).symlink_to(stored.folder / "elsewhere.json")
    point_file(stored, "folder").mkdir()
    point_file(stored, "gone").symlink_to(stored.folder / "gone.json")
    for key in (KEY, "folder", "gone"):
        assert stored.point(key) is None
        assert not stored.has(key)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"recipe": NaN}', b"{}", b"\xff"],
)
def test_damaged_plans(content: bytes, stored: Run) -> None:
    path = stored.folder / "plan.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=rf"^{re.escape(str(path))}: damaged result file \("):
        stored.plan()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1, "a": 2}', b'{"a": 1e999}'])
def test_damaged_environments(content: bytes, stored: Run) -> None:
    path = stored.folder / "environment.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=rf"^{re.escape(str(path))}: damaged result file \("):
        stored.environment()


def test_a_newer_plan(stored: Run) -> None:
    path = stored.folder / "plan.json"
    path.write_text(path.read_text("utf-8").replace('"schema": 5', '"schema": 12'), "utf-8")
    with pytest.raises(ResultError, match=r"schema 12, this one reads 5\); upgrade maskvd"):
        stored.plan()


def test_an_environment_is_json(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_plan(plan(), b"", {"load": float("nan")})


def test_reading_writes_nothing(stored: Run, tmp_path: Path) -> None:
    before = files(tmp_path)
    assert find_run(tmp_path).plan() == stored.plan()
    assert stored.environment()
    assert (stored.point(KEY), stored.point("absent")) == (record(), None)
    assert not Run(tmp_path / "absent").has(KEY)
    assert files(tmp_path) == before
    assert not (tmp_path / "absent").exists()


def test_a_run_is_found_by_its_folder_its_recipes_and_the_results(tmp_path: Path) -> None:
    results = tmp_path / "results"
    old = begun(results / "b" / "20250101T000000Z-ffffff")
    new = begun(results / "a" / "20250102T000000Z-000000")
    begun(results / "a" / "20241231T000000Z-aaaaaa")
    assert find_run(old.folder) == old
    assert find_run(results / "a") == new
    assert find_run(results / "b") == old
    assert find_run(results) == new


def test_the_newest_is_so_by_its_name(tmp_path: Path) -> None:
    names = ["20250102T000000Z-a", "20250101T000000Z-b", "20250103T000000Z-c"]
    runs = [begun(tmp_path / "small" / name) for name in names]
    for age, run in enumerate(runs):
        os.utime(run.folder, (age, age))
    os.utime(runs[0].folder / "plan.json", (10**10, 10**10))
    assert [run.folder.name for run in runs_below(tmp_path / "small")] == sorted(names)
    assert [run.folder.name for run in runs_below(tmp_path)] == sorted(names)
    assert find_run(tmp_path) == runs[2]


def test_folders_without_a_plan_are_no_runs(tmp_path: Path) -> None:
    run = begun(tmp_path / "small" / "20250101T000000Z-a")
    (tmp_path / "small" / "20250102T000000Z-b").mkdir()
    linked = tmp_path / "small" / "20250103T000000Z-c"
    linked.mkdir()
    (linked / "plan.json").symlink_to(run.folder / "plan.json")
    begun(tmp_path / "small" / "deep" / "er" / "20250104T000000Z-d")
    assert find_run(tmp_path) == run


@pytest.mark.parametrize("place", ["absent", "file", "file/below", "x" * 300])
def test_no_such_folder(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / place
    with pytest.raises(ResultError, match="no such folder") as caught:
        find_run(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert not (tmp_path / "absent").exists()


def test_no_run_yet(tmp_path: Path) -> None:
    (tmp_path / "small" / "run").mkdir(parents=True)
    with pytest.raises(ResultError, match="no run here yet; make one with `maskvd sweep`"):
        find_run(tmp_path)
    assert runs_below(tmp_path) == []
    assert runs_below(tmp_path / "absent") == []


def test_run_names_sort_by_time_and_are_not_given_twice() -> None:
    names = {new_run_id() for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}", name) for name in names)
    assert re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z", utc_now())


HOLDER = """
import sys
from pathlib import Path
from maskvd_cli.store.runs import Run
with Run(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_sweep_writes_at_a_time(tmp_path: Path) -> None:
    run = Run(tmp_path / "small" / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(ResultError, match="another sweep is writing here") as caught:
                run.lock().__enter__()
            assert str(caught.value).startswith(f"{run.folder}: ")
            with Run(tmp_path / "small" / "other").lock():
                pass
        finally:
            holder.kill()
    with run.lock():
        pass


def test_a_lock_is_free_again_after_use(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with run.lock(), pytest.raises(ResultError, match="another sweep is writing here"):
        run.lock().__enter__()
    with run.lock():
        pass
    assert runs_below(tmp_path) == []


def test_a_folder_that_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    for folder in (tmp_path / "file" / "run", tmp_path / "file", tmp_path / "run"):
        with pytest.raises(ResultError, match="cannot be written") as caught:
            Run(folder).lock().__enter__()
        assert str(caught.value).startswith(f"{folder}: ")


@pytest.mark.parametrize("with_samples", [True, False])
def test_finished_points_are_copied_byte_for_byte(with_samples: bool, tmp_path: Path) -> None:
    source, run = begun(tmp_path / "a", KEY), begun(tmp_path / "b", KEY)
    samples = pd.DataFrame({"tokens": [1, 2]})
    source.write_point(record(), samples if with_samples else None)
    spaced = json.dumps(json.loads(point_file(source).read_text("utf-8")), indent=7).encode()
    point_file(source).write_bytes(spaced + b"\n\n")
    found = source.point(KEY)
    assert found is not None
    run.adopt(found, source)
    assert run.point(KEY) == found
    assert point_file(run).read_bytes() == spaced + b"\n\n"
    parts = [Path("samples") / f"{KEY}.parquet"] if with_samples else []
    for part in parts:
        assert (run.folder / part).read_bytes() == (source.folder / part).read_bytes()
    assert (run.folder / "samples").exists() is with_samples
    assert point_file(source).read_bytes() == spaced + b"\n\n"


def test_an_adopted_point_is_a_file_of_its_own(stored: Run, tmp_path: Path) -> None:
    run = begun(tmp_path / "other", KEY)
    run.adopt(record(), stored)
    stored.write_point(record(label="again"), None)
    assert run.point(KEY) == record()


@pytest.mark.parametrize("name", ["plan.json", "environment.json"])
def test_what_a_killed_sweep_has_not_written_is_called_missing(name: str, stored: Run) -> None:
    path = stored.folder / name
    path.unlink()
    with pytest.raises(ResultError, match=r"is missing; .*; sweep again"):
        stored.plan() if name == "plan.json" else stored.environment()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"setting": {}}, "(setting.dataset: Field required)"),
        (
            {"setting": SETTING | {"dataset": "kitti"}},
            "(setting.dataset: Input should be an object)",
        ),
        ({"setting": SETTING | {"seed": "0"}}, "(setting.seed: Input should be a valid integer)"),
        ({"metrics": None}, "result file (a point has metrics where it is ok"),
        ({"status": "failed"}, "result file (a point has metrics where it is ok"),
    ],
)
def test_points_that_no_report_could_show(
    changes: dict[str, Any], reason: str, stored: Run
) -> None:
    path = point_file(stored)
    content = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps(content), "utf-8")
    assert reason in refused(stored)


@pytest.mark.parametrize("name", ["frames", "tokens", "state_bytes"])
def test_numbers_beyond_all_bounds(name: str, stored: Run) -> None:
    path = point_file(stored)
    content = json.loads(path.read_text("utf-8"))
    content["metrics"][name] = 10**19
    path.write_text(json.dumps(content), "utf-8")
    assert f"metrics.{name}: Input should be less than or equal to" in refused(stored)
