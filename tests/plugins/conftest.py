"""Installs the plug-ins beside maskvd for the commands of these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ENTRY_POINTS = """\
[maskvd.datasets]
dots = dots:Dots
[maskvd.families]
tinyconv = tinyconv:TinyConvFamily
brightness = brightness:BrightnessFamily
[maskvd.tasks]
frame-label = frame_label:FrameLabel
[maskvd.methods]
alternate = alternate:Alternate
[maskvd.metrics]
parameters = parameters:Parameters
[maskvd.executors]
backwards = backwards:Backwards
"""
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def maskvd(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return a function that runs a command of maskvd where the plug-ins are installed."""
    site = tmp_path_factory.mktemp("site")
    install(site, "maskvd-plugins", ENTRY_POINTS)
    return command(site, HERE)


def install(site: Path, name: str, entry_points: str) -> None:
    """Describe an installed distribution of version 0.1, as pip would."""
    described = site / f"{name.replace('-', '_')}-0.1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (described / "entry_points.txt").write_text(entry_points)


def command(*folders: Path) -> Command:
    """Return a function that runs a command of maskvd with these folders on Python's path."""
    paths = [*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}

    def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "maskvd_cli", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=variables, timeout=300
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done

    return run
