"""`maskvd sweep --executor process`: limits, what fails and is tried again, signals."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.data.synthetic import write_labels

from . import faulty

# Longer than a child takes to start on a machine that is busy.
SECONDS = "10"
# A shell lets what it starts in the background ignore Ctrl-C; a terminal does not.
START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from maskvd_cli.app import main; sys.argv[0] = 'maskvd'; main()"
)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", START, *map(str, arguments)]


def maskvd(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=200,
        env=faulty.variables(place),
    )  # fmt: skip


def here(*arguments: str | Path) -> Result:
    """Run a command in this process, which has imported what it needs."""
    return CliRunner().invoke(app, [str(word) for word in arguments])


def rows_of(run: Path) -> dict[str, dict[str, str]]:
    table = here("report", run, "--format", "csv").stdout
    return {row["label"]: row for row in csv.DictReader(io.StringIO(table))}


def test_points_that_hang_die_or_fill_the_memory_fail_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labels(tmp_path / "kitti", clips=2, frames=8, seed=1)
    faulty.install_here(tmp_path, monkeypatch)
    faults = ("fine", "hang", "killed", "hog", "last")
    recipe = faulty.write_recipe(tmp_path, tmp_path / "kitti", *faults)
    sweep = ("sweep", recipe, "--results", tmp_path / "results", "--executor", "process",
             "--unit-timeout", SECONDS, "--unit-memory", "1500")  # fmt: skip
    done = maskvd(tmp_path, *sweep)
    assert done.returncode == 3, done.stderr
    assert "3 of 7 points failed" in done.stderr
    (run,) = (tmp_path / "results" / "small").iterdir()
    rows = rows_of(run)
    errors = {label: row["error"] for label, row in rows.items() if row["status"] == "failed"}
    reasons = ["ran longer than 10 s (--unit-timeout)", "killed from outside", "more than 1500 MiB"]
    assert list(errors) == [f"faulty fault={fault} input=192x352" for fault in faults[1:4]]
    for reason, error in zip(reasons, errors.values(), strict=True):
        assert reason in error
    assert sum(row["status"] == "ok" for row in rows.values()) == 4
    assert not any(map(faulty.is_alive, pids(tmp_path)))
    # Failed points are kept until they are asked for again, and then only they run.
    assert here(*sweep).exit_code == 3
    log = tmp_path / "log"
    log.unlink()
    monkeypatch.setenv("FAULTY_MENDED", "yes")
    again = here(*sweep, "--retry-failed")
    assert again.exit_code == 0, again.stderr
    assert "3 points run, 4 were there" in again.stderr
    planned = [line.split() for line in log.read_text().splitlines()]
    assert {fault for _, fault in planned} == set(faults[1:4])
    # All in one process.
    assert len({process for process, _ in planned}) == 1
    assert {row["status"] for row in rows_of(run).values()} == {"ok"}


def pids(place: Path) -> list[int]:
    return [int(word) for word in (place / "pids").read_text().split()]


def started(process: subprocess.Popen[str], place: Path) -> list[int]:
    """Wait until a sweep's child hangs; return the ids of all that the sweep started."""
    until = time.monotonic() + 120
    while not ((place / "pids").exists() and len((place / "pids").read_text().split()) == 2):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    below = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    # The child, its guard, and what the method started.
    assert set(pids(place)) < set(below)
    return below


def gone(processes: list[int]) -> bool:
    """Tell whether processes end within a few seconds."""
    until = time.monotonic() + 10
    while any(map(faulty.is_alive, processes)):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_lives_on_where_the_sweep_ends(number: signal.Signals, tmp_path: Path) -> None:
    write_labels(tmp_path / "kitti", clips=2, frames=8, seed=1)
    faulty.install(tmp_path / "installed")
    recipe = faulty.write_recipe(tmp_path, tmp_path / "kitti", "hang")
    words = command("sweep", recipe, "--results", tmp_path / "results", "--executor", "process")
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=faulty.variables(tmp_path),
    )  # fmt: skip
    below: list[int] = []
    try:
        below = started(process, tmp_path)
        process.send_signal(number)
        _, talk = process.communicate(timeout=60)
        assert gone(below)
        assert not any(map(faulty.is_alive, below))
        assert process.returncode == (130 if number == signal.SIGINT else -number)
        if number == signal.SIGINT:
            assert "interrupted: 2 of 3 points are stored" in talk
    finally:
        process.kill()
        for one in filter(faulty.is_alive, below):
            psutil.Process(one).kill()
    (run,) = (tmp_path / "results" / "small").iterdir()
    assert len(list((run / "points").iterdir())) == 2
