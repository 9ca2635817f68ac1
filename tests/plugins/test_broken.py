"""A plug-in that cannot be imported costs only itself, of whatever kind it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Command, command, install

KINDS = {
    "method": "methods", "dataset": "datasets", "family": "families", "task": "tasks",
    "metric": "metrics", "executor": "executors",
}  # fmt: skip
ENTRY_POINTS = "".join(
    f"[maskvd.{group}]\nbroken-{kind} = broken_plugin:Broken\n" for kind, group in KINDS.items()
)
RECIPE = """\
schema: 1
name: beside
dataset: {name: synthetic}
model: {name: vitdet-ti, input: 192x640}
methods:
  - {name: dense}
  - {name: maskvd, mask: dynamic, period: 2}
metrics: [latency]
limit: {clips: 1, frames: 2}
"""


@pytest.fixture(scope="module")
def maskvd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Run commands where a package is installed whose module is no Python."""
    site = tmp_path_factory.mktemp("site")
    install(site, "broken-package", ENTRY_POINTS)
    (site / "broken_plugin.py").write_text("class Broken(:\n    pass\n")
    with command(site) as run:
        yield run


def line_of(kind: str) -> str:
    return (
        f"{kind} 'broken-{kind}' cannot be imported from broken_plugin:Broken (broken-package 0.1, "
        f"entry point broken-{kind} of maskvd.{KINDS[kind]}): SyntaxError: invalid syntax "
        "(broken_plugin.py, line 1); mend or uninstall broken-package"
    )


def recipe_of(folder: Path, old: str = "", new: str = "") -> Path:
    path = folder / "beside.yaml"
    path.write_text(RECIPE.replace(old, new))
    return path


def test_a_sweep_and_its_report_go_on(maskvd: Command, tmp_path: Path) -> None:
    path = recipe_of(tmp_path, "metrics: [latency]\n", "")
    done = maskvd("sweep", path, "--results", tmp_path / "results")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    kinds = ("family", "metric")
    assert sorted(warnings) == sorted(f"warning: {line_of(kind)}" for kind in kinds)
    (run,) = (tmp_path / "results" / "beside").iterdir()
    assert "maskvd" in maskvd("report", run).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_ls_lists_the_others(kind: str, maskvd: Command) -> None:
    done = maskvd("ls", KINDS[kind])
    assert f"warning: {line_of(kind)}" in done.stderr.splitlines()
    assert f"broken-{kind}" not in done.stdout
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("kind", "place", "old", "new"),
    [
        ("method", "7:6 methods.1.name", "{name: maskvd, mask: dynamic, period: 2}",
         "{name: broken-method}"),
        ("dataset", "3:11 dataset.name", "name: synthetic", "name: broken-dataset"),
        ("metric", "8:11 metrics.0", "latency", "broken-metric"),
        ("family", "4:9 model.name", "vitdet-ti", "theirs"),
    ],
)  # fmt: skip
def test_a_recipe_that_names_it_is_refused_with_the_reason(
    kind: str, place: str, old: str, new: str, maskvd: Command, tmp_path: Path
) -> None:
    path = recipe_of(tmp_path, old, new)
    done = maskvd("sweep", path, "--dry-run", code=2)
    (line,) = [text for text in done.stderr.splitlines() if not text.startswith("warning: ")]
    assert line.startswith(f"{path}:{place}: ")
    assert line.endswith(line_of(kind))


def test_an_executor_that_is_asked_for_is_refused(maskvd: Command, tmp_path: Path) -> None:
    path = recipe_of(tmp_path, "metrics: [latency]\n", "")
    words = ("sweep", path, "--executor", "broken-executor", "-q", "--results", tmp_path)
    done = maskvd(*words, code=2)
    assert done.stderr.splitlines()[-1] == f"error: {line_of('executor')}"


def test_the_schema_is_made_without_it(maskvd: Command) -> None:
    assert "broken" not in maskvd("schema").stdout
