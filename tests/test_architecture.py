"""Rooms import downwards only, and the command line starts without the heavy packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import maskvd_cli
from maskvd_cli.core.registry import Registry
from maskvd_cli.families.registry import families
from maskvd_cli.methods.registry import methods
from maskvd_cli.tasks.registry import tasks

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


# What is registered by name is told apart by what it says of itself, never by its name.
NAMELESS = ("metrics", "work", "scenes", "judge", "compare", "watch", "render", "tuning")
NAMED: dict[str, Registry[Any]] = {"methods": methods, "families": families, "tasks": tasks}
# Also a word of English, and the tool's own: these name a method only where they stand alone.
AMBIGUOUS = {"random", "maskvd"}
# Where the tool's name does stand alone, and where files of before had a key of a method's name.
SELF = {
    "compare/conditions.py": {"maskvd"},
    "render/plots/page.py": {"maskvd"},
    "tuning/earlier.py": {"dense"},
}
# Parts of one task that are files of their own.
PARTS = {
    f"maskvd_cli.tasks.{part}"
    for part in (
        "boxes", "coco", "detections", "instances", "matching", "pasting",
        "silhouette_arrays", "tracks",
    )
}  # fmt: skip


def strange_names(tree: ast.AST) -> set[str]:
    """Return the registered methods, families and tasks that a module imports or writes."""
    names = {name for registry in NAMED.values() for name in registry.names()}
    words = "|".join(re.escape(name) for name in sorted(names - AMBIGUOUS, key=len, reverse=True))
    word = re.compile(rf"(?<![\w+-])(?:{words})(?![\w+-])", re.IGNORECASE)
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    written = {name for text in texts for name in word.findall(text)} | (texts & AMBIGUOUS)
    return written | {name for name in imported(tree) if f"{name}.".startswith(own_modules())}


def own_modules() -> tuple[str, ...]:
    """Return the modules, and of families the folders, of what comes with the package."""
    targets = [registry._all()[name] for registry in NAMED.values() for name in registry.names()]
    modules = {target.partition(":")[0] for target in targets} | PARTS
    folders = {name.rpartition(".")[0] for name in modules if name.count(".") > 2}
    return tuple(f"{name}." for name in modules | folders if name.startswith("maskvd_cli."))


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.relative_to(PACKAGE).parts[0] in NAMELESS],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_method_family_or_task_is_named(path: Path) -> None:
    own = SELF.get(path.relative_to(PACKAGE).as_posix(), set())
    assert strange_names(ast.parse(path.read_text("utf-8"))) == own


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ('x = "dense"', {"dense"}),
        ('"""Compared with Dense."""', {"Dense"}),
        ('f"{x} of maskvd+evit"', {"maskvd+evit"}),
        ('x = ["random", "maskvd"]', {"random", "maskvd"}),
        ('"""Drawn at random by a newer maskvd; densely; detections."""\nimport random', set()),
        ("from maskvd_cli.methods.stgt import STGT", {"maskvd_cli.methods.stgt.STGT"}),
        ("import maskvd_cli.families.vitdet.detector", {"maskvd_cli.families.vitdet.detector"}),
        ("from maskvd_cli.families import vitdet", {"maskvd_cli.families.vitdet"}),
        ("from maskvd_cli.tasks import boxes", {"maskvd_cli.tasks.boxes"}),
        ("from maskvd_cli.methods.masked_costs import x", set()),
        ("from maskvd_cli.tasks.registry import tasks", set()),
    ],
)
def test_names_are_noticed(code: str, names: set[str]) -> None:
    assert strange_names(ast.parse(code)) == names


# Rooms that may know families and tasks, but are handed their methods.
METHODLESS = (*NAMELESS, "film", "training", "recipe", "tasks", "store", "machine", "masks")
# Words of before, of the modules that translate them; the tool's name; weights that are drawn.
OTHER_WORDS = {
    **SELF,
    "machine/environment.py": {"maskvd"},
    "recipe/schema.py": {"random"},
}


def of_rooms(*rooms: str) -> list[Path]:
    """Return the modules of rooms, without those that translate files of before."""
    return [
        path
        for path in MODULES
        if path.relative_to(PACKAGE).parts[0] in rooms and not path.stem.startswith("earlier")
    ]


def words_of(path: Path, words: Iterable[str]) -> set[str]:
    """Return which of the words a module writes in its texts, each standing alone."""
    either = "|".join(re.escape(name) for name in sorted(words, key=len, reverse=True))
    word = re.compile(rf"(?<![\w+-])(?:{either})(?![\w+-])", re.IGNORECASE)
    return {name for text in texts_of(path) for name in word.findall(text)}


def texts_of(path: Path) -> set[str]:
    return {
        node.value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize(
    "path", of_rooms(*METHODLESS), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_method_is_named(path: Path) -> None:
    names = set(methods.names())
    written = words_of(path, names - AMBIGUOUS) | (texts_of(path) & AMBIGUOUS)
    assert written == OTHER_WORDS.get(path.relative_to(PACKAGE).as_posix(), set())


@pytest.mark.parametrize(
    "path",
    of_rooms(*(room for room in METHODLESS if room != "tasks")),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_headline_is_named(path: Path) -> None:
    headlines = [tasks.load(name).headline() for name in tasks.names()]
    words = {word for quantity in headlines for word in (quantity.name, quantity.header)}
    assert not words_of(path, words)


def test_a_class_name_means_one_thing() -> None:
    homes: dict[str, set[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, set()).add(path.relative_to(PACKAGE).as_posix())
    twins = {name: sorted(places) for name, places in homes.items() if len(places) > 1}
    assert not twins


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


def test_only_the_picture_of_a_search_is_drawn() -> None:
    """All else of `tuning` has its words from `judge`, so that a search waits for no drawing."""
    rooms = {
        path.stem: {room_of(name) for name in imported(ast.parse(path.read_text("utf-8")))}
        for path in MODULES
        if path.parent.name == "tuning"
    }
    assert {stem for stem, below in rooms.items() if "render" in below} == {"picture"}
    names = ", ".join(sorted(rooms.keys() - {"picture", "__init__"}))
    found = modules_after(f"from maskvd_cli.tuning import {names}")
    assert not found & {"matplotlib", "plotly", "maskvd_cli.render"}


def test_planning_does_without_what_measuring_needs(tmp_path: Path) -> None:
    arguments = ["maskvd", "sweep", "vid-table-c", "--results", str(tmp_path), "-q"]
    found = modules_after(f"sys.argv = {arguments}; from maskvd_cli.app import main; main()")
    assert list(tmp_path.glob("vid-table-c/*/points/*.json"))
    assert "torch" in found
    assert not found & {"torchvision", "matplotlib", "plotly", "cv2"}
