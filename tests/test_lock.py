"""The pins of development and CI fit what pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
]
PINS = [
    Requirement(line)
    for line in (ROOT / "requirements/dev.lock").read_text("utf-8").splitlines()
    if re.match(r"\w", line)
]


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: needed.name)
def test_everything_that_the_project_names_is_pinned_within_its_range(needed: Requirement) -> None:
    if needed.name == PROJECT["name"]:
        return
    pins = [pin for pin in PINS if pin.name.lower() == needed.name.lower()]
    assert pins, "run `make lock`"
    for pin in pins:
        (version,) = pin.specifier
        assert version.operator == "=="
        assert needed.specifier.contains(version.version), "run `make lock`"


def test_the_torch_of_development_is_the_one_that_is_named() -> None:
    lines = (ROOT / "requirements/torch.txt").read_text("utf-8").splitlines()
    named = {line for line in lines if not line.startswith("#")}
    pinned = {str(pin) for pin in PINS if pin.name in ("torch", "torchvision")}
    assert pinned == named
