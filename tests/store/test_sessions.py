"""Sessions that are going on: what is whole is kept, what is damaged is made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskvd_cli.store.piece import Piece
from maskvd_cli.store.sessions import open_session, open_sessions


def test_pieces_come_back_as_they_were(tmp_path: Path) -> None:
    session = open_session(tmp_path, "latency", "abc")
    session.begin({"keys": ["k"], "seed": 0})
    pieces = [
        Piece("", "round-00000", {"total_ms": np.array([1.5, 2.5])}, {"clip": "a b"}),
        Piece("k", "dropped-00000", facts={"failure": {"kind": "X", "message": "y"}}),
    ]
    for piece in pieces:
        session.write(piece)
    (again,) = open_sessions(tmp_path, "latency")
    assert (again.name, again.manifest()) == ("abc", {"keys": ["k"], "seed": 0})
    read = {piece.part: piece for piece in again.pieces()}
    assert set(read) == {"round-00000", "dropped-00000"}
    assert read["round-00000"].arrays["total_ms"].tolist() == [1.5, 2.5]
    assert [read[piece.part].facts for piece in pieces] == [piece.facts for piece in pieces]
    assert read["dropped-00000"].key == "k"
    again.forget(read["dropped-00000"])
    assert [piece.part for piece in again.pieces()] == ["round-00000"]
    again.close()
    assert open_sessions(tmp_path, "latency") == []


def test_a_damaged_piece_is_none(tmp_path: Path) -> None:
    session = open_session(tmp_path, "latency", "abc")
    session.begin({})
    for number in range(2):
        session.write(Piece("", f"round-{number}", {"x": np.arange(5)}))
    path = session.folder / "part-round-1.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert [piece.part for piece in session.pieces()] == ["round-0"]
    (session.folder / "manifest.npz").write_bytes(b"no file")
    assert session.manifest() is None


@pytest.mark.parametrize("name", ["../x", "a/b", ""])
def test_a_session_is_a_name_and_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        open_session(tmp_path, "latency", name)
