"""Checkpoint files: nothing in them is run, nothing is loaded half, nothing is written half."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import maskvd_cli
from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.checkpoints import (
    load_into,
    read_metadata,
    read_tensors,
    save,
    sha256_of,
)
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.renaming import CheckpointError, to_our_names

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.tensor(7, dtype=torch.int64)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert "weights_only" not in text or "TorchScript" in text
    assert caught.value.remedy
    return text


class Evil:
    """Creates a file when it is unpickled in the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        lambda tensors: {"model": tensors, "iteration": 7, "optimizer": {"lr": [0.1]}},
        lambda tensors: {"epoch": 3, "state_dict": tensors},
        lambda tensors: {name: nn.Parameter(t, requires_grad=False) for name, t in tensors.items()},
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".PTH"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pth(wrap: Callable[[object], object], suffix: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=zipped)
    read = read_tensors(path)
    assert same(read, TENSORS)
    assert not any(isinstance(tensor, nn.Parameter) for tensor in read.values())


def test_safetensors_of_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(TENSORS, path, {"format": "pt"})
    assert same(read_tensors(path), TENSORS)
    assert read_metadata(path) == {}


def test_npz(tmp_path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in TENSORS.items()}
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    assert same(read_tensors(path), TENSORS)
    inside = {f"sd/{name}": array for name, array in arrays.items()}
    np.savez(path, outputs=np.zeros(2), config=np.array("{}"), **inside)  # type: ignore[arg-type]
    assert same(read_tensors(path), TENSORS)


@pytest.mark.parametrize("forced", ["0", "1"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_no_code_in_a_file_is_run(
    forced: str, protocol: int, writer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    marker, path = tmp_path / "marker", tmp_path / "evil.pth"
    content = {"model": TENSORS, "extra": Evil(marker)}
    if writer == "torch":
        torch.save(content, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    text = refused(path)
    assert not marker.exists()
    assert ".safetensors" in text
    if writer == "torch" and protocol == 2:
        assert f"refused: it holds {os.name}.system besides tensors" in text


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"model": TENSORS, "args": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"a": np.zeros(2)}, "numpy"),
    ],
)
def test_a_pth_with_more_than_tensors_is_refused(
    content: object, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    torch.save(content, path)
    text = refused(path)
    assert named in text
    assert "only read by running code from the file; save the tensors alone" in text


def test_a_pkl_is_refused_unread(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": Evil(marker)}))
    text = refused(path)
    assert "unpickling runs code from the file" in text
    assert ".safetensors" in text
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "is empty"),
        ({"model": {}}, "is empty"),
        ([TENSORS], "holds a list"),
        (TENSORS["a"], "holds a Tensor"),
        (TENSORS | {"lr": 0.1}, "'lr' holds a float"),
        ({"backbone": TENSORS}, "'backbone' holds a dict"),
        ({"model": {"backbone": TENSORS}}, "'backbone' holds a dict"),
        ({7: TENSORS["a"]}, "7 holds a Tensor, expected a tensor under a name"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "a is sparse"),
        ({"a": torch.zeros(2, device="meta")}, "without values"),
    ],
    ids=str,
)
def test_files_without_plain_tensors(content: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(content, path)
    assert said in refused(path)


def test_npz_without_plain_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(2), config=np.array("text"))
    assert "'config' is an array of <U4, expected numbers" in refused(path)
    np.savez(path, a=np.array([{}, 1], dtype=object))
    assert "Object arrays cannot be loaded" in refused(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(2))
    assert "it is a single array" in refused(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.99])
def test_damaged_files(suffix: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        torch.save(TENSORS, path)
    elif suffix == ".npz":
        np.savez(path, a=np.zeros(99))
    else:
        save(path, TENSORS, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert f"cannot be read as {suffix}" in refused(path)
    path.write_bytes(b"hello world, this is some text\n" * 40)
    refused(path)


def test_places_without_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "folder.pth").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.pth")
    assert "no such checkpoint" in refused(tmp_path / "gone.safetensors")
    assert "unknown kind of checkpoint '.onnx'" in refused(tmp_path / "a.onnx")
    assert "unknown kind of checkpoint ''" in refused(tmp_path / "a")


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.safetensors"
    save(path, TENSORS, {"contains": "backbone"})
    assert same(read_tensors(path), TENSORS)
    assert read_metadata(path) == {
        "contains": "backbone",
        "format_version": "1",
        "tool_version": maskvd_cli.__version__,
    }
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    metadata = {name: name for name in "qwertyuiop"}
    digests: set[str] = set()
    for number in range(4):
        path = tmp_path / f"{number}.safetensors"
        save(path, dict(reversed(TENSORS.items())) if number else TENSORS, metadata)
        metadata = dict(reversed(metadata.items()))
        digests.add(sha256_of(path))
    assert len(digests) == 1
    assert len(digests.pop()) == 64


def test_slices_views_and_shared_weights_are_saved(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4).requires_grad_()
    tensors = {"slice": whole[1:, ::2], "turned": whole.T, "tied": whole, "spread": whole[:1, :1]}
    tensors["spread"] = tensors["spread"].expand(5, 5)
    save(tmp_path / "a.safetensors", tensors, {})
    assert same(read_tensors(tmp_path / "a.safetensors"), tensors)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultError, match="cannot be written"):
        save(tmp_path / "file" / "a.safetensors", TENSORS, {})


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, TENSORS, {"format_version": "2"})
    assert "format version 2, expected 1; use the version" in refused(path)
    safetensors.torch.save_file(TENSORS, path, {"maskvd": "[]"})
    assert "no JSON object" in refused(path)
    safetensors.torch.save_file(TENSORS, path, {"maskvd": "{"})
    assert "cannot be read as .safetensors" in refused(path)


def test_load_into_copies_all_values() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    source = {
        name: torch.full_like(tensor, number).to(
            torch.float64 if tensor.is_floating_point() else tensor.dtype
        )
        for number, (name, tensor) in enumerate(module.state_dict().items(), 1)
    }
    load_into(module, source, "a.pth")
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, source[name].to(tensor.dtype))
    assert module[0].weight.dtype == torch.float32
    assert module[0].weight.requires_grad


def test_load_into_lists_all_that_differs_and_loads_nothing() -> None:
    module = nn.Sequential(*[nn.Linear(2, 3, bias=number < 12) for number in range(13)])
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    source = {name: torch.ones_like(tensor) for name, tensor in before.items()}
    for number in range(12):
        del source[f"{number}.bias"]
    source |= {"0.weight": torch.ones(3, 3), "1.weight": torch.ones(6), "extra": torch.ones(1)}
    source["2.weight"] = torch.ones(3, 2, dtype=torch.int32)
    with pytest.raises(CheckpointError) as caught:
        load_into(module, source, "a.pth")
    text = str(caught.value)
    assert text.startswith("a.pth: does not fit the model: 12 missing: 0.bias, 1.bias")
    assert "9.bias and 2 more; 1 unexpected: extra; 2 of another shape: " in text
    assert "0.weight is 3x3, expected 3x2, 1.weight is 6, expected 3x2" in text
    assert "1 of another kind of number: 2.weight (torch.int32)" in text
    assert "\n" not in text
    assert same(dict(module.state_dict()), before)


def test_the_golden_detector_loads(golden_root: Path) -> None:
    path = golden_root / "pipeline_64.npz"
    arch = ViTArch(
        "golden", "", dim=96, heads=4, depth=3, patch=16, global_blocks=(1,), window=Size(7, 7),
        position_table=Size(7, 7), relative_table=Size(14, 14),
    )  # fmt: skip
    detector = Detector(arch, HeadArch(classes=30, channels=64, hidden=128), Size(320, 320))
    source = read_tensors(path)
    load_into(detector, to_our_names(source, where=path).tensors, path)
    loaded = detector.state_dict()
    for ours, theirs in (
        ("embedding.conv.weight", "embedding.conv.weight"),
        ("backbone.blocks.1.relative.cols", "backbone.blocks.1.relative_position.x_embedding"),
        ("pyramid.stages.0.6.weight", "pyramid.stages.0.6.weight"),
        ("box_head.convs.3.weight", "roi_heads.box_head.conv4.weight"),
        ("rpn.deltas.bias", "proposal_generator.rpn_head.anchor_deltas.bias"),
    ):
        assert torch.equal(loaded[ours], source[theirs])
