"""Heatmap files: what is written comes back, and no file of others' making does harm."""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.arrays import load_heatmap, save_arrays

COUNTS = np.arange(6, dtype=np.float64).reshape(2, 3)


def npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


METADATA = npy(np.array("{}"))


def header(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    """The beginning of an array file, without the array."""
    stream = io.BytesIO()
    entry = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, entry)
    return stream.getvalue()


def archive(path: Path, **members: bytes) -> Path:
    """Write a zip file with one member `name.npy` per argument."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ResultError) as caught:
        load_heatmap(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith("; make one with `maskvd heatmap -o heatmap.npz`")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_a_heatmap_comes_back_with_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "below" / "h.npz"
    metadata = {"dataset": "kitti", "canvas": "2x3", "word": "ü", "deep": {"n": [1, None, 0.5]}}
    save_arrays(path, {"heatmap": COUNTS, "more": np.ones(4, bool)}, metadata)
    heatmap, found = load_heatmap(path)
    assert heatmap.dtype == np.float64
    np.testing.assert_array_equal(heatmap, COUNTS)
    assert found == metadata
    assert [file.name for file in path.parent.iterdir()] == ["h.npz"]
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file.files) == ["heatmap", "metadata", "more"]


@pytest.mark.parametrize("kind", ["u1", "i8", "f2", "f4", ">f8", ">i2"])
def test_counts_of_any_number_type_become_float64(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    save_arrays(path, {"heatmap": np.asfortranarray(COUNTS.astype(kind))}, {})
    heatmap, _ = load_heatmap(path)
    assert heatmap.dtype == np.dtype("=f8")
    np.testing.assert_array_equal(heatmap, COUNTS)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_metadata_that_is_no_json_is_not_written(number: float, tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_arrays(path, {"heatmap": COUNTS}, {"share": number})
    assert not list(tmp_path.iterdir())


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.marker,)


@pytest.mark.parametrize("place", ["heatmap", "metadata"])
def test_pickled_objects_are_never_run(place: str, tmp_path: Path) -> None:
    path, marker = tmp_path / "h.npz", tmp_path / "marker"
    loaded = np.empty((1, 1), dtype=object)
    loaded[0, 0] = Payload(marker)
    arrays: dict[str, Any] = {"heatmap": COUNTS, "metadata": np.array("{}")} | {place: loaded}
    np.savez(path, **arrays)
    assert refusal(path).startswith("no heatmap file (Object arrays cannot be loaded")
    assert not marker.exists()
    with np.load(path, allow_pickle=True) as file:
        assert file[place].shape == (1, 1)
    assert marker.exists()


def test_a_bare_pickle_is_never_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "h.npz"
    np.array(Payload(marker), dtype=object).dump(path)
    assert refusal(path).startswith("no heatmap file (")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (np.float64(3), " of float64"),
        (np.ones(4), "4 of float64"),
        (np.ones((1, 2, 3)), "1x2x3 of float64"),
        (np.ones((0, 3)), "0x3 of float64"),
        (np.ones((2, 3), bool), "2x3 of bool"),
        (np.ones((2, 3), complex), "2x3 of complex128"),
        (np.full((2, 3), "1"), "2x3 of <U1"),
        (np.zeros((2, 3), "M8[s]"), "2x3 of datetime64[s]"),
        (np.zeros((2, 3), [("a", "f8")]), "2x3 of [('a', '<f8')]"),
    ],
)
def test_arrays_that_are_no_rows_and_columns_of_numbers(
    array: NDArray[Any], shown: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "h.npz", heatmap=npy(array), metadata=METADATA)
    text = refusal(path)
    assert text.startswith(f"array heatmap is {shown}, expected rows x columns of numbers; ")


@pytest.mark.parametrize("number", [-1.0, -1e-300, np.nan, np.inf, -np.inf])
def test_counts_that_cannot_be(number: float, tmp_path: Path) -> None:
    counts = COUNTS.copy()
    counts[1, 2] = number
    path = archive(tmp_path / "h.npz", heatmap=npy(counts), metadata=METADATA)
    assert refusal(path).startswith("counts outside 0..2^53")


def test_negative_whole_numbers(tmp_path: Path) -> None:
    path = archive(tmp_path / "h.npz", heatmap=npy(np.full((1, 1), -1)), metadata=METADATA)
    assert refusal(path).startswith("counts outside 0..2^53")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\x03\x04" + b"\0" * 40, b"{}", b"\x89PNG\r\n\x1a\n", npy(COUNTS)]
)
def test_files_that_are_no_archives(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    path.write_bytes(content)
    assert refusal(path).startswith("no heatmap file (")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "h.npz").startswith("no such heatmap file; ")


def test_a_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith("no heatmap file (")


def test_archives_without_what_is_needed(tmp_path: Path) -> None:
    path = archive(tmp_path / "h.npz", metadata=METADATA)
    assert "heatmap" in refusal(path).removeprefix("no heatmap file (")
    path = archive(tmp_path / "h.npz", heatmap=npy(COUNTS))
    assert "metadata" in refusal(path)
    with zipfile.ZipFile(path, "w"):
        pass
    assert refusal(path).startswith("no heatmap file (")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("[]", "no heatmap file (metadata is no JSON object)"),
        ("5", "no heatmap file (metadata is no JSON object)"),
        ("null", "no heatmap file (metadata is no JSON object)"),
        ("", "no heatmap file ("),
        ("{", "no heatmap file ("),
        ("[" * 100_000, "no heatmap file ("),
        ("1" * 10_000, "no heatmap file ("),
    ],
)
def test_metadata_that_is_no_json_object(metadata: str, reason: str, tmp_path: Path) -> None:
    content = npy(np.array(metadata))
    path = archive(tmp_path / "h.npz", heatmap=npy(COUNTS), metadata=content)
    assert refusal(path).startswith(reason)


@pytest.mark.parametrize("content", [npy(np.ones((2, 2))), npy(np.array(["{}"])), b"{}", b""])
def test_metadata_that_is_no_text(content: bytes, tmp_path: Path) -> None:
    refusal(archive(tmp_path / "h.npz", heatmap=npy(COUNTS), metadata=content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"xx",
        npy(COUNTS)[:-1],
        npy(COUNTS)[:20],
        header((10**7, 10**7)),
        header((10**12, 10**12)),
        header((-1, 3)),
        header((2, 3), "|O"),
        header((2, 3), "|V99999999"),
    ],
)
def test_members_that_are_no_array_or_a_broken_one(content: bytes, tmp_path: Path) -> None:
    refusal(archive(tmp_path / "h.npz", heatmap=content, metadata=METADATA))


def _with_declared_size(path: Path, size: int) -> None:
    """Let the archive's directory say that its first member unpacks to `size` bytes."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = size.to_bytes(4, "little")
    path.write_bytes(content)


def test_archives_that_unpack_to_too_much(tmp_path: Path) -> None:
    path = archive(tmp_path / "h.npz", heatmap=npy(COUNTS), metadata=METADATA)
    _with_declared_size(path, (1 << 31) + 1)
    assert refusal(path).startswith("no heatmap file (more than 2 GiB when unpacked)")


def test_too_much_is_counted_over_all_members(tmp_path: Path) -> None:
    path = archive(tmp_path / "h.npz", other=b"x", heatmap=npy(COUNTS), metadata=METADATA)
    _with_declared_size(path, (1 << 31) - 10)
    assert refusal(path).startswith("no heatmap file (more than 2 GiB when unpacked)")


def test_archives_that_declare_less_than_they_hold(tmp_path: Path) -> None:
    path = archive(tmp_path / "h.npz", heatmap=npy(np.zeros((1000, 1000))), metadata=METADATA)
    _with_declared_size(path, 200)
    assert refusal(path).startswith("no heatmap file (")


@pytest.mark.parametrize(("offset", "byte"), [(8, 1), (10, 99)], ids=["encrypted", "unknown"])
def test_packing_that_cannot_be_undone(offset: int, byte: int, tmp_path: Path) -> None:
    path = archive(tmp_path / "h.npz", heatmap=npy(COUNTS), metadata=METADATA)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[offset - 2] = content[entry + offset] = byte
    path.write_bytes(content)
    assert refusal(path).startswith("no heatmap file (")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "h.npz"
    counts = np.random.default_rng(0).random((12, 9))
    save_arrays(path, {"heatmap": counts}, {"dataset": "kitti"})
    return path


@given(st.data())
def test_damaged_files_are_read_or_refused(good: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    places = st.integers(0, len(content) - 1)
    for place, byte in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=4)).items():
        content[place] = byte
    if data.draw(st.booleans()):
        del content[data.draw(places) :]
    path = good.with_name("damaged.npz")
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            heatmap, metadata = load_heatmap(path)
        except ResultError as error:
            assert str(error).startswith(f"{path}: ")
            return
    assert heatmap.ndim == 2
    assert np.isfinite(heatmap).all()
    json.dumps(metadata)


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_metadata_holds_finite_numbers_only(tmp_path: Path, number: str) -> None:
    path = tmp_path / "heatmap.npz"
    np.savez(path, heatmap=np.ones((2, 2)), metadata=np.array(f'{{"x": {number}}}'))
    with pytest.raises(ResultError, match="no finite number"):
        load_heatmap(path)


def test_counts_are_counts(tmp_path: Path) -> None:
    path = tmp_path / "heatmap.npz"
    np.savez(path, heatmap=np.full((2, 2), 1e308), metadata=np.array("{}"))
    with pytest.raises(ResultError, match="outside"):
        load_heatmap(path)


def members(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: np.asarray(file[name]) for name in file.files}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"heatmap": COUNTS + (COUNTS == 4)}, "the checksum of heatmap does not fit"),
        ({"heatmap": COUNTS.astype(np.float32)}, "the checksum of heatmap does not fit"),
        ({"heatmap": COUNTS.reshape(3, 2)}, "the checksum of heatmap does not fit"),
        ({"more": None}, "an array is missing, or one too many"),
        ({"extra": np.zeros(1)}, "an array is missing, or one too many"),
    ],
)
def test_a_changed_array_is_told(
    change: dict[str, NDArray[Any] | None], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "h.npz"
    save_arrays(path, {"heatmap": COUNTS, "more": np.ones(4)}, {"dataset": "kitti"})
    changed = {name: array for name, array in (members(path) | change).items() if array is not None}
    np.savez_compressed(path, **changed)  # pyright: ignore[reportArgumentType]
    assert refusal(path).startswith(f"no heatmap file ({said}")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kitti", "kitty", "the checksum does not fit"),
        ('"sha256": "', '"sha256": "0', "the checksum does not fit"),
        ('"sealed": {', '"sealed": [], "other": {', "its checksums are damaged"),
        ('"sealed": {"arrays"', '"sealed": {"others"', "its checksums are damaged"),
        ('"arrays": {', '"arrays": {"x": 1, ', "the checksum does not fit"),
    ],
)
def test_changed_metadata_are_told(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    save_arrays(path, {"heatmap": COUNTS}, {"dataset": "kitti"})
    stored = members(path)
    text = str(stored["metadata"])
    assert old in text
    np.savez(path, heatmap=stored["heatmap"], metadata=np.array(text.replace(old, new, 1)))
    assert refusal(path).startswith(f"no heatmap file ({said}")


def test_files_larger_than_a_heatmap_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    path.touch()
    os.truncate(path, (1 << 31) + 1)
    assert refusal(path).startswith("no heatmap file (larger than 2 GiB)")


def test_files_of_before_have_no_checksum(tmp_path: Path) -> None:
    path = tmp_path / "h.npz"
    np.savez_compressed(path, heatmap=COUNTS, more=np.ones(4), metadata='{"dataset": "kitti"}')
    heatmap, metadata = load_heatmap(path)
    np.testing.assert_array_equal(heatmap, COUNTS)
    assert metadata == {"dataset": "kitti"}


def test_the_place_of_checksums_is_not_given_away(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="metadata hold sealed"):
        save_arrays(tmp_path / "h.npz", {"heatmap": COUNTS}, {"sealed": 1})
    assert not list(tmp_path.iterdir())
