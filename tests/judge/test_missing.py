"""A run that was killed in a measured pass says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskvd_cli.judge.facts import warnings
from maskvd_cli.judge.rows import read_report
from maskvd_cli.store.runs import Run

from ..compare import compared_runs as made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made.write_measured(tmp_path_factory.mktemp("missing") / "run", made.Spec())


def test_a_whole_run_lacks_nothing(run: Run) -> None:
    report = read_report(run)
    assert report.missing == {}
    assert warnings(report) == []


def test_missing_passes_are_told_with_their_number(run: Run, tmp_path: Path) -> None:
    copied = made.write_measured(tmp_path / "run", made.Spec())
    latencies = sorted(copied.folder.glob("measured/latency/*.json"))
    for path in latencies[:2]:
        path.unlink()
    next(iter(copied.folder.glob("measured/memory/*.json"))).unlink()
    report = read_report(copied)
    assert report.missing == {"latency": 2, "memory": 1}
    assert warnings(report) == [
        "2 of 3 points that ran have no latency yet; the same sweep command goes on with it.",
        "1 of 3 points that ran has no memory yet; the same sweep command goes on with it.",
    ]


def test_damaged_passes_are_told_in_their_rows_alone(run: Run, tmp_path: Path) -> None:
    copied = made.write_measured(tmp_path / "run", made.Spec())
    next(iter(copied.folder.glob("measured/memory/*.json"))).write_bytes(b"{")
    report = read_report(copied)
    assert report.missing == {}
    assert len(report.damaged) == 1


def test_points_that_failed_or_are_to_come_have_no_passes(tmp_path: Path) -> None:
    spec = made.Spec(failing=("maskvd period=8",), pending=("maskvd period=16",))
    report = read_report(made.write_measured(tmp_path / "run", spec))
    assert report.missing == {}
    assert warnings(report)[0].startswith("1 of 3 points has not been run yet")
