"""Following a run from its files: what is new, what is left, whether a sweep is at work."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.runs import Run
from maskvd_cli.store.sealed import sealed_text
from maskvd_cli.watch.liveness import sweep_state
from maskvd_cli.watch.pace import time_left
from maskvd_cli.watch.progress import Follower, Snapshot
from maskvd_cli.watch.text import duration, headline, live_table, status_of, step_lines

from ..compare import compared_runs as made

FAST, SLOW = "maskvd period=16", "maskvd period=8"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write_measured(tmp_path_factory.mktemp("whole") / "w", made.Spec()).folder


@pytest.fixture
def begun(whole: Path, tmp_path: Path) -> Run:
    """A run of which only the plan is there."""
    shutil.copytree(whole, tmp_path / "run", ignore=lambda *_: ["points", "measured"])
    return Run(tmp_path / "run")


def add(run: Run, whole: Path, name: str, written: float | None = None) -> Path:
    path = run.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(whole / name, path)
    if written is not None:
        os.utime(path, (written, written))
    return path


def statuses(snapshot: Snapshot) -> dict[str, str]:
    return {point.label: status_of(snapshot, point) for point in snapshot.plan.points}


def test_each_file_is_told_once_as_it_appears(begun: Run, whole: Path) -> None:
    follower = Follower(begun)
    assert follower.look().new == ()
    add(begun, whole, "points/dense-k.json")
    first = follower.look()
    assert [(step.of, step.label, step.status) for step in first.new] == [("point", "dense", "ok")]
    assert (first.done, first.total) == (1, 12)
    assert list(step_lines(first)) == ["1/12  point     dense: 100.0 tokens, 1.50 GMACs"]
    assert follower.look().new == ()
    add(begun, whole, "measured/memory/dense-k.json")
    assert [step.of for step in follower.look().new] == ["memory"]


def test_only_changed_files_are_read_again(
    begun: Run, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = Run.point
    monkeypatch.setattr(Run, "point", lambda run, key: read.append(key) or original(run, key))
    path = add(begun, whole, "points/dense-k.json")
    follower = Follower(begun)
    follower.look()
    follower.look()
    assert read == ["dense-k"]
    os.utime(path, (1, 1))
    follower.look()
    assert read == ["dense-k"] * 2


def test_what_is_done_pending_and_half_measured(begun: Run, whole: Path) -> None:
    for key in ("dense-k", "maskvd-period=8-k"):
        add(begun, whole, f"points/{key}.json")
    for of in ("accuracy", "memory", "latency"):
        add(begun, whole, f"measured/{of}/dense-k.json")
    add(begun, whole, "measured/memory/maskvd-period=8-k.json")
    snapshot = Follower(begun).look()
    assert statuses(snapshot) == {"dense": "done", SLOW: "1 of 3 passes", FAST: "pending"}
    assert not snapshot.has_ended
    assert "points 2/3 · accuracy 1/3 · memory 2/3 · latency 1/3" in headline(snapshot)


def test_a_whole_run_has_ended(whole: Path) -> None:
    snapshot = Follower(Run(whole)).look()
    assert snapshot.has_ended
    assert set(statuses(snapshot).values()) == {"done"}
    assert headline(snapshot)[2:] == [headline(snapshot)[2], "all done"]
    assert "nothing left" in headline(snapshot)[2]


def test_points_that_failed_have_no_passes_to_wait_for(tmp_path: Path) -> None:
    run = made.write_measured(tmp_path / "f", made.Spec(failing=(SLOW,)))
    snapshot = Follower(run).look()
    assert snapshot.has_ended
    assert [step.label for step in snapshot.failed] == [SLOW]
    assert statuses(snapshot)[SLOW] == "failed"
    assert "1 FAILED" in headline(snapshot)[1]


def test_damaged_and_half_files_are_no_end(begun: Run, whole: Path) -> None:
    path = add(begun, whole, "points/dense-k.json")
    follower = Follower(begun)
    whole_bytes = path.read_bytes()
    path.write_bytes(whole_bytes[:50])
    snapshot = follower.look()
    assert statuses(snapshot)["dense"] == "damaged"
    assert snapshot.done == 0
    path.write_bytes(whole_bytes)
    snapshot = follower.look()
    assert snapshot.done == 1
    path.unlink()
    assert follower.look().done == 0


def test_without_a_plan_there_is_nothing_to_follow(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"plan\.json"):
        Follower(Run(tmp_path)).look()


def test_a_sweep_at_work_is_seen_and_not_disturbed(begun: Run, whole: Path) -> None:
    if not Path("/proc/locks").exists():
        pytest.skip("this system does not list locks")
    add(begun, whole, "points/dense-k.json")
    follower = Follower(begun)
    assert follower.look().sweep == "not running here"
    with begun.lock():
        snapshot = follower.look()
        assert snapshot.sweep == "running"
        assert statuses(snapshot) == {"dense": "0 of 3 passes", SLOW: "running", FAST: "pending"}
    assert follower.look().sweep == "not running here"
    with begun.lock():
        pass


def test_a_run_is_not_over_while_a_sweep_is_at_work(whole: Path, tmp_path: Path) -> None:
    if not Path("/proc/locks").exists():
        pytest.skip("this system does not list locks")
    shutil.copytree(whole, tmp_path / "run")
    run = Run(tmp_path / "run")
    with run.lock():
        assert not Follower(run).look().has_ended
    assert Follower(run).look().has_ended


def test_where_locks_are_not_listed_nothing_is_claimed(tmp_path: Path) -> None:
    assert sweep_state(tmp_path, tmp_path / "no such list") == "unknown"
    listed = tmp_path / "locks"
    (tmp_path / ".lock").touch()
    status = (tmp_path / ".lock").stat()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line, state in (
        (f"1: FLOCK  ADVISORY  WRITE 12 {place} 0 EOF", "running"),
        (f"1: FLOCK  ADVISORY  WRITE 12 {place}1 0 EOF", "not running here"),
        (f"1: -> FLOCK  ADVISORY  WRITE 12 {place} 0 EOF", "not running here"),
        (f"1: POSIX  ADVISORY  WRITE 12 {place} 0 EOF", "not running here"),
        ("garbage", "not running here"),
    ):
        listed.write_text(f"{line}\n")
        assert sweep_state(tmp_path, listed) == state, line


def test_time_left_is_foretold_from_the_pace(begun: Run, whole: Path) -> None:
    created = Follower(begun).look().created
    assert time_left(Follower(begun).look()).seconds is None
    add(begun, whole, "points/dense-k.json", created + 48)
    found = time_left(Follower(begun).look())
    # Each point took 48 s for 48 frames: 1 s a frame. The second has long been at work by now,
    # memory runs 2 x 4 frames of each point, latency 10 x 8 and 3 to warm up.
    assert found.seconds == pytest.approx(2 * 48 - 48 + 3 * 8 + 3 * 83)
    assert found.without == ("accuracy",)
    for number, key in enumerate(("dense-k", "maskvd-period=8-k", "maskvd-period=16-k")):
        add(begun, whole, f"points/{key}.json", created + 48 * (number + 1))
        add(begun, whole, f"measured/accuracy/{key}.json", created + 145)
    for number, key in enumerate(("dense-k", "maskvd-period=8-k")):
        add(begun, whole, f"measured/memory/{key}.json", created + 150 + 5 * number)
    found = time_left(Follower(begun).look())
    # Memory took 5 s for each point, and the last is at work by now.
    assert found.seconds == pytest.approx(5 - 5 + 3 * 83)
    assert found.without == ()


def test_points_taken_over_from_earlier_runs_say_nothing_of_the_pace(
    begun: Run, whole: Path
) -> None:
    path = add(begun, whole, "points/dense-k.json")
    content = json.loads(path.read_text().replace(made.FINISHED, "2025-01-01T00:00:00Z"))
    path.write_bytes(sealed_text(content))
    snapshot = Follower(begun).look()
    assert snapshot.steps["point", "dense-k"].taken_over
    assert time_left(snapshot).seconds is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (11_100, "3 h 05 min"),
        (259_200, "3 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 12), (200, 50)])
def test_the_table_fits_the_terminal(width: int, height: int, whole: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, width=width, height=height)
    console.print(live_table(Follower(Run(whole)).look(), console))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < height
    assert "mAP50" in text.getvalue()
    assert ("peak MiB" in text.getvalue()) == (width > 60)
    assert ("and 1 more" in text.getvalue()) == (height == 12)
