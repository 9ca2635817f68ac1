"""Files appear whole or not at all, and never inside a dataset's folder."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.atomic import refuse_inside, remove_leftovers, write_atomic, write_bytes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_new_file_in_folders_that_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "new.json"
    write_bytes(path, b"content\r\n\0")
    assert path.read_bytes() == b"content\r\n\0"
    assert names(path.parent) == ["new.json"]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old and longer")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file.json"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_not_replaced(linked: bool, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = pipe
    if linked:
        path = tmp_path / "link"
        path.symlink_to(pipe)
    with pytest.raises(ResultError, match="is no regular file; name a file"):
        write_bytes(path, b"new")
    assert pipe.is_fifo() and path.is_symlink() == linked
    assert names(tmp_path) == sorted({"pipe", path.name})


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old")

    def write(temporary: Path) -> None:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"

    write_atomic(path, write)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("old", [b"old", None])
@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt(), SystemExit(1)])
def test_a_writer_that_fails_leaves_everything_as_it_was(
    error: BaseException, old: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "file.json"
    if old is not None:
        path.write_bytes(old)
    before = names(tmp_path)

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"half of it")
        raise error

    with pytest.raises(type(error)) as caught:
        write_atomic(path, write)
    assert caught.value is error
    assert names(tmp_path) == before
    assert old is None or path.read_bytes() == old


def test_a_disk_that_is_full_is_no_bug(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old")

    def write(temporary: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(
        ResultError, match=r"cannot be written \(No space left on device\)"
    ) as caught:
        write_atomic(path, write)
    assert str(caught.value).startswith(f"{path}: ")
    assert (names(tmp_path), path.read_bytes()) == (["file.json"], b"old")


def test_errors_of_the_system_without_a_number(tmp_path: Path) -> None:
    def write(temporary: Path) -> None:
        raise OSError("odd")

    with pytest.raises(ResultError, match=r"cannot be written \(odd\)"):
        write_atomic(tmp_path / "file.json", write)


@pytest.mark.parametrize("name", ["file/below", "file/be/low", "folder", "x" * 300 + "/y"])
def test_places_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    with pytest.raises(ResultError, match="cannot be written") as caught:
        write_bytes(path, b"new")
    assert str(caught.value).startswith(f"{path}: ")
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("old_mode", [None, 0o600, 0o777])
def test_permissions_follow_the_umask(old_mode: int | None, umask: int, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    if old_mode is not None:
        path.touch()
        path.chmod(old_mode)
    write_bytes(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert os.umask(umask) == umask


def test_a_link_is_replaced_and_what_it_names_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    path = tmp_path / "file.json"
    path.symlink_to(tmp_path / "target")
    write_bytes(path, b"new")
    assert not path.is_symlink()
    assert (path.read_bytes(), (tmp_path / "target").read_bytes()) == (b"new", b"old")


ENDLESS = """
import itertools, sys
from pathlib import Path
from maskvd_cli.store.atomic import write_bytes
for number in itertools.count():
    write_bytes(Path(sys.argv[1]), b"%d" % (number % 10) * 300_000)
"""


def _whole(path: Path) -> bytes:
    content = path.read_bytes()
    assert content == content[:1] * 300_000
    return content[:1]


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    for versions in range(1, 7):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)]) as writer:
            try:
                while not path.exists():
                    assert writer.poll() is None
                    time.sleep(0.001)
                seen = {_whole(path)}
                while len(seen) < versions:
                    assert writer.poll() is None
                    seen.add(_whole(path))
            finally:
                writer.kill()
        _whole(path)


@pytest.mark.parametrize(
    "output", ["data", "data/x.npz", "data/a/b.npz", "out/../data/x", "link/x"]
)
def test_no_output_inside_the_dataset(output: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    place = tmp_path / output
    with pytest.raises(ResultError, match="inside the dataset's folder") as caught:
        refuse_inside(place, tmp_path / "data")
    assert str(caught.value).startswith(f"{place}: ")
    with pytest.raises(ResultError, match="inside the dataset's folder"):
        refuse_inside(place, tmp_path / "link")


def test_no_output_inside_the_dataset_by_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(ResultError, match="inside the dataset's folder"):
        refuse_inside(Path("x.npz"), tmp_path / "data")
    with pytest.raises(ResultError, match="inside the dataset's folder"):
        refuse_inside(Path("x.npz"), Path())


@pytest.mark.parametrize("output", ["x.npz", "data2/x.npz", "data.npz", "data/../x.npz"])
def test_outputs_beside_the_dataset(output: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    refuse_inside(tmp_path / output, tmp_path / "data")


def test_leftover_folders_go_too(tmp_path: Path) -> None:
    (tmp_path / ".maskvd-0.part" / "inner").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []
