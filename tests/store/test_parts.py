"""Arrays that check themselves: every digit back, damage told, nothing allocated on a lie."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store import parts
from maskvd_cli.store.parts import read_parts, write_parts

ARRAYS = {
    "score": np.array([0.5, 0.25], dtype=np.float32),
    "full": np.array([True, False]),
    "0/box": np.arange(8.0).reshape(2, 4),
    "none": np.zeros((0, 4), dtype=np.int16),
}


def test_what_is_written_comes_back_and_the_same_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_parts(tmp_path / name, ARRAYS, {"clip": "x"})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    arrays, facts = read_parts(tmp_path / "a.npz")
    assert facts == {"clip": "x"}
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert (arrays[name] == array).all()


def test_any_changed_byte_is_told_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_parts(path, ARRAYS, {"clip": "x"})
    content, told = path.read_bytes(), 0
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            arrays, facts = read_parts(path)
        except ResultError:
            told += 1
            continue
        assert facts == {"clip": "x"}
        assert all((arrays[name] == array).all() for name, array in ARRAYS.items())
    assert told > len(content) / 7 / 2


def member(array: bytes, name: str = "a.npy") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, array)
    return packed.getvalue()


def header(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        member(header("(99999999999,)")),
        member(header("(2,)", "|O") + bytes(16)),
        member(b"no array"),
        member(header("(1,)") + bytes(8)),
    ],
)
def test_what_is_no_file_of_ours_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ResultError, match="damaged"):
        read_parts(tmp_path / "a.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(member(header("(33554432,)") + bytes(1 << 28)))
    with pytest.raises(ResultError, match="far larger unpacked"):
        read_parts(tmp_path / "a.npz")


def test_what_packs_too_well_is_stored_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_UNPACKED", 1 << 10)
    zeros = np.zeros(1 << 20)
    write_parts(tmp_path / "a.npz", {"zeros": zeros}, {})
    arrays, _ = read_parts(tmp_path / "a.npz")
    assert (arrays["zeros"] == zeros).all()
