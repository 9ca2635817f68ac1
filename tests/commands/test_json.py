"""`--json` prints the values of the table, `--quiet` keeps stderr empty, NO_COLOR is heeded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.data.synthetic import write_labels
from maskvd_cli.methods.registry import methods

from ..work import measured_runs

PRINTS_DATA = (
    "heatmap", "mask", "sweep", "validate", "report", "score", "verify", "ls", "convert", "synth",
    "train", "compare", "watch", "doctor", "tune", "film",
)  # fmt: skip
LABELS_ONLY = ("demo-labels", "--root", "kitti", "--set", "methods.maskvd.period=[4]")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MASKVD_KITTI", raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def content(*arguments: object) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def measured_recipe(folder: Path) -> Path:
    return measured_runs.write_recipe(folder)


@pytest.mark.parametrize("command", PRINTS_DATA)
def test_every_command_that_prints_data_offers_json(command: str) -> None:
    assert "--json" in run(command, "--help").stdout


def test_lists() -> None:
    found = content("ls", "methods")
    assert [row["method"] for row in found] == methods.names()
    assert all(row["what_it_does"] for row in found)
    assert "demo" in {row["recipe"] for row in content("ls", "recipes")}


def test_labels_heatmap_and_mask() -> None:
    made = content("synth", "-o", "kitti", "--clips", 2, "--frames", 5, "--no-images")
    assert (made["clips"], made["frames"], made["seed"]) == (2, 10, 0)
    found = content("heatmap", "--root", "kitti", "--split", "train", "-o", "h.npz")
    with np.load("h.npz", allow_pickle=False) as arrays:
        assert found["sum"] == arrays["heatmap"].sum() > 0
    assert Path(found["picture"]).is_file()
    assert content("mask", "h.npz", "--keep-rate", 0.3)["tokens"] == int(0.3 * 1764)


def test_a_sweep_plans_and_ends_with_the_rows_of_the_report() -> None:
    write_labels(Path("kitti"), clips=2, frames=6, seed=0)
    words = ("sweep", *LABELS_ONLY)
    planned = content(*words, "--dry-run")
    rows = content(*words)["rows"]
    assert [row["key"] for row in rows] == planned["points"]
    assert rows == content("report")["rows"]


def test_a_measured_run(tmp_path: Path) -> None:
    recipe = measured_recipe(tmp_path)
    checks = content("validate", recipe)
    assert {check["part"] for check in checks} >= {"points", "dataset", "images"}
    assert all(check["ok"] is True for check in checks)
    rows = content("sweep", recipe, "--limit", 4, "--set", "metrics=[accuracy]")["rows"]
    scored = content("score")
    assert {row["label"]: row["map50"] for row in rows} == {
        point["label"]: point["map50"] for point in scored
    }


def test_quiet_says_nothing_and_prints_no_table() -> None:
    write_labels(Path("kitti"), clips=2, frames=6, seed=0)
    done = run("sweep", *LABELS_ONLY, "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    done = run("sweep", *LABELS_ONLY)
    assert "nothing to run" in done.stderr
    assert "dense" in done.stdout


def test_quiet_still_tells_errors() -> None:
    done = run("score", "nowhere", "--quiet")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: nowhere: no such folder")


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in run("ls", "methods").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in run("ls", "methods").stdout
