"""Arrays that check themselves: every digit back, damage told, nothing allocated on a lie."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store import parts
from maskvd_cli.store.parts import digests_in, names_in, read_parts, write_parts
from maskvd_cli.store.records import NewerResultError
from maskvd_cli.store.sealed import sealed_text, sha256_of_array

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


def test_what_a_changed_file_says_of_itself_is_read_or_told(tmp_path: Path) -> None:
    """Not every reader unpacks the arrays, and an archive may say that it is encrypted."""
    path = tmp_path / "a.npz"
    write_parts(path, {"a": np.arange(2)}, {})
    content, refused = path.read_bytes(), 0
    for place in range(len(content)):
        damaged = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        path.write_bytes(damaged)
        for read in (partial(digests_in, path, damaged), partial(names_in, path)):
            try:
                read()
            except ResultError:
                refused += 1
    assert refused > len(content) / 2


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
    ("content", "said"),
    [
        (b"", "File is not a zip file"),
        (b"no archive", "File is not a zip file"),
        (member(header("(99999999999,)")), "an array of 0 bytes that says it has another size"),
        (member(header("(1,)") + bytes(16)), "an array of 16 bytes that says it has another size"),
        (member(header("(2,)", "|O") + bytes(16)), "an array of object, not of numbers"),
        (member(header("(2,)", "<U2") + bytes(16)), "an array of <U2, not of numbers"),
        (member(header("(2, 2)").replace(b"False", b"True ") + bytes(32)), "stored by columns"),
        (member(header("(1,)").replace(b"\x01\x00", b"\x02\x00", 1) + bytes(8)),
         r"an array of version \(2, 0\)"),
        (member(b"no array"), "magic string"),
        (member(header("(1,)") + bytes(8)), "'metadata'"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_ours_is_damaged(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ResultError, match=rf"damaged result file \(.*{said}"):
        read_parts(tmp_path / "a.npz")


def test_what_cannot_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_LARGEST", 1 << 10)
    with pytest.raises(ResultError, match="800 bytes are too many for one file; split it"):
        write_parts(tmp_path / "a.npz", {"a": np.zeros(100)}, {})
    assert not list(tmp_path.iterdir())
    write_parts(tmp_path / "a.npz", {"a": np.zeros(10)}, {})
    monkeypatch.setattr(parts, "_LARGEST", 100)
    with pytest.raises(ResultError, match="larger than 0 MiB"):
        read_parts(tmp_path / "a.npz")


def test_a_newer_file_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SCHEMA_VERSION", 99)
    write_parts(tmp_path / "a.npz", ARRAYS, {})
    monkeypatch.undo()
    with pytest.raises(NewerResultError, match="schema 99, this one reads 5"):
        read_parts(tmp_path / "a.npz")


def changed_metadata(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the metadata of a file and seal them again."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    stream = io.BytesIO(members["metadata.npy"])
    content = json.loads(np.load(stream).tobytes())
    change(content)
    text = io.BytesIO()
    np.save(text, np.frombuffer(sealed_text(content), dtype=np.uint8))
    members["metadata.npy"] = text.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(facts=[]), "its facts are missing"),
        (lambda c: c.update(arrays=None), "its facts are missing"),
        (lambda c: c["arrays"].pop("none"), "an array is missing"),
        (lambda c: c["arrays"].update(more="0" * 64), "an array is missing"),
        (lambda c: c["arrays"].update(score="0" * 64), "the checksum of score does not fit"),
        (lambda c: c["arrays"].update(score=5), "the checksum of score does not fit"),
    ],
)
def test_metadata_that_do_not_fit_the_arrays(
    change: Callable[[dict[str, Any]], object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    write_parts(path, ARRAYS, {"clip": "x"})
    changed_metadata(path, lambda content: None)
    assert read_parts(path)[1] == {"clip": "x"}
    changed_metadata(path, change)
    with pytest.raises(ResultError, match=said):
        read_parts(path)


def test_facts_that_were_changed_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_parts(path, {}, {"clip": "x"})
    with zipfile.ZipFile(path) as archive:
        content = archive.read("metadata.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.npy", content.replace(b'"clip":"x"', b'"clip":"y"'))
    with pytest.raises(ResultError, match="the checksum does not fit"):
        read_parts(path)


def test_the_sum_of_an_array_sees_type_and_shape() -> None:
    same = (np.zeros(4, "<f8"), np.zeros(4, "<i8"), np.zeros((2, 2), "<f8"), np.zeros(4, ">f8"))
    assert len({sha256_of_array(array) for array in same}) == 4
    rows = np.arange(6.0).reshape(2, 3)
    assert sha256_of_array(np.asfortranarray(rows)) == sha256_of_array(rows)


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
