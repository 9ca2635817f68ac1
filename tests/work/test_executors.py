"""Executors: equal results whoever performs, and children that crash, hang or fill the memory."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from maskvd_cli.core.errors import EXIT_POINTS_FAILED, MaskvdError
from maskvd_cli.data import base
from maskvd_cli.data.synthetic import write_labels
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.scenes import scene as scenes
from maskvd_cli.scenes.frames import KeptFrames
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.runs import Run
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.collect import ranges
from maskvd_cli.work.executors.inline import Inline
from maskvd_cli.work.executors.process import Process
from maskvd_cli.work.executors.registry import executors
from maskvd_cli.work.perform import perform
from maskvd_cli.work.prepare import Sweep, prepare
from maskvd_cli.work.runner import choose_run, run_sweep
from maskvd_cli.work.unit import PLAN, Executor, Lost, Unit

from . import faulty
from .measured_runs import write_recipe as write_measured


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "kitti"
    write_labels(folder, clips=3, frames=12, seed=1)
    return folder


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the method that misbehaves, here and for children."""
    faulty.install_here(tmp_path, monkeypatch)


def prepared(root: Path, folder: Path, *faults: str) -> Sweep:
    return prepare(load_recipe(faulty.write_recipe(folder, root, *faults), catalog()))


def faulty_units(root: Path, folder: Path, *faults: str) -> list[Unit]:
    sweep = prepared(root, folder, *faults)
    return [Unit(sweep.loaded, PLAN, (point.key,), (0, 3)) for point in sweep.points[2:]]


def in_child(*units: Unit) -> Iterator[tuple[Unit, Piece | Lost]]:
    """Perform units in processes of their own, as a sweep does."""
    with closing(Process(prepare)) as executor:
        yield from executor.run(units)


def lost_of(*units: Unit) -> Lost:
    """Return why a unit is lost that gives nothing else."""
    ((_, lost),) = in_child(*units)
    assert isinstance(lost, Lost)
    return lost


def points_of(run: Run) -> dict[str, Any]:
    """Return all point files without what tells of time and machine, which pieces hold too."""
    found: dict[str, Any] = {}
    for path in (run.folder / "points").iterdir():
        content = json.loads(path.read_text())
        for name in ("seconds", "finished", "environment", "sha256", "files"):
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
        ("exit", "Ended", "exit code 7"),
    ],
)
def test_a_child_that_dies_is_a_failure_with_its_last_words(
    fault: str, kind: str, message: str, labels: Path, tmp_path: Path
) -> None:
    lost = lost_of(*faulty_units(labels, tmp_path, fault))
    assert lost.failure.kind == kind
    assert message in lost.failure.message
    assert f"about to {fault}" in str(lost.failure.traceback)


@pytest.mark.usefixtures("plugin")
def test_what_a_child_raises_keeps_its_kind(labels: Path, tmp_path: Path) -> None:
    lost = lost_of(*faulty_units(labels, tmp_path, "raise"))
    assert (lost.failure.kind, lost.failure.message) == ("MemoryError", "imagine")


@pytest.mark.usefixtures("plugin")
def test_units_share_a_process_until_one_fails(labels: Path, tmp_path: Path) -> None:
    """Planning costs one start; a failure costs the unit that ran, and the process."""
    faults = ("fine", "crash-after-others", "well", "refuse", "good", "assert", "last")
    units = faulty_units(labels, tmp_path, *faults)
    ends: dict[str, str] = {}
    pieces: Counter[str] = Counter()
    for unit, piece in in_child(*units):
        fault = faults[units.index(unit)]
        if isinstance(piece, Lost):
            ends[fault] = piece.failure.kind
        else:
            pieces[fault] += 1
    assert ends == {"refuse": "UsageError", "assert": "DeviceLost"}
    assert pieces == dict.fromkeys(("fine", "crash-after-others", "well", "good", "last"), 3)
    of: dict[str, list[str]] = {}
    for line in (tmp_path / "log").read_text().splitlines():
        process, _, fault = line.partition(" ")
        if process not in of.setdefault(fault, []):
            of[fault].append(process)
    first, second, third, fourth = of["fine"][0], of["well"][0], of["assert"][1], of["last"][0]
    assert len({first, second, third, fourth}) == 4
    # What fails in a process that others have used is tried in a fresh one, once.
    assert of["crash-after-others"] == [first, second]
    # A refusal is none of the process.
    assert of["well"] == of["refuse"] == of["good"] == [second]
    assert of["assert"] == [second, third]


@pytest.mark.usefixtures("plugin")
def test_measurements_have_a_process_without_other_work(labels: Path, tmp_path: Path) -> None:
    plan, other = faulty_units(labels, tmp_path, "a", "b")
    timed = Unit(plan.recipe, "latency", plan.keys, alone=True)
    talk: list[str] = []
    with closing(Process(prepare)) as executor:
        executor.on_talk = talk.append
        for units in ([plan], [other], [timed], [plan]):
            list(executor.run(units))
    # The first for both plans, one for the measurement, one for what follows it.
    assert talk.count("starting a process") == 3


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
    for kind in (Inline, Pool, Process):
        run, _ = choose_run(sweep, tmp_path / kind.name, fresh=True)
        assert not run_sweep(sweep, run, executor=kind(lambda loaded: sweep)).failed
        runs.append(run)
    assert points_of(runs[0]) == points_of(runs[1]) == points_of(runs[2])
    unit = Unit(sweep.loaded, PLAN, (sweep.points[0].key,), (0, 3))
    assert len(pickle.dumps(unit)) < 64 << 10


def test_points_side_by_side_decode_each_frame_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not all frames fit into memory, each clip is decoded once for all points."""
    path, clips, frames = write_measured(tmp_path, "metrics: [accuracy]\n"), 2, 6
    decoded: Counter[str] = Counter()
    load = base.load_image

    def counting(frame: Any) -> Any:
        decoded[str(frame.file)] += 1
        return load(frame)

    monkeypatch.setattr(base, "load_image", counting)
    a_clip = frames * 3 * 48 * 128
    runs: list[Run] = []
    for budget in (clips * a_clip, a_clip):
        monkeypatch.setattr(scenes, "KeptFrames", lambda room=budget: KeptFrames(room))
        decoded.clear()
        sweep = prepare(load_recipe(path, catalog()))
        assert len(sweep.points) == 3
        assert sweep.scene.feed.fits == (budget > a_clip)
        run, _ = choose_run(sweep, tmp_path / str(budget), fresh=True)
        order: list[str] = []
        assert not run_sweep(sweep, run, on_talk=order.append).failed
        assert len(decoded) == clips * frames
        assert set(decoded.values()) == {1}
        ends = [text for text in order if ", clip 1 of 2" in text]
        side_by_side = order[: len(ends)] == ends
        assert side_by_side == (budget == a_clip)
        runs.append(run)
    assert points_of(runs[0]) == points_of(runs[1])


@pytest.mark.usefixtures("plugin")
def test_memory_that_runs_out_costs_one_point(labels: Path, tmp_path: Path) -> None:
    sweep = prepared(labels, tmp_path, "no-memory", "fine")
    run, _ = choose_run(sweep, tmp_path / "results", fresh=True)
    outcome = run_sweep(sweep, run)
    (lost,) = outcome.failed
    assert lost.failure is not None
    assert lost.failure.kind == "OutOfMemory"
    assert "Tried to allocate 20.00 GiB" in lost.failure.message
    assert len(outcome.ran) == 4


@pytest.mark.usefixtures("plugin")
def test_a_lost_device_ends_an_inline_sweep_and_costs_one_point(
    labels: Path, tmp_path: Path
) -> None:
    """What ran is stored, what would fail by another's fault is not; the sweep goes on after it."""
    sweep = prepared(labels, tmp_path, "assert", "fine")
    run, _ = choose_run(sweep, tmp_path / "results", fresh=True)
    with pytest.raises(MaskvdError, match="left the device unusable") as raised:
        run_sweep(sweep, run)
    assert raised.value.exit_code == EXIT_POINTS_FAILED
    statuses = [record and record.status for record in map(run.point, keys_of(sweep))]
    assert statuses == ["ok", "ok", "failed", None]
    outcome = run_sweep(sweep, run)
    assert [record.status for record in outcome.ran] == ["ok"]
    (lost,) = outcome.failed
    assert lost.failure is not None
    assert lost.failure.kind == "DeviceLost"
    assert "\n" not in lost.failure.message


def keys_of(sweep: Sweep) -> list[str]:
    return [point.key for point in sweep.points]


def test_the_registry_knows_inline_and_process() -> None:
    assert {"inline", "process"} <= set(executors.names())
    assert executors.load("process") is Process
    with pytest.raises(MaskvdError, match="unknown executor 'proces'"):
        executors.load("proces")


def test_ranges_join_neighbours_up_to_a_length() -> None:
    assert ranges({0, 1, 2, 5, 6, 9}) == [(0, 3), (5, 7), (9, 10)]
    assert ranges(range(5), 2) == [(0, 2), (2, 4), (4, 5)]
    assert ranges(()) == []
