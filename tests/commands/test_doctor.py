"""`maskvd doctor` as a user runs it: exit codes, JSON, and nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.data.registry import datasets


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither datasets nor weights are named, and the current folder is empty."""
    for name in datasets.names():
        monkeypatch.delenv(datasets.load(name).env, raising=False)
    monkeypatch.delenv("MASKVD_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)


def test_json_holds_findings_and_environment(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--no-noise", "--json", "--quiet"])
    made = json.loads(done.stdout)
    names = {finding["name"] for finding in made["findings"]}
    assert {"Python", "torch", "CUDA", "other load", "threads", "kitti", "MASKVD_WEIGHTS"} <= names
    for finding in made["findings"]:
        assert finding["state"] in ("ok", "note", "warning", "problem")
        assert (finding["remedy"] is None) == (finding["state"] == "ok")
    assert made["noise"] == []
    assert made["environment"]["packages"]["torch"] == made["findings"][1]["found"]
    assert done.exit_code == (2 if made["state"] == "problem" else 0)
    assert not done.stderr
    assert not list(tmp_path.iterdir()), "doctor only reads"


def test_a_variable_that_names_no_folder_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKVD_KITTI", str(tmp_path / "nowhere"))
    done = CliRunner().invoke(app, ["doctor", "--no-noise"])
    assert done.exit_code == 2
    line = next(line for line in done.stdout.splitlines() if line.startswith("  kitti"))
    assert "problem" in line
    assert "see the problems" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure on the GPU as well")
def test_noise_is_measured_or_why_not_is_told() -> None:
    done = CliRunner().invoke(app, ["doctor", "--seconds", "1", "--json"])
    made = json.loads(done.stdout)
    (found,) = [f for f in made["findings"] if f["name"] == "A/A noise, cpu"]
    if not made["noise"]:
        assert "nothing can be measured now" in found["found"]
        return
    ratio = made["noise"][0]["ratio"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert made["noise"][0]["rounds"] >= 2


def test_a_broken_torchvision_does_not_keep_the_rest_from_being_told() -> None:
    code = "import sys; sys.modules['torchvision'] = None; import maskvd_cli.diagnosis.run"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_seconds_have_bounds() -> None:
    assert CliRunner().invoke(app, ["doctor", "--seconds", "0"]).exit_code == 2


def test_what_a_busy_machine_does_not_touch_are_the_headlines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("maskvd_cli.diagnosis.finding.worst", lambda findings: "warning")
    done = CliRunner().invoke(app, ["doctor", "--no-noise"])
    assert done.exit_code == 0
    assert "(mAP50, mask AP50, top-1 and counts are not touched)" in done.stderr
