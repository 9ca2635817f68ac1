"""Runs that were killed as they began: removed by the next sweep, passed over by reports."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.locking import remove_unbegun
from maskvd_cli.store.runs import Run, find_run, runs_below

from .test_runs import KEY, begun

PART = ".maskvd-0123456789abcdef.part"


def abandoned(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_what_a_kill_at_the_first_write_left_is_removed(tmp_path: Path) -> None:
    folder = abandoned(tmp_path / "20250101T000000Z-aaaaaa", ".lock", PART)
    other = abandoned(tmp_path / "20250101T000001Z-aaaaaa", ".lock")
    remove_unbegun([folder, other])
    assert list(tmp_path.iterdir()) == []


def test_all_else_stays(tmp_path: Path) -> None:
    run = begun(tmp_path / "20250101T000000Z-aaaaaa", KEY)
    (run.folder / ".lock").touch()
    own = abandoned(tmp_path / "mine", "notes.txt", ".lock")
    empty = abandoned(tmp_path / "empty")
    link = tmp_path / "link"
    link.symlink_to(abandoned(tmp_path / "20250101T000002Z-aaaaaa", ".lock"))
    file = tmp_path / "file"
    file.touch()
    remove_unbegun([run.folder, own, empty, link, file, tmp_path / "absent"])
    assert all(path.exists() for path in (run.folder, own, empty, link, file))
    assert (own / "notes.txt").exists()


def test_what_a_link_names_is_not_even_locked(tmp_path: Path) -> None:
    target = abandoned(tmp_path / "elsewhere", PART)
    link = tmp_path / "20250101T000000Z-aaaaaa"
    link.symlink_to(target)
    remove_unbegun([link])
    assert [path.name for path in target.iterdir()] == [PART]


def test_a_run_that_begins_just_now_stays(tmp_path: Path) -> None:
    run = Run(tmp_path / "20250101T000000Z-aaaaaa")
    with run.lock():
        remove_unbegun([run.folder])
        assert run.folder.is_dir()


@pytest.mark.parametrize("names", [("environment.json", "recipe.yaml"), ("environment.json",)])
def test_the_newest_whole_run_is_found_with_a_note(names: tuple[str, ...], tmp_path: Path) -> None:
    whole = begun(tmp_path / "small" / "20250101T000000Z-aaaaaa", KEY)
    killed = begun(tmp_path / "small" / "20250102T000000Z-aaaaaa", KEY)
    for name in names:
        (killed.folder / name).unlink()
    notes: list[str] = []
    assert find_run(tmp_path, notes.append) == whole
    assert notes == [
        f"note: {killed.folder} was killed as it began; this is the newest whole run"
    ]  # fmt: skip
    assert find_run(killed.folder) == killed
    assert find_run(tmp_path, begun=False) == killed


def test_where_no_run_is_whole_the_newest_is_told(tmp_path: Path) -> None:
    killed = begun(tmp_path / "small" / "20250102T000000Z-aaaaaa", KEY)
    (killed.folder / "environment.json").unlink()
    notes: list[str] = []
    assert find_run(tmp_path, notes.append) == killed
    assert notes == []


def test_a_clone_names_the_committed_runs(tmp_path: Path) -> None:
    begun(tmp_path / "reference" / "demo" / "20250101T000000Z-aaaaaa", KEY)
    with pytest.raises(ResultError, match="no run here yet") as caught:
        find_run(tmp_path)
    assert str(caught.value).endswith(
        f"or name {tmp_path / 'reference'}, where committed ones are"
    )  # fmt: skip


def test_folders_vanish_between_making_and_locking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")
    real, calls = os.open, []

    def vanishing(path: str, *rest: int, **more: int) -> int:
        if str(path).endswith(".lock") and not calls:
            calls.append(path)
            run.folder.rmdir()
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", vanishing)
    with run.lock():
        assert run.folder.is_dir()
    assert calls


def test_a_plan_that_is_a_link_makes_no_run(tmp_path: Path) -> None:
    real = begun(tmp_path / "results" / "small" / "20250101T000000Z-aaaaaa", KEY)
    other = begun(tmp_path / "elsewhere" / "20250102T000000Z-aaaaaa", KEY)
    fake = tmp_path / "results" / "small" / "20250103T000000Z-aaaaaa"
    fake.mkdir()
    (fake / "plan.json").symlink_to(other.folder / "plan.json")
    assert runs_below(tmp_path / "results") == [real]
