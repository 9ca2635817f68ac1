from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import maskvd_cli
from maskvd_cli.machine.environment import environment, tidy_path
from maskvd_cli.machine.threads import single_thread


def test_one_thread_inside_and_as_before_outside() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), single_thread():
        assert torch.get_num_threads() == 1
        _ = 1 / 0
    assert torch.get_num_threads() == before


def test_environment_is_json_with_command_and_machine() -> None:
    made = environment(["sweep", "a b.yaml"])
    assert made["command"] == "maskvd sweep 'a b.yaml'"
    assert made["tool_version"] == maskvd_cli.__version__
    assert made["cores"] >= 1
    assert torch.__version__.startswith(made["packages"]["torch"].partition("+")[0])
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_environment_tells_no_variable_and_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "very-secret")
    text = json.dumps(environment(["sweep", str(Path.home() / "recipe.yaml")]))
    assert "very-secret" not in text
    assert str(Path.home()) not in text
    assert "~/recipe.yaml" in text


def test_home_is_shortened_in_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tidy_path(f"{tmp_path}/x {tmp_path}/y") == "~/x ~/y"
    assert tidy_path(f"{tmp_path}2/x {tmp_path}") == f"{tmp_path}2/x ~"
