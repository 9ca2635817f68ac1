"""Off a terminal, what takes long says so on stderr every few seconds; --quiet stops it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.commands import terminal
from maskvd_cli.core.errors import UsageError
from maskvd_cli.data.synthetic import write_labels

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "demo"
ANNOTATIONS = "reading annotations"
# Words, the function that takes long, and what is said of it.
SLOW = {
    "heatmap": (("heatmap", "--root", "kitti"), "scenes.heatmap.make_heatmap", ANNOTATIONS),
    "sweep": (("sweep", "demo-labels", "--root", "kitti"), "work.runner.prepare", ANNOTATIONS),
    "validate": (("validate", "demo-labels"), "work.checks.checks_of", ANNOTATIONS),
    "train": (("train", "train-synthetic", "-o", "out"), "training.setup.prepare", ANNOTATIONS),
    "film": (
        ("film", "demo", "--point", "stgt r=60"), "film.opening.open_film",
        f"{ANNOTATIONS} and making the heatmap",
    ),
    "score": (("score", str(REFERENCE)), "work.scoring.scored", "scoring"),
    "compare": (("compare", *(2 * [str(REFERENCE)])), "compare.comparison.compare", "comparing"),
    "synth": (
        ("synth", "-o", "out"), "data.rendered_sets.write_clips",
        "drawing frames, 0 of 2000 done",
    ),
    "points": (
        ("sweep", "demo-labels", "--root", "kitti"), "work.runner.run_sweep",
        "points, 0 of 7 steps done",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW)
def test_long_work_is_told_and_quiet_stops_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, slow, said = SLOW[name]
    write_labels(tmp_path / "kitti", 2, 4, 0)
    monkeypatch.chdir(tmp_path)
    often = terminal.sign_of_life

    def work(*given: object, **named: object) -> NoReturn:
        time.sleep(0.3)
        raise UsageError("enough")

    monkeypatch.setattr(f"maskvd_cli.{slow}", work)
    monkeypatch.setattr(terminal, "_EVERY", 0.05)
    monkeypatch.setattr("maskvd_cli.commands.sweep.sign_of_life", lambda work, every: often(work))
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    signs = [line for line in done.stderr.splitlines() if line.endswith(" s so far")]
    assert len(signs) >= 2
    assert signs[-1] == f"{said}: 0 s so far"
    quiet = CliRunner().invoke(app, [*words, "--quiet"])
    assert quiet.stderr == "error: enough\n"
