"""Installs the plug-ins beside maskvd for the commands of these tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

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
# Runs each command in a process of its own, which has imported what is slow to import already.
SERVER = """\
import json, os, signal, sys
import pandas, torch
from maskvd_cli.app import main
for line in sys.stdin:
    if not (child := os.fork()):
        signal.alarm(300)
        for number, name in enumerate(("out", "err"), 1):
            path = os.path.join(sys.argv[1], name)
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["maskvd", *json.loads(line)]
        main()
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def maskvd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Yield a function that runs a command of maskvd where the plug-ins are installed."""
    site = tmp_path_factory.mktemp("site")
    install(site, "maskvd-plugins", ENTRY_POINTS)
    with command(site, HERE) as run:
        yield run


def install(site: Path, name: str, entry_points: str) -> None:
    """Describe an installed distribution of version 0.1, as pip would."""
    described = site / f"{name.replace('-', '_')}-0.1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (described / "entry_points.txt").write_text(entry_points)


@contextmanager
def command(*folders: Path) -> Iterator[Command]:
    """Yield a function that runs a command of maskvd with these folders on Python's path."""
    paths = [*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
    with (
        TemporaryDirectory() as place,
        subprocess.Popen(
            [sys.executable, "-c", SERVER, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=variables,
        ) as server,
    ):  # fmt: skip
        assert server.stdin is not None and server.stdout is not None
        asked, answered, told = server.stdin, server.stdout, Path(place)

        def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
            words = [str(word) for word in arguments]
            print(json.dumps(words), file=asked, flush=True)
            returned = int(answered.readline())
            out, err = ((told / name).read_text("utf-8") for name in ("out", "err"))
            assert returned == code, err + out
            return subprocess.CompletedProcess(words, returned, out, err)

        yield run
