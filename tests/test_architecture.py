"""Rooms import downwards only, and the command line starts without the heavy packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import maskvd_cli

PACKAGE = Path(maskvd_cli.__file__).parent
ROOMS = (
    "app", "commands", "tuning", "watch", "compare", "render", "judge", "film", "verify",
    "diagnosis", "work", "training", "scenes", "metrics", "methods", "families", "tasks",
    "machine", "masks", "data", "recipe", "store", "core",
)  # fmt: skip
STRANGERS = {
    *((page, other) for page in ("watch", "compare", "render", "judge")
      for other in ("film", "work", "verify", "scenes", "methods", "families", "training")),
    ("verify", "work"),
    ("work", "training"),
    ("scenes", "training"),
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "maskvd_cli" and parts[1] in ROOMS else None


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    assert own in ROOMS, f"{own} is no room of the design"
    rooms = {room_of(name) for name in imported(ast.parse(path.read_text("utf-8")))}
    below = set(ROOMS[ROOMS.index(own) :]) | {None}
    assert rooms <= below, f"{own} must not import {sorted(map(str, rooms - below))}"
    assert not {(own, room) for room in rooms} & STRANGERS


SEAMS = ("maskvd_cli.families.base", "maskvd_cli.families.blocks")
# `library` opens models for its callers, as scenes do for sweeps.
METHODS = [path for path in MODULES if path.parent.name == "methods" and path.stem != "library"]


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_methods_know_no_family(path: Path) -> None:
    names = imported(ast.parse(path.read_text("utf-8")))
    strangers = {name for name in names if name.startswith("maskvd_cli.families.")}
    assert not {name for name in strangers if not name.startswith(SEAMS)}


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.parent.name in ("scenes", "work", "masks")],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_scenes_and_work_name_no_family(path: Path) -> None:
    names = imported(ast.parse(path.read_text("utf-8")))
    assert not {name for name in names if name.startswith("maskvd_cli.families.vitdet")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def modules_after(statement: str) -> set[str]:
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    run = f"sys.argv = ['maskvd', '{option}']; from maskvd_cli.app import main; main()"
    heavy = {"torch", "pandas", "matplotlib", "numpy", "pydantic", "yaml", "PIL"}
    assert not modules_after(run) & heavy


def test_reports_do_without_torch() -> None:
    names = "console, figures, formats"
    statement = f"from maskvd_cli.render import {names}; import maskvd_cli.judge.rows"
    assert "torch" not in modules_after(statement)


def test_planning_does_without_what_measuring_needs(tmp_path: Path) -> None:
    arguments = ["maskvd", "sweep", "vid-table-c", "--results", str(tmp_path), "-q"]
    found = modules_after(f"sys.argv = {arguments}; from maskvd_cli.app import main; main()")
    assert list(tmp_path.glob("vid-table-c/*/points/*.json"))
    assert "torch" in found
    assert not found & {"torchvision", "matplotlib", "plotly", "cv2"}
