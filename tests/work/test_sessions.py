"""Measured records: used again only where nothing that decides them has changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from maskvd_cli.methods.maskvd import MaskVD
from maskvd_cli.metrics.latency import Latency
from maskvd_cli.metrics.memory import Memory
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.runs import Run
from maskvd_cli.store.sessions import open_sessions
from maskvd_cli.work import runner
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import SweepOutcome, choose_run, prepare, run_sweep

from .measured_runs import write_recipe

MEMORY = ("metrics=[memory]", "detections=labels")
ONE_FRAME = (*MEMORY, "memory.frames=1")
LATENCY = ("metrics=[latency]", "detections=labels")


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("sessions"), "limit: {frames: 3}\n")


def sweep(
    path: Path, results: Path, *assignments: str, fresh: bool = False, **more: Any
) -> SweepOutcome:
    prepared = prepare(load_recipe(path, catalog(), assignments))
    run, earlier = choose_run(prepared, results, fresh=fresh)
    return run_sweep(prepared, run, earlier, **more)


def record(run: Run, of: str, key: str) -> MeasuredRecord:
    found = run.measured(of, key)
    assert found is not None
    return found


def on_another_machine(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    here = runner.environment()
    monkeypatch.setattr(runner, "environment", lambda: {**here, **changes})


def test_a_record_carries_what_decides_it(recipe_file: Path, tmp_path: Path) -> None:
    made = sweep(recipe_file, tmp_path, *MEMORY)
    first = made.measured[0]
    assert first.protocol == {"frames": 4, "seed": 0}
    assert first.estimator == Memory.estimator
    assert {"processor", "cores", "threads", "device", "torch", "python", "precision"} <= set(
        first.conditions
    )
    plan = made.run.plan()
    assert plan.measure == {
        "metrics": ["memory"], "memory": {"frames": 4, "seed": 0, "estimator": 1},
    }  # fmt: skip
    assert plan.headline == "map50"
    assert [name for name, method in plan.methods.items() if method.role == "baseline"] == ["dense"]


@pytest.mark.parametrize("change", [{"processor": "Another"}, {"cores": 999}, {"python": "3.99.1"}])
def test_under_other_conditions_all_is_measured_again(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    first = sweep(recipe_file, tmp_path, *ONE_FRAME)
    assert not sweep(recipe_file, tmp_path, *ONE_FRAME).measured
    on_another_machine(monkeypatch, **change)
    again = sweep(recipe_file, tmp_path, *ONE_FRAME)
    assert (again.run, again.ran) == (first.run, [])
    assert len(again.measured) == 3
    # A grown grid takes over what was measured under these conditions, and only that.
    wider = "methods.maskvd.static_keep_rate=[0.5, 0.2, 0.8]"
    grown = sweep(recipe_file, tmp_path, *ONE_FRAME, wider)
    assert len(grown.measured) == 1
    monkeypatch.undo()
    back = sweep(recipe_file, tmp_path, *ONE_FRAME, wider)
    assert len(back.measured) == 4
    conditions = [record(back.run, "memory", p.key).conditions for p in back.run.plan().points]
    assert all(found == conditions[0] for found in conditions)


def test_under_another_estimator_all_is_measured_again(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sweep(recipe_file, tmp_path, *ONE_FRAME)
    monkeypatch.setattr(Memory, "estimator", Memory.estimator + 1)
    again = sweep(recipe_file, tmp_path, *ONE_FRAME)
    assert again.run != first.run
    assert again.ran == []
    assert [found.estimator for found in again.measured] == [2, 2, 2]


def test_what_does_not_fit_is_replaced_by_what_an_earlier_run_has(
    recipe_file: Path, tmp_path: Path
) -> None:
    first = sweep(recipe_file, tmp_path, *MEMORY)
    time.sleep(1.1)
    newer = sweep(recipe_file, tmp_path, *MEMORY, fresh=True)
    assert newer.run != first.run
    key = first.measured[0].key
    wrong = newer.measured[0].model_copy(update={"protocol": {"frames": 2, "seed": 0}})
    newer.run.write_measured(wrong)
    again = sweep(recipe_file, tmp_path, *MEMORY)
    assert (again.run, list(again.measured)) == (newer.run, [])
    assert record(newer.run, "memory", key) == record(first.run, "memory", key)


def test_a_failure_is_measured_again_only_where_asked_for(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Memory, *_: Any) -> Any:
        raise RuntimeError("no memory left")
        yield

    monkeypatch.setattr(Memory, "run", broken)
    first = sweep(recipe_file, tmp_path, *MEMORY)
    assert [found.failure and found.failure.message for found in first.measured] == [
        "no memory left"
    ] * 3
    monkeypatch.undo()
    assert not sweep(recipe_file, tmp_path, *MEMORY).measured
    again = sweep(recipe_file, tmp_path, *MEMORY, retry_failed=True)
    assert [found.status for found in again.measured] == ["ok"] * 3


def test_a_baseline_that_fails_says_so_of_all_points(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskvd_cli.methods.dense import Dense

    def broken(self: Dense, *given: Any, **more: Any) -> Any:
        raise ZeroDivisionError("dense is broken")

    sweep(recipe_file, tmp_path, "metrics=[]", "detections=labels")
    monkeypatch.setattr(Dense, "step", broken)
    made = sweep(recipe_file, tmp_path, *LATENCY)
    reasons = [found.failure.message for found in made.measured if found.failure]
    assert reasons == ["dense is broken", *["the baseline failed: dense is broken"] * 2]


def test_a_bug_in_one_metric_costs_no_other(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Latency, *_: Any) -> Any:
        raise KeyError("oops")

    monkeypatch.setattr(Latency, "summarise", broken)
    made = sweep(recipe_file, tmp_path, "metrics=[memory, latency]", "detections=labels")
    assert {(found.of, found.status) for found in made.measured} == {
        ("memory", "ok"), ("latency", "failed"),
    }  # fmt: skip


def test_a_killed_session_loses_one_round_at_most(recipe_file: Path, tmp_path: Path) -> None:
    given = [*LATENCY, "latency.rounds=8", "latency.frames=2"]
    options = [word for text in given for word in ("--set", text)]
    command = [
        sys.executable, "-m", "maskvd_cli", "sweep", str(recipe_file), "--results", str(tmp_path),
        "--quiet", *options,
    ]  # fmt: skip
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 200
    while len(list(tmp_path.glob("**/part-round-*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (run,) = [Run(path.parent) for path in tmp_path.glob("*/*/plan.json")]
    (session,) = open_sessions(run.folder, "latency")
    before = {path: path.read_bytes() for path in session.folder.glob("part-round-*.npz")}
    assert 3 <= len(before) < 8
    assert not list(run.folder.glob("measured/latency/*.json"))
    again = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=500
    )
    assert again.returncode == 0
    assert open_sessions(run.folder, "latency") == []
    (samples,) = [run.session(path.stem.removeprefix("session-"))
                  for path in run.folder.glob("measured/latency/session-*.parquet")]  # fmt: skip
    assert path_names(run) == {session.name}
    assert samples["round"].nunique() == 8
    for path, content in before.items():
        assert content, path
    records = [json.loads(p.read_text()) for p in run.folder.glob("measured/latency/*.json")]
    assert {found["details"]["rounds"] for found in records} == {8}


def path_names(run: Run) -> set[str]:
    """Return the sessions whose raw samples are kept."""
    found = run.folder.glob("measured/latency/session-*.parquet")
    return {path.stem.removeprefix("session-") for path in found}


def test_a_session_of_other_points_or_conditions_does_not_go_on(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_rounds = Latency.run

    def killed(self: Latency, *given: Any) -> Any:
        for piece in run_rounds(self, *given):
            yield piece
            if piece.part == "round-00000":
                raise KeyboardInterrupt

    monkeypatch.setattr(Latency, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(recipe_file, tmp_path, *LATENCY)
    monkeypatch.undo()
    (run,) = [Run(path.parent) for path in tmp_path.glob("*/*/plan.json")]
    (first,) = open_sessions(run.folder, "latency")
    assert {piece.part for piece in first.pieces()} == {"begin", "round-00000"}
    on_another_machine(monkeypatch, processor="Another")
    made = sweep(recipe_file, tmp_path, *LATENCY)
    assert made.run == run
    assert first.name not in path_names(run)
    assert {found.conditions["processor"] for found in made.measured} == {"Another"}


def test_selection_is_not_patched(recipe_file: Path, tmp_path: Path) -> None:
    before = dict(vars(MaskVD))
    sweep(recipe_file, tmp_path, *LATENCY)
    assert dict(vars(MaskVD)) == before
