"""Files whose content is known are not read again, and whatever writes to one makes it unknown."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store import digests, places, stamps
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.places import part_of
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import PointRecord
from maskvd_cli.store.sealed import sealed_text
from maskvd_cli.store.stamps import Stamps, look

from .test_runs import KEY, begun, record


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files as known that were written a moment ago."""
    monkeypatch.setattr(stamps, "_SETTLED_NS", -1_000_000_000)


@pytest.fixture
def traced(tmp_path: Path) -> Run:
    """A run with a point of two clips."""
    run = begun(tmp_path / "run", KEY)
    for number in range(2):
        run.write_piece(Piece(KEY, part_of(number), {"out/score": np.full(3, number / 2)}))
    run.write_point(record().model_copy(update={"pieces": 2}), pd.DataFrame({"tokens": [9.0]}))
    return run


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pieces that are read."""
    names: list[str] = []
    plain = digests.read_named

    def noting(path: Path, digest: str | None) -> bytes:
        names.append(path.name)
        return plain(path, digest)

    monkeypatch.setattr(digests, "read_named", noting)
    return names


def point(run: Run) -> PointRecord:
    found = run.point(KEY)
    assert found is not None
    return found


def piece(run: Run, number: int = 1) -> Path:
    return run.folder / places.piece(KEY, number)


def test_known_pieces_are_read_only_when_asked_for(
    settled: None, traced: Run, read: list[str]
) -> None:
    assert traced.is_whole(point(traced))
    assert read == []
    assert traced.is_whole(point(traced), read_all=True)
    assert read == ["00000.npz", "00001.npz"]


def test_what_was_written_a_moment_ago_is_read(traced: Run, read: list[str]) -> None:
    assert traced.is_whole(point(traced))
    assert read == ["00000.npz", "00001.npz"]


def change_in_place(path: Path) -> None:
    """Change one byte, and set the times of the content back."""
    before = path.stat()
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    copy = path.with_suffix(".copy")
    content = path.read_bytes()
    copy.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(copy, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    copy.replace(path)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("change", [change_in_place, replace, shorten, Path.unlink])
def test_a_change_is_seen_though_nothing_else_is_read(
    change: object, settled: None, traced: Run, read: list[str]
) -> None:
    assert callable(change)
    change(piece(traced))
    assert not traced.is_whole(point(traced))
    assert read == ["00001.npz"]


def test_another_file_of_the_same_content_is_whole(
    settled: None, traced: Run, read: list[str]
) -> None:
    content = piece(traced).read_bytes()
    piece(traced).unlink()
    piece(traced).write_bytes(content)
    assert traced.is_whole(point(traced))
    assert read == ["00001.npz"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        sealed_text({"files": []}),
        sealed_text({"files": {"00000.npz": None, "00001.npz": ["a" * 64, 1]}}),
        sealed_text({"files": {"00001.npz": [7, 1, 1, 1, 1, 1]}}),
        sealed_text({"files": {"00001.npz": ["a" * 64, "1", 1, 1, 1, 1]}}),
    ],
)
def test_damaged_stamps_are_no_stamps(
    text: bytes, settled: None, traced: Run, read: list[str]
) -> None:
    (traced.folder / places.stamps(KEY)).write_bytes(text)
    assert traced.is_whole(point(traced))
    assert read == ["00000.npz", "00001.npz"]


def test_a_digest_that_was_changed_with_its_checksum_is_told(settled: None, traced: Run) -> None:
    path = traced.folder / places.stamps(KEY)
    forged = Stamps.read(path)
    forged.note(piece(traced), look(piece(traced)), "a" * 64)
    forged.write(path)
    assert not traced.is_whole(point(traced))
    assert traced.is_whole(point(traced), read_all=True)


def test_pieces_that_were_taken_over_are_known(
    settled: None, traced: Run, read: list[str], tmp_path: Path
) -> None:
    other = begun(tmp_path / "other", KEY)
    other.adopt(point(traced), traced)
    assert other.is_whole(point(other))
    assert read == []
    change_in_place(piece(other))
    assert not other.is_whole(point(other))
    with pytest.raises(ResultError, match="a piece is missing or was changed"):
        begun(tmp_path / "third", KEY).adopt(point(other), other)
