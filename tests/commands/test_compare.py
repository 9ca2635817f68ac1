"""`maskvd compare` from the command line: exit codes, refusals, files, streams."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app

from ..compare import compared_runs as made

FAST = "maskvd period=16"
TIMES = {"dense": (100.0, 100.0), "maskvd period=8": (105.0, 40.0), FAST: (126.0, 36.0)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    made.write_measured(folder / "a", made.Spec())
    made.write_measured(folder / "slower", made.Spec(seed=1, times=TIMES))
    made.write_measured(folder / "worse", made.Spec(seed=2, found={FAST: 0.7}))
    made.write_measured(folder / "failing", made.Spec(seed=3, failing=(FAST,)))
    other = {"cores": 64, "threads": 32}
    setting = {"dataset": {"split": "train"}}
    spec = made.Spec(seed=4, times=TIMES, environment=other, setting=setting)
    made.write_measured(folder / "elsewhere", spec)
    return folder


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_run_against_itself_is_fine_and_nothing_is_written(runs: Path) -> None:
    before = files(runs)
    done = compare(runs / "a", runs / "a", "--fail-on", "latency:0%", "--fail-on", "map50:0")
    assert done.exit_code == 0, done.output
    assert "3 points compared: 18 same, 2 within noise" in done.stdout
    assert "regression:" not in done.stderr
    assert files(runs) == before


def test_a_slower_point_fails_beyond_the_limit_only(runs: Path) -> None:
    done = compare(runs / "a", runs / "slower", "--fail-on", "latency:5%")
    assert done.exit_code == 4
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("regression:")]
    assert FAST in line
    assert "% slower (limit latency:5%)" in line
    for limits in (["latency:50%"], ["map50:0.5"], []):
        options = [word for limit in limits for word in ("--fail-on", limit)]
        assert compare(runs / "a", runs / "slower", *options).exit_code == 0


def test_a_loss_of_map50_fails(runs: Path) -> None:
    done = compare(runs / "a", runs / "worse", "--fail-on", "map50:0.5", "--quiet")
    assert done.exit_code == 4
    assert done.stdout == ""
    assert f"regression: {FAST}: mAP50" in done.stderr
    assert compare(runs / "worse", runs / "a", "--fail-on", "map50:0.5").exit_code == 0


def test_points_that_fail_now_give_3_where_limits_are_set(runs: Path) -> None:
    assert compare(runs / "a", runs / "failing").exit_code == 0
    done = compare(runs / "a", runs / "failing", "--fail-on", "latency:5%")
    assert done.exit_code == 3
    assert f"failed in B, ok in A: {FAST}" in done.stderr


def test_runs_that_must_not_be_compared_are_refused_reason_by_reason(runs: Path) -> None:
    done = compare(runs / "a", runs / "elsewhere")
    assert done.exit_code == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        "error: dataset differs: dataset.split is val in A and train in B (3 points); "
        "--allow dataset compares anyway"
    )
    assert "hardware differs: cores is 2 in A and 64 in B" in lines[1]
    assert compare(runs / "a", runs / "elsewhere", "--allow", "dataset").exit_code == 2


def test_latency_cannot_fail_across_machines(runs: Path) -> None:
    done = compare(
        runs / "a", runs / "elsewhere", "--allow", "dataset", "--allow", "hardware", "--fail-on",
        "latency:1%",
    )  # fmt: skip
    assert done.exit_code == 0
    assert "not comparable" in done.stdout
    assert "warning: --fail-on latency:1%: cannot be judged of 2 points" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fail-on", "latency"], "for instance latency:5%"),
        (["--fail-on", "latancy:5%"], "did you mean 'latency'?"),
        (["--allow", "everything"], "unknown kind 'everything'"),
        (["-o", "changes.txt"], "name it with .md, .csv, .json"),
    ],
)
def test_wrong_options_are_told(options: list[str], said: str, runs: Path) -> None:
    done = compare(runs / "a", runs / "a", *options)
    assert done.exit_code == 2
    assert said in done.stderr


def test_no_such_run(runs: Path, tmp_path: Path) -> None:
    assert compare(runs / "a", runs / "none").exit_code == 2
    assert "no run here yet" in compare(tmp_path, runs / "a").stderr


def test_json_is_whole_and_alone_on_stdout(runs: Path) -> None:
    done = compare(runs / "a", runs / "slower", "--json", "--fail-on", "latency:5%")
    assert done.exit_code == 4
    content = json.loads(done.stdout)
    assert content["failed"] == [{"label": FAST, "metric": "latency", "limit": "latency:5%"}]
    assert {row["verdict"] for row in content["rows"]} >= {"same", "regression"}


@pytest.mark.parametrize("suffix", ["md", "csv", "json"])
def test_files(suffix: str, runs: Path, tmp_path: Path) -> None:
    path = tmp_path / f"changes.{suffix}"
    done = compare(runs / "a", runs / "slower", "-o", path)
    assert done.exit_code == 0
    assert "regression" in path.read_text()
    assert os.listdir(tmp_path) == [path.name]


def test_damaged_files_are_warned_of(runs: Path, tmp_path: Path) -> None:
    made.write_measured(tmp_path / "b", made.Spec(seed=1))
    (tmp_path / "b" / "measured" / "memory" / "dense-k.json").write_text("{")
    done = compare(runs / "a", tmp_path / "b")
    assert done.exit_code == 3
    assert "warning:" in done.stderr
    assert "dense-k.json: damaged result file" in done.stderr
