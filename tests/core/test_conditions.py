"""Conditions are what decides a measurement, and nothing else of an environment."""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.conditions import conditions_of

ENVIRONMENT: dict[str, Any] = {
    "command": "maskvd sweep", "tool_version": "0.1.0", "git": "abc", "python": "3.11.7",
    "packages": {"torch": "2.15.0", "torchvision": "0.30", "numpy": "2.0", "pandas": "3.0"},
    "system": "Linux", "processor": "A CPU", "cores": 2, "memory_gib": 8.0, "device": "cuda:0",
    "threads": 1, "float32_products": "highest", "gpu": "H", "driver": "580.1", "cuda": "13.0",
    "tf32_convolutions": True,
}  # fmt: skip


def test_conditions_are_named_and_no_more() -> None:
    assert conditions_of(ENVIRONMENT, "float32") == {
        "processor": "A CPU", "cores": 2, "threads": 1, "device": "cuda:0", "gpu": "H",
        "driver": "580.1", "cuda": "13.0", "float32_products": "highest", "tf32": True,
        "python": "3.11", "torch": "2.15.0", "torchvision": "0.30", "numpy": "2.0",
        "precision": "float32",
    }  # fmt: skip


def test_what_does_not_decide_changes_nothing() -> None:
    other = {**ENVIRONMENT, "command": "x", "tool_version": "9", "git": None, "python": "3.11.9"}
    assert conditions_of(other) == conditions_of(ENVIRONMENT)
    for name, value in {"threads": 2, "processor": "B", "python": "3.12.0", "driver": "1"}.items():
        assert conditions_of({**ENVIRONMENT, name: value}) != conditions_of(ENVIRONMENT)


def test_what_is_not_told_is_left_out() -> None:
    assert conditions_of({"packages": None, "python": 3, "gpu": None}) == {}
