"""A method that misbehaves as it is told, installed as a package beside maskvd."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from maskvd_cli.methods.registry import methods

NAME, MODULE = "faulty", "faulty_plugin"
PLUGIN = '''
"""A method that misbehaves as it is told, and writes down which process planned what."""
import ctypes, os, subprocess, sys, time
from pathlib import Path
import torch
from maskvd_cli.core.errors import UsageError
from maskvd_cli.methods.dense import Dense

CUDA = "CUDA error: device-side assert triggered\\nCompile with `TORCH_USE_CUDA_DSA`"

class FaultyParams(Dense.params_type):
    fault: str

class Faulty(Dense):
    name = "faulty"
    description = "misbehaves"
    params_type = FaultyParams
    naming = ("fault",)
    role = "method"

    @classmethod
    def plan(cls, params, arch, view):
        fault, log = params.fault, Path(os.environ["FAULTY_LOG"])
        before = log.read_text().splitlines() if log.exists() else []
        with log.open("a") as file:
            file.write(f"{os.getpid()} {fault}\\n")
        if os.environ.get("FAULTY_MENDED"):
            fault = "none"
        print("about to", fault, file=sys.stderr, flush=True)
        mine = f"{os.getpid()} "
        others = [line for line in before if line.startswith(mine) and line != mine + fault]
        if fault == "crash" or (fault == "crash-after-others" and others):
            ctypes.string_at(0)
        if fault == "killed":
            os.kill(os.getpid(), 9)
        if fault == "exit":
            os._exit(7)
        if fault == "raise":
            raise MemoryError("imagine")
        if fault == "refuse":
            raise UsageError("not like this", remedy="do otherwise")
        if fault == "no-memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        if fault == "assert":
            raise getattr(torch, "AcceleratorError", RuntimeError)(CUDA)
        if fault == "hog":
            held = []
            while True:
                held.append(bytearray(os.urandom(1 << 20) * 32))
        if fault == "hang":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            Path(os.environ["FAULTY_PIDS"]).write_text(f"{os.getpid()} {child.pid}")
            time.sleep(600)
        return super().plan(params, arch, view)
'''
RECIPE = """\
schema: 1
name: small
dataset: {{name: kitti, root: {root}}}
model: {{input: 192x352, frame: 185x336}}
methods:
  - name: maskvd
    period: [4, 8]
{more}
"""


def install(place: Path) -> Path:
    """Write the package as pip would; return the folder that `sys.path` needs."""
    about = place / f"{NAME}-1.dist-info"
    about.mkdir(parents=True)
    (place / f"{MODULE}.py").write_text(PLUGIN)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[maskvd.methods]\n{NAME} = {MODULE}:Faulty\n")
    return place


def install_here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install it for children, and tell this process of it."""
    monkeypatch.syspath_prepend(install(place / "installed"))
    monkeypatch.setenv("FAULTY_PIDS", str(place / "pids"))
    monkeypatch.setenv("FAULTY_LOG", str(place / "log"))
    known = {name: value for name, value in methods._all().items() if name != NAME}
    monkeypatch.setattr(methods, "_targets", {**known, NAME: f"{MODULE}:Faulty"})


def variables(place: Path) -> dict[str, str]:
    """Return the environment of a command where the method is installed at `place`."""
    paths = [str(place / "installed"), *filter(None, sys.path)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "FAULTY_PIDS": str(place / "pids"),
        "FAULTY_LOG": str(place / "log"),
    }


def write_recipe(folder: Path, root: Path, *faults: str) -> Path:
    """Write a recipe of two good points and one for each fault."""
    path = folder / "small.yaml"
    more = f"  - {{name: {NAME}, fault: [{', '.join(faults)}]}}" if faults else ""
    path.write_text(RECIPE.format(root=root, more=more))
    return path


def is_alive(process: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
