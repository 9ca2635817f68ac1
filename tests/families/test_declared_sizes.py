"""Files that declare more than they hold are refused before anything is allocated."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskvd_cli.families import checkpoints
from maskvd_cli.families.checkpoints import read_tensors
from maskvd_cli.families.vitdet.renaming import CheckpointError


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError, match="refused: ") as caught:
        read_tensors(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert caught.value.remedy
    return text


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("torch or numpy was asked to load the file")

    monkeypatch.setattr(checkpoints.torch, "load", load)
    monkeypatch.setattr(checkpoints.np, "load", load)


@pytest.mark.parametrize("zipped", [True, False])
def test_an_expanded_tensor_is_refused(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    wide = torch.zeros(1).expand(1 << 40)
    torch.save({"a": torch.zeros(9), "wide": wide}, path, _use_new_zipfile_serialization=zipped)
    assert "wide has 4398046511104 bytes, of which 4 are stored" in refused(path)


def test_many_views_of_one_storage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    one = torch.zeros(1 << 20)
    torch.save({f"a{number}": one for number in range(40)}, path)
    assert "its content would take 168 MB, and the file has 4.2 MB" in refused(path)
    torch.save({"a": one, "tied": one}, path)
    assert len(read_tensors(path)) == 2


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_compressed_npz_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(1 << 22))
    assert path.stat().st_size < 1 << 16
    assert "its content would take 34 MB" in refused(path)


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize("version", [1, 2])
def test_an_npz_with_a_false_shape_is_refused(version: int, tmp_path: Path) -> None:
    path, member = tmp_path / "a.npz", io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 12)}
    if version == 1:
        np.lib.format.write_array_header_1_0(member, header)
    else:
        np.lib.format.write_array_header_2_0(member, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", member.getvalue() + bytes(64))
    assert "a.npy declares 1048576x4096 numbers" in refused(path)


def rewritten(source: Path, target: Path, numbers: int, compression: int = 0) -> None:
    """Copy a .pth of one tensor of 4 numbers, declaring `numbers` for its storage."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("/data.pkl"):
                place = content.index(b"K\x04", content.index(b"cpu"))
                content = content[:place] + b"J" + struct.pack("<i", numbers) + content[place + 2 :]
            new.writestr(name, content)


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_pth_whose_storage_declares_too_much_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(4)}, tmp_path / "good.pth")
    rewritten(tmp_path / "good.pth", tmp_path / "bad.pth", 1_000_000)
    text = refused(tmp_path / "bad.pth")
    assert "storage 0 declares 4000000 bytes, and 16 are there" in text


def test_a_rewritten_pth_that_declares_the_truth_is_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(4)}, tmp_path / "good.pth")
    rewritten(tmp_path / "good.pth", tmp_path / "same.pth", 4)
    assert read_tensors(tmp_path / "same.pth")["a"].tolist() == [1.0] * 4


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_pth_with_a_compressed_bomb_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 23)}, tmp_path / "good.pth")
    path = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(tmp_path / "good.pth") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "its content would take 34 MB" in refused(path)


@pytest.mark.usefixtures("nothing_is_loaded")
def test_an_old_pth_whose_storages_declare_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"a": torch.ones(4)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    place = content.index(b"K\x04", content.index(b"cpu"))
    path.write_bytes(
        content[:place] + b"J" + struct.pack("<i", 1_000_000_000) + content[place + 2 :]
    )
    assert "its content would take 4000 MB" in refused(path)


def test_walking_a_pickle_calls_nothing(tmp_path: Path) -> None:
    path, marker = tmp_path / "a.pth", tmp_path / "marker"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return eval, (f"open({str(marker)!r}, 'w')",)

    for protocol in (0, 2, 4):
        torch.save({"a": torch.ones(2), "b": Evil()}, path, pickle_protocol=protocol)
        with pytest.raises(CheckpointError):
            read_tensors(path)
        path.write_bytes(pickle.dumps(Evil(), protocol))
        with pytest.raises(CheckpointError):
            read_tensors(path)
    assert not marker.exists()
