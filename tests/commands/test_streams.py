"""Streams that are closed, full, dead or narrow in what they can show cost no work."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "demo"
MASKVD = f"{shlex.quote(sys.executable)} -m maskvd_cli"
# Two points, which are planned in an instant.
SWEEP = "sweep vid-table-c --set 'methods=[{name: dense}]'"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True, text=True, check=False, timeout=300, cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2]), **variables},
        errors="replace",
    )  # fmt: skip


@pytest.mark.parametrize(
    "streams",
    ["2>&1 | true", "<&- >&- 2>&-", "2>/dev/full"],
)
def test_a_sweep_ends_whatever_becomes_of_its_streams(streams: str, tmp_path: Path) -> None:
    done = shell(f"{MASKVD} {SWEEP} --results out {streams}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    runs = list((tmp_path / "out").glob("*/*/plan.json"))
    assert len(runs) == 1
    points = list((tmp_path / "out").glob("*/*/points/*.json"))
    assert points
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"points run" not in path.read_bytes()


def test_a_full_disk_for_a_table_is_an_error(tmp_path: Path) -> None:
    done = shell(f"{MASKVD} report {REFERENCE} > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write output (No space left on device)")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("streams", ["| true", ">&-"])
def test_a_table_that_nobody_reads_ends_quietly(streams: str, tmp_path: Path) -> None:
    done = shell(f"{MASKVD} report {REFERENCE} {streams}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_exit_code_of_the_work_is_kept(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "run")
    (path,) = (tmp_path / "run").glob("*/points/stgt-r-60-*.json")
    path.write_text("{}")
    done = shell(f"{MASKVD} report run 2>&1 | true", tmp_path)
    assert done.returncode == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_stream_cannot_show_is_replaced(encoding: str, tmp_path: Path) -> None:
    folder = tmp_path / "Straße 車"
    shutil.copytree(REFERENCE, folder)
    for command in ("report", "score", "watch"):
        word, *options = command.split()
        options = shlex.join(options)
        done = shell(
            f"{MASKVD} {word} {shlex.quote(folder.name)} {options}", tmp_path,
            PYTHONIOENCODING=encoding,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)
        assert "Traceback" not in done.stderr
    done = shell(
        f"{MASKVD} {SWEEP} --results {shlex.quote(folder.name)}", tmp_path,
        PYTHONIOENCODING=encoding,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = shell(
        f"{MASKVD} validate kitti-table1 --root {shlex.quote(folder.name)}", tmp_path,
        PYTHONIOENCODING=encoding,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Stra" in done.stdout
    assert "Traceback" not in done.stderr
