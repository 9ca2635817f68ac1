"""Executors: equal results whoever performs, and children that crash, hang or fill the memory."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.data.synthetic import write_labels
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.runs import Run
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.collect import ranges
from maskvd_cli.work.executors.process import Process
from maskvd_cli.work.executors.registry import executors
from maskvd_cli.work.perform import perform
from maskvd_cli.work.prepare import Sweep, prepare
from maskvd_cli.work.runner import choose_run, run_sweep
from maskvd_cli.work.unit import PLAN, Executor, Limits, Lost, Unit

PLUGIN = '''
"""A method that misbehaves as it is told."""
import ctypes, os, subprocess, sys, time
from maskvd_cli.methods.dense import Dense

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
        print("about to", params.fault, file=sys.stderr, flush=True)
        if params.fault == "crash":
            ctypes.string_at(0)
        if params.fault == "killed":
            os.kill(os.getpid(), 9)
        if params.fault == "exit":
            os._exit(7)
        if params.fault == "raise":
            raise MemoryError("imagine")
        if params.fault == "hog":
            held = []
            while True:
                held.append(bytearray(os.urandom(1 << 20) * 32))
        if params.fault == "hang":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            open(os.environ["FAULTY_PIDS"], "w").write(f"{os.getpid()} {child.pid}")
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


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "kitti"
    write_labels(folder, clips=3, frames=12, seed=1)
    return folder


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the method for children, and tell this process of it."""
    place = tmp_path / "installed"
    about = place / "faulty-1.dist-info"
    about.mkdir(parents=True)
    (place / "faulty_plugin.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[maskvd.methods]\nfaulty = faulty_plugin:Faulty\n")
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("FAULTY_PIDS", str(tmp_path / "pids"))
    known = {name: value for name, value in methods._all().items() if name != "faulty"}
    monkeypatch.setattr(methods, "_targets", {**known, "faulty": "faulty_plugin:Faulty"})


def prepared(root: Path, folder: Path, more: str = "") -> Sweep:
    path = folder / "small.yaml"
    path.write_text(RECIPE.format(root=root, more=more))
    return prepare(load_recipe(path, catalog()))


def faulty_unit(root: Path, folder: Path, fault: str) -> Unit:
    sweep = prepared(root, folder, f"  - {{name: faulty, fault: {fault}}}")
    return Unit(sweep.loaded, PLAN, (sweep.points[-1].key,))


def in_child(unit: Unit, limits: Limits = Limits()) -> Iterator[Piece | Lost]:
    """Perform one unit in a process of its own."""
    executor = Process(prepare, limits)
    with closing(executor):
        for of, piece in executor.run([unit]):
            assert of is unit
            yield piece


def points_of(run: Run) -> dict[str, Any]:
    """Return all point files without what tells of time and machine."""
    found: dict[str, Any] = {}
    for path in (run.folder / "points").iterdir():
        content = json.loads(path.read_text())
        for name in ("seconds", "finished", "environment", "sha256"):
            del content[name]
        found[path.name] = content
    for path in (run.folder / "samples").iterdir():
        found[path.name] = path.read_bytes()
    return found


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("crash", "SegmentationFault", "segmentation fault"),
        ("killed", "Killed", "killed from outside"),
        ("exit", "Ended", "exit code 7"),
    ],
)
def test_a_child_that_dies_is_a_failure_with_its_last_words(
    fault: str, kind: str, message: str, labels: Path, tmp_path: Path
) -> None:
    (lost,) = in_child(faulty_unit(labels, tmp_path, fault))
    assert isinstance(lost, Lost)
    assert lost.failure.kind == kind
    assert message in lost.failure.message
    assert f"about to {fault}" in str(lost.failure.traceback)


@pytest.mark.usefixtures("plugin")
def test_what_a_child_raises_keeps_its_kind(labels: Path, tmp_path: Path) -> None:
    (lost,) = in_child(faulty_unit(labels, tmp_path, "raise"))
    assert isinstance(lost, Lost)
    assert (lost.failure.kind, lost.failure.message) == ("MemoryError", "imagine")


@pytest.mark.usefixtures("plugin")
def test_a_child_that_fills_the_memory_is_ended(labels: Path, tmp_path: Path) -> None:
    unit = faulty_unit(labels, tmp_path, "hog")
    (lost,) = in_child(unit, Limits(seconds=120, mebibytes=1500))
    assert isinstance(lost, Lost)
    assert lost.failure.kind == "OutOfMemory"
    assert "more than 1500 MiB" in lost.failure.message


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(path: Path) -> bool:
    """Tell whether the processes whose ids a file holds end within a few seconds."""
    until = time.monotonic() + 10
    while any(is_alive(int(word)) for word in path.read_text().split()):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.usefixtures("plugin")
def test_a_child_that_hangs_is_ended_with_all_that_it_started(labels: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    stream = in_child(faulty_unit(labels, tmp_path, "hang"), Limits(seconds=45))
    (lost,) = stream
    assert isinstance(lost, Lost)
    assert lost.failure.kind == "TimedOut"
    assert gone(pids)


@pytest.mark.usefixtures("plugin")
def test_children_end_with_their_parent(labels: Path, tmp_path: Path) -> None:
    unit = tmp_path / "unit"
    unit.write_bytes(pickle.dumps(faulty_unit(labels, tmp_path, "hang")))
    code = (
        "import pickle, sys; from maskvd_cli.work.executors.process import perform_in_child; "
        "from maskvd_cli.work.unit import Limits; "
        f"list(in_child(pickle.load(open({str(unit)!r}, 'rb')), Limits()))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    until = time.monotonic() + 120
    pids = tmp_path / "pids"
    while not (pids.exists() and len(pids.read_text().split()) == 2):
        assert time.monotonic() < until
        assert parent.poll() is None
        time.sleep(0.1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(pids)


class Pool(Executor):
    """Two threads that perform units as they come; what a Ray executor would be."""

    name: ClassVar[str] = "pool"
    description: ClassVar[str] = "two at a time"
    clips_per_unit: ClassVar[int | None] = 1

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        """Perform the units from the last to the first."""
        with ThreadPoolExecutor(2) as pool:
            work = [
                (unit, pool.submit(lambda one=unit: list(perform(one, self.open_sweep))))
                for unit in reversed(units)
            ]
            for unit, done in work:
                for piece in done.result():
                    yield unit, pickle.loads(pickle.dumps(piece))


def test_units_are_small_and_any_executor_gives_equal_points(labels: Path, tmp_path: Path) -> None:
    sweep = prepared(labels, tmp_path)
    runs: list[Run] = []
    for executor in (None, Pool(lambda loaded: sweep)):
        run, _ = choose_run(sweep, tmp_path / str(len(runs)), fresh=True)
        assert not run_sweep(sweep, run, executor=executor).failed
        runs.append(run)
    assert points_of(runs[0]) == points_of(runs[1])
    unit = Unit(sweep.loaded, PLAN, (sweep.points[0].key,), (0, 3))
    assert len(pickle.dumps(unit)) < 64 << 10
    # The same unit performed in a child gives the same arrays.
    here, there = (list(perform(unit, prepare)), list(in_child(unit)))
    assert [piece.part for piece in there] == ["00000", "00001", "00002"]  # type: ignore[union-attr]
    for ours, theirs in zip(here, there, strict=True):
        assert isinstance(ours, Piece)
        assert isinstance(theirs, Piece)
        for name, array in ours.arrays.items():
            assert array.tobytes() == theirs.arrays[name].tobytes()


def test_the_registry_knows_inline_and_process() -> None:
    assert {"inline", "process"} <= set(executors.names())
    assert executors.load("process") is Process
    with pytest.raises(MaskvdError, match="unknown executor 'proces'"):
        executors.load("proces")


def test_ranges_join_neighbours_up_to_a_length() -> None:
    assert ranges({0, 1, 2, 5, 6, 9}) == [(0, 3), (5, 7), (9, 10)]
    assert ranges(range(5), 2) == [(0, 2), (2, 4), (4, 5)]
    assert ranges(()) == []
