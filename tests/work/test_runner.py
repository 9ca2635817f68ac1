"""Runs on disk: plan first, one file per point, resume, failures as rows, interruption."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from maskvd_cli.core.errors import DatasetError, RecipeError, ResultError, UsageError
from maskvd_cli.core.types import Clip
from maskvd_cli.data.synthetic import write_labels
from maskvd_cli.methods.base import ClipView, TokenTrace
from maskvd_cli.methods.dense import Dense
from maskvd_cli.methods.maskvd import MaskVD
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.runs import Run
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.executors.inline import Inline
from maskvd_cli.work.runner import Sweep, SweepOutcome, choose_run, plan_tasks, prepare, run_sweep
from maskvd_cli.work.unit import Lost, Unit

RECIPE = """\
schema: 1
name: small
dataset: {name: kitti, root: kitti}
model: {input: 192x352, frame: 185x336}
methods:
  - name: dense
  - name: maskvd
    period: [4, 8]
    static_keep_rate: [0.3, 0.1]
"""


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "kitti"
    write_labels(folder, clips=3, frames=24, seed=1)
    return folder


@pytest.fixture
def recipe_file(tmp_path: Path, labels: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.replace("root: kitti", f"root: {labels}"))
    return path


def prepared(path: Path, *assignments: str) -> Sweep:
    return prepare(load_recipe(path, catalog(), assignments))


def sweep_once(path: Path, results: Path, *assignments: str) -> SweepOutcome:
    sweep = prepared(path, *assignments)
    run, earlier = choose_run(sweep, results, fresh=False)
    return run_sweep(sweep, run, earlier)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_run_holds_plan_recipe_environment_points_and_samples(
    recipe_file: Path, tmp_path: Path
) -> None:
    outcome = sweep_once(recipe_file, tmp_path / "results")
    folder = outcome.run.folder
    assert folder.parent == tmp_path / "results" / "small"
    keys = [point.key for point in outcome.run.plan().points]
    assert len(keys) == 5
    expected = {"plan.json", "recipe.yaml", "environment.json"}
    expected |= {"heatmap.npz", "illustration.npz"}
    expected |= {f"points/{key}.json" for key in keys}
    expected |= {f"samples/{key}.parquet" for key in keys}
    assert set(contents(folder)) == expected
    assert (folder / "recipe.yaml").read_bytes() == recipe_file.read_bytes()
    samples = pd.read_parquet(folder / "samples" / f"{keys[1]}.parquet")
    assert len(samples) == 3 * 12
    record = outcome.run.point(keys[1])
    assert record is not None
    assert record.metrics is not None
    assert record.metrics.tokens == samples["tokens"].mean()
    environment = outcome.run.environment()
    assert environment["tool_version"] == record.tool_version
    assert environment["packages"]["torch"]


def test_the_plan_is_there_before_the_first_point(recipe_file: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    class Watching(Inline):
        def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
            (plan,) = (tmp_path / "results").glob("small/*/plan.json")
            seen.append(len(json.loads(plan.read_text())["points"]))
            yield from super().run(units)

    sweep = prepared(recipe_file)
    run, _ = choose_run(sweep, tmp_path / "results", fresh=False)
    run_sweep(sweep, run, executor=Watching(lambda loaded: sweep))
    assert seen == [5]


def test_a_second_run_does_nothing(recipe_file: Path, tmp_path: Path) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    before = contents(first.run.folder)
    second = sweep_once(recipe_file, tmp_path / "results")
    assert second.run == first.run
    assert second.ran == []
    assert len(second.present) == 5
    assert contents(first.run.folder) == before


def test_missing_and_damaged_points_are_run_again_and_no_other(
    recipe_file: Path, tmp_path: Path
) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    keys = [record.key for record in first.ran]
    points = first.run.folder / "points"
    (points / f"{keys[0]}.json").unlink()
    (points / f"{keys[2]}.json").write_text('{"schema": 1, "key"')
    second = sweep_once(recipe_file, tmp_path / "results")
    assert [record.key for record in second.ran] == [keys[0], keys[2]]
    assert [record.metrics for record in second.ran] == [
        first.ran[0].metrics,
        first.ran[2].metrics,
    ]


def test_a_point_without_its_samples_is_run_again(recipe_file: Path, tmp_path: Path) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    key = first.ran[1].key
    samples = first.run.folder / "samples" / f"{key}.parquet"
    samples.unlink()
    assert [record.key for record in sweep_once(recipe_file, tmp_path / "results").ran] == [key]
    assert samples.is_file()


def test_a_newer_versions_point_is_never_replaced(recipe_file: Path, tmp_path: Path) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    path = first.run.folder / "points" / f"{first.ran[0].key}.json"
    path.write_text('{"schema": 99}')
    with pytest.raises(ResultError, match="written by a newer maskvd"):
        sweep_once(recipe_file, tmp_path / "results")
    assert path.read_text() == '{"schema": 99}'
    # A changed grid begins a run of its own and takes over what it can read.
    after = sweep_once(recipe_file, tmp_path / "results", "methods.maskvd.period=[2,4,8,16]")
    assert first.ran[0].key in {record.key for record in after.ran}


@pytest.mark.parametrize("name", ["recipe.yaml", "environment.json"])
def test_a_run_that_was_killed_before_it_began_is_completed(
    name: str, recipe_file: Path, tmp_path: Path
) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    before = contents(first.run.folder)
    (first.run.folder / name).unlink()
    second = sweep_once(recipe_file, tmp_path / "results")
    assert second.run == first.run
    assert second.ran == []
    assert set(contents(first.run.folder)) == set(before)


def test_a_changed_grid_makes_a_new_run_and_keeps_what_was_computed(
    recipe_file: Path, tmp_path: Path
) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    second = sweep_once(recipe_file, tmp_path / "results", "methods.maskvd.period=[8, 16]")
    assert second.run != first.run
    assert [record.params["period"] for record in second.ran] == [16, 16]
    shared = {record.key for record in second.present}
    for key in shared:
        name = f"points/{key}.json"
        assert (second.run.folder / name).read_bytes() == (first.run.folder / name).read_bytes()
        assert (second.run.folder / "samples" / f"{key}.parquet").is_file()


def test_fresh_takes_over_nothing(recipe_file: Path, tmp_path: Path) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    sweep = prepared(recipe_file)
    run, earlier = choose_run(sweep, tmp_path / "results", fresh=True)
    assert earlier == []
    assert run != first.run
    assert len(run_sweep(sweep, run, earlier).ran) == 5


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let dense raise like a bug and maskvd with a period of 4 like bad input."""
    plan = MaskVD.plan.__func__  # type: ignore[attr-defined]

    def planned(cls: type[MaskVD], params: Any, arch: Any, view: ClipView) -> TokenTrace:
        if params.period == 4:
            raise DatasetError("this one fails", remedy="nothing helps")
        return plan(cls, params, arch, view)

    def a_bug(cls: type[Dense], params: Any, arch: Any, view: ClipView) -> TokenTrace:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(MaskVD, "plan", classmethod(planned))
        patch.setattr(Dense, "plan", classmethod(a_bug))
        yield patch


@pytest.mark.usefixtures("failing")
def test_failed_points_are_stored_with_their_reason(recipe_file: Path, tmp_path: Path) -> None:
    sweep = prepared(recipe_file)
    run, _ = choose_run(sweep, tmp_path / "results", fresh=False)
    outcome = run_sweep(sweep, run)
    assert [record.status for record in outcome.ran] == ["failed"] * 3 + ["ok"] * 2
    bug, bad_input = outcome.ran[0].failure, outcome.ran[1].failure
    assert bug is not None
    assert bug.kind == "ZeroDivisionError"
    assert "a_bug" in str(bug.traceback)
    assert bad_input is not None
    assert bad_input.message == "this one fails; nothing helps"
    assert bad_input.traceback is None
    assert len(outcome.failed) == 3


def test_failed_points_stay_unless_asked_for(
    failing: pytest.MonkeyPatch, recipe_file: Path, tmp_path: Path
) -> None:
    sweep = prepared(recipe_file)
    run, _ = choose_run(sweep, tmp_path / "results", fresh=False)
    run_sweep(sweep, run)
    failing.undo()
    again = run_sweep(sweep, run)
    assert again.ran == []
    assert len(again.failed) == 3
    retried = run_sweep(sweep, run, retry_failed=True)
    assert [record.status for record in retried.ran] == ["ok"] * 3
    assert retried.failed == []


def test_failed_points_of_an_earlier_run_are_not_taken_over(
    failing: pytest.MonkeyPatch, recipe_file: Path, tmp_path: Path
) -> None:
    sweep = prepared(recipe_file)
    run, _ = choose_run(sweep, tmp_path / "results", fresh=False)
    run_sweep(sweep, run)
    failing.undo()
    wider = sweep_once(recipe_file, tmp_path / "results", "methods.maskvd.period=[4, 8, 16]")
    assert [record.params.get("period") for record in wider.ran] == [None, 4, 4, 16, 16]
    assert wider.failed == []


def test_keys_depend_on_what_decides_the_result_and_not_on_where_it_lies(
    recipe_file: Path, labels: Path, tmp_path: Path
) -> None:
    def keys(*assignments: str) -> list[str]:
        return [point.key for point in prepared(recipe_file, *assignments).points]

    base = keys()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "training").symlink_to(labels / "training")
    assert keys(f"dataset.root={moved}") == base
    assert keys("description=other words") == base
    for change in ("seed=1", "dataset.protocol=kitti-ignore", "model.frame=180x336"):
        assert not set(keys(change)) & set(base)
    # The heatmap decides nothing for dense.
    aligned = keys("heatmap.align=image")
    assert aligned[0] == base[0]
    assert not set(aligned[1:]) & set(base)


def test_spelling_out_defaults_or_reordering_changes_no_key(
    recipe_file: Path, tmp_path: Path
) -> None:
    text = recipe_file.read_text()
    other = tmp_path / "other.yaml"
    head = text[: text.index("  - name: maskvd")]
    other.write_text(
        f"{head}  - margin: 0\n    static_keep_rate: [0.3, 0.1]\n    version: C\n"
        "    period: [4, 8]\n    mask: combined\n    name: maskvd\n"
    )
    keys = {point.key for point in prepared(recipe_file).points}
    assert keys == {point.key for point in prepared(other).points}


INPUTS = "model.input=[192x352, 320x672]"


def test_a_list_of_inputs_runs_every_point_at_each(recipe_file: Path, tmp_path: Path) -> None:
    outcome = sweep_once(recipe_file, tmp_path / "results", INPUTS)
    records = outcome.ran
    assert len(records) == 10
    assert [record.setting["model"]["input"] for record in records] == (
        ["192x352"] * 5 + ["320x672"] * 5
    )
    planned = outcome.run.plan().points
    assert [point.input for point in planned] == ["192x352"] * 5 + ["320x672"] * 5
    assert planned[5].label == "dense input=320x672"
    assert planned[6].named == ["version", "period", "static_keep_rate"]
    for small, large in zip(records[:5], records[5:], strict=True):
        assert small.params == large.params
        assert small.metrics is not None
        assert large.metrics is not None
        assert large.metrics.gmacs > small.metrics.gmacs
        assert small.metrics.frames == large.metrics.frames


def test_inputs_share_what_is_read(
    recipe_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from maskvd_cli.data.kitti import Kitti

    read: list[str] = []
    clips = Kitti.clips

    def counting(self: Kitti) -> Iterator[Clip]:
        read.append(self.split)
        return clips(self)

    monkeypatch.setattr(Kitti, "clips", counting)
    sweep_once(recipe_file, tmp_path / "results", INPUTS)
    assert sorted(read) == ["train-half", "val-half"]


@pytest.mark.parametrize(
    ("size", "told"), [("200x352", "no multiple of the 16 x 16 patch"), ("96x96", "does not fit")]
)
def test_every_input_is_checked_before_anything_is_read(
    size: str, told: str, recipe_file: Path
) -> None:
    loaded = load_recipe(recipe_file, catalog(), [f"model.input=[192x352, {size}]"])
    with pytest.raises(UsageError, match=told):
        plan_tasks(loaded)


def test_one_more_input_recomputes_nothing(recipe_file: Path, tmp_path: Path) -> None:
    for first in ("192x352", "672x672"):
        results = tmp_path / first
        assert len(sweep_once(recipe_file, results, f"model.input={first}").ran) == 5
        wider = sweep_once(recipe_file, results, f"model.input=[{first}, 320x672]")
        assert {record.setting["model"]["input"] for record in wider.ran} == {"320x672"}
        assert len(wider.present) == 5


def test_a_name_tells_the_input_where_it_is_not_the_default(recipe_file: Path) -> None:
    sweep = prepared(recipe_file, "model.input=[672x672, 320x672]")
    labels = [point.label for point in sweep.points]
    assert labels[0] == "dense"
    assert labels[5] == "dense input=320x672"
    assert len({point.key for point in sweep.points}) == 10


def test_names_of_points_tell_what_differs_from_the_defaults(recipe_file: Path) -> None:
    entry = (
        "[{name: evit}, {name: evit, drop_blocks: [[2, 5]], fuse: true}, "
        "{name: maskvd+evit, drop_blocks: [[3, 6, 9]], margin: 4}]"
    )
    changes = (f"methods={entry}", "model.name=vitdet-b-global", "model.input=672x672")
    assert [point.label for point in prepared(recipe_file, *changes).points] == [
        "evit keep_rate=0.7",
        "evit keep_rate=0.7 drop_blocks=[2, 5] fuse=True",
        "maskvd+evit period=8 static_keep_rate=0.1 margin=4 keep_rate=0.7",
    ]


def test_a_static_keep_rate_of_zero_is_the_dynamic_mask(recipe_file: Path) -> None:
    sweep = prepared(recipe_file, "methods.maskvd.static_keep_rate=0", "methods.maskvd.period=4")
    assert sweep.points[1].params["mask"] == "dynamic"
    assert sweep.points[1].setting["heatmap"] is None
    with pytest.raises(RecipeError, match="the same point as"):
        prepared(recipe_file, 'methods=[{name: maskvd, mask: dynamic}, '
                              '{name: maskvd, static_keep_rate: 0}]')  # fmt: skip


def test_one_changed_label_changes_every_key(recipe_file: Path, tmp_path: Path) -> None:
    write_labels(tmp_path / "kitti", clips=3, frames=24, seed=1)
    base = {point.key for point in prepared(recipe_file, f"dataset.root={tmp_path}/kitti").points}
    assert base == {point.key for point in prepared(recipe_file).points}
    file = next((tmp_path / "kitti" / "training" / "label_02").glob("*.txt"))
    lines = file.read_text().splitlines()
    index = next(i for i, line in enumerate(lines) if int(line.split()[0]) >= 12)
    del lines[index]
    file.write_text("\n".join(lines) + "\n")
    changed = {
        point.key for point in prepared(recipe_file, f"dataset.root={tmp_path}/kitti").points
    }
    assert not base & changed


def test_results_never_go_into_the_datasets_folder(recipe_file: Path, labels: Path) -> None:
    sweep = prepared(recipe_file)
    with pytest.raises(ResultError, match="never writes to"):
        choose_run(sweep, labels / "results", fresh=False)


def test_two_sweeps_do_not_write_to_one_run(recipe_file: Path, tmp_path: Path) -> None:
    sweep = prepared(recipe_file)
    run, _ = choose_run(sweep, tmp_path / "results", fresh=False)

    class Intruding(Inline):
        def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
            with pytest.raises(ResultError, match="another sweep is writing here"):
                run_sweep(sweep, Run(run.folder))
            yield from super().run(units)

    assert len(run_sweep(sweep, run, executor=Intruding(lambda loaded: sweep)).ran) == 5


def start(recipe_file: Path, results: Path) -> subprocess.Popen[str]:
    periods = ", ".join(str(period) for period in range(1, 400))
    command = [
        sys.executable, "-m", "maskvd_cli", "sweep", str(recipe_file), "--results", str(results),
        "--set", f"methods.maskvd.period=[{periods}]",
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_points(results: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while len(list(results.glob("small/*/points/*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no points appeared"
        time.sleep(0.02)


def test_ctrl_c_leaves_a_valid_folder_and_says_how_to_go_on(
    recipe_file: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    process = start(recipe_file, results)
    wait_for_points(results, 3, process)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130
    (folder,) = results.glob("small/*")
    points = sorted(folder.glob("points/*.json"))
    assert f"interrupted: {len(points)} of 799 points are stored in {folder}" in talk
    assert "go on with: maskvd sweep" in talk
    records = [Run(folder).point(path.stem) for path in points]
    assert all(record is not None and record.status == "ok" for record in records)


def test_killed_sweeps_leave_only_whole_files(recipe_file: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for wanted in (1, 20, 60):
        process = start(recipe_file, results)
        wait_for_points(results, wanted, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        for path in results.glob("small/*/points/*.json"):
            record = Run(path.parents[1]).point(path.stem)
            assert record is not None
            assert record.status == "ok"
        assert len(list(results.glob("small/*"))) == 1


def test_the_next_sweep_removes_half_written_files(recipe_file: Path, tmp_path: Path) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    before = contents(first.run.folder)
    for place in (".", "points", "samples"):
        (first.run.folder / place / ".maskvd-0123456789abcdef.part").write_bytes(b"half")
    sweep_once(recipe_file, tmp_path / "results")
    assert contents(first.run.folder) == before


def test_a_finished_run_on_a_read_only_disk_is_no_error(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    (first.run.folder / "samples" / ".maskvd-0123456789abcdef.part").write_bytes(b"half")
    before = contents(first.run.folder)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("maskvd_cli.store.locking.FileLock.acquire", refuse)
    monkeypatch.setattr("os.replace", refuse)
    monkeypatch.setattr("os.access", lambda *_: False)
    again = sweep_once(recipe_file, tmp_path / "results")
    assert again.ran == []
    assert len(again.present) == len(first.ran)
    assert contents(first.run.folder) == before
    next((first.run.folder / "points").iterdir()).unlink()
    with pytest.raises(ResultError, match=r"cannot be written \(Read-only file system\)"):
        sweep_once(recipe_file, tmp_path / "results")


def test_the_next_sweep_removes_runs_that_never_began(recipe_file: Path, tmp_path: Path) -> None:
    abandoned = tmp_path / "results" / "small" / "20250101T000000Z-aaaaaa"
    abandoned.mkdir(parents=True)
    (abandoned / ".lock").touch()
    (abandoned / ".maskvd-0123456789abcdef.part").touch()
    run = sweep_once(recipe_file, tmp_path / "results").run
    assert [path.name for path in (tmp_path / "results" / "small").iterdir()] == [run.folder.name]


@pytest.mark.parametrize("folder", ["samples", "points"])
def test_a_changed_byte_is_run_again(folder: str, recipe_file: Path, tmp_path: Path) -> None:
    first = sweep_once(recipe_file, tmp_path / "results")
    path = sorted((first.run.folder / folder).iterdir())[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = sweep_once(recipe_file, tmp_path / "results")
    assert [record.key for record in again.ran] == [path.stem]
