"""`maskvd watch` from the command line, beside files that appear while it looks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskvd_cli.app import app

from ..compare import compared_runs as made

FAST = "maskvd period=16"
STARTED = ("plan.json", "recipe.yaml", "environment.json", "truth.json.gz")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_measured(tmp_path_factory.mktemp("whole") / "w", made.Spec()).folder


def begin(whole: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in STARTED[1:]:
        shutil.copyfile(whole / name, folder / name)
    shutil.copyfile(whole / STARTED[0], folder / "plan.part")
    (folder / "plan.part").rename(folder / STARTED[0])


def results_of(whole: Path) -> list[Path]:
    found = [*whole.glob("points/*.json"), *whole.glob("measured/*/*.json")]
    return [path.relative_to(whole) for path in found]


def feed(whole: Path, folder: Path) -> None:
    """Add one result after the other, each by a rename, as a sweep does."""
    for name in results_of(whole):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole / name, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
        time.sleep(0.02)


def watching(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "maskvd_cli", "watch", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_a_finished_run_is_told_at_once(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    done = CliRunner().invoke(app, ["watch", str(whole)])
    assert done.exit_code == 0
    assert "points 3/3 · accuracy 3/3 · memory 3/3 · latency 3/3" in done.stdout
    assert "all 3 points are done" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_each_result_is_a_line_as_it_appears(whole: Path, tmp_path: Path) -> None:
    begin(whole, tmp_path / "run")
    watcher = watching(tmp_path / "run", "--interval", 0.1)
    assert watcher.stdout is not None
    head = [watcher.stdout.readline() for _ in range(4)]
    assert "points 0/3" in head[1]
    feed(whole, tmp_path / "run")
    out, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, err
    lines = out.splitlines()
    assert len(lines) == len(results_of(whole)) == 12
    assert lines[-1].startswith("12/12")
    assert sum(f"latency   {FAST}: " in line for line in lines) == 1


def test_events_are_json_lines_also_of_a_run_that_begins_later(whole: Path, tmp_path: Path) -> None:
    watcher = watching(tmp_path / "results", "--wait", "--json", "--interval", 0.1)
    assert watcher.stderr is not None
    assert watcher.stderr.readline().startswith("waiting for a run in")
    begin(whole, tmp_path / "results" / "compared" / "r1")
    assert watcher.stdout is not None
    first = json.loads(watcher.stdout.readline())
    assert (first["event"], first["done"], first["total"]) == ("start", 0, 12)
    worker = threading.Thread(target=feed, args=(whole, tmp_path / "results/compared/r1"))
    worker.start()
    out, err = watcher.communicate(timeout=60)
    worker.join()
    assert watcher.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events[:-1]].count("point") == 3
    assert [event["pass"] for event in events[:-1]].count("latency") == 3
    assert (events[-1]["event"], events[-1]["done"]) == ("end", 12)


def test_failed_points_give_3(tmp_path: Path) -> None:
    run = made.write_measured(tmp_path / "run", made.Spec(failing=(FAST,)))
    done = CliRunner().invoke(app, ["watch", str(run.folder)])
    assert done.exit_code == 3
    assert f"failed: point {FAST}: [it] broke" in done.stderr


def test_ctrl_c_ends_the_watching_alone(whole: Path, tmp_path: Path) -> None:
    begin(whole, tmp_path / "run")
    watcher = watching(tmp_path / "run", "--interval", 0.1)
    assert watcher.stdout is not None
    watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 130
    assert err.strip() == "interrupted"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(STARTED)


def test_without_a_run_there_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["watch", str(tmp_path)])
    assert done.exit_code == 2
    assert "no run here yet" in done.stderr


def test_a_sweep_starts_while_it_is_watched(whole: Path, tmp_path: Path) -> None:
    from maskvd_cli.store.runs import Run

    begin(whole, tmp_path / "run")
    watcher = watching(tmp_path / "run", "--interval", 0.1)
    assert watcher.stdout is not None
    watcher.stdout.readline()
    try:
        for _ in range(200):
            with Run(tmp_path / "run").lock():
                pass
    finally:
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=60)
