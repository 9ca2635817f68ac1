"""Checkpoint files: read without running anything in them, load strictly, write whole."""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from maskvd_cli import __version__
from maskvd_cli.families.declared_sizes import (
    DeclaredSizeError,
    check_npz,
    check_pth,
    check_tensors,
)
from maskvd_cli.families.vitdet.renaming import CheckpointError, listed
from maskvd_cli.store.arrays import finite_json
from maskvd_cli.store.atomic import write_bytes

FORMAT_VERSION = 1
_METADATA = "maskvd"
_CONTAINERS = ("model", "state_dict")
_PLAIN = argparse.Namespace
_NPZ_FOLDER, _NPY = "sd/", b"\x93NUMPY"
_SAFE = "save the tensors alone as .safetensors where you trust the file, and give that"
Shapes = Mapping[str, Sequence[int]]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by the names that it gives them, on the CPU.

    Reads .safetensors; .pth and .pt (a state dict, alone or under `model` or `state_dict`, beside
    which training state is passed over); .npz (with names under `sd/` only these). No code in a
    file is ever run: a .pkl, and a .pth that holds more than tensors, is refused. What a file
    declares is held against its size before it is allocated (`declared_sizes`).
    Raises CheckpointError for these, and for absent, damaged, nested and empty files.
    """
    return _read(path, _read_pth)


def read_with_settings(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors as `read_tensors` does, and what stands beside them in a .pth or .pt.

    There, and only here, an `argparse.Namespace` is taken, too, as a mapping of its attributes: a
    holder of values that runs nothing. Values are as the file has them: check each before use.
    """
    settings: dict[str, Any] = {}

    def read(path: Path) -> object:
        content = _loaded_pth(path, torch.serialization.safe_globals([_PLAIN]))
        tensors = _contained(content)
        if tensors is not content:
            assert isinstance(content, Mapping)
            for name, value in content.items():
                if isinstance(name, str) and name not in _CONTAINERS:
                    settings[name] = vars(value) if isinstance(value, _PLAIN) else value
        return tensors

    return _read(path, read), settings


def _read(path: Path, read_pth: Callable[[Path], Any]) -> dict[str, Tensor]:
    readers: dict[str, Callable[[Path], Any]] = {
        ".safetensors": _read_safetensors,
        ".pth": read_pth,
        ".pt": read_pth,
        ".npz": _read_npz,
    }
    suffix = path.suffix.lower()
    if suffix == ".pkl":
        raise CheckpointError(
            "a .pkl is not read, because unpickling runs code from the file",
            where=path,
            remedy=_SAFE,
        )
    if suffix not in readers:
        raise CheckpointError(
            f"unknown kind of checkpoint '{suffix}'",
            where=path,
            remedy=f"give one of {', '.join(readers)}",
        )
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such checkpoint"
        raise CheckpointError(problem, where=path, remedy="give a checkpoint file")
    try:
        tensors = _only_tensors(readers[suffix](path), path)
        check_tensors(tensors, path)
    except CheckpointError:
        raise
    except DeclaredSizeError as error:
        raise CheckpointError(f"refused: {error}", where=path, remedy=_SAFE) from error
    except Exception as error:  # the four formats raise a dozen kinds for damaged files
        raise CheckpointError(
            f"cannot be read as {suffix} ({_reason(error)})",
            where=path,
            remedy="fetch it again, or save its tensors as .safetensors",
        ) from error
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Return what `save` wrote beside the tensors; empty for files of other tools.

    Raises CheckpointError for a damaged file, and for one that a later version of maskvd wrote.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA)
        metadata: Any = {} if text is None else finite_json(text)
    except RecursionError as error:
        raise CheckpointError(
            "its metadata are nested too deeply", where=path, remedy="save it again"
        ) from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot be read as .safetensors ({_reason(error)})",
            where=path,
            remedy="fetch it again, or save its tensors as .safetensors",
        ) from error
    if not isinstance(metadata, dict):
        raise CheckpointError("its metadata is no JSON object", where=path, remedy="save it again")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise CheckpointError(
                f"metadata {key} is a {type(value).__name__}, expected text",
                where=path,
                remedy="save it again",
            )
    version = str(metadata.get("format_version", FORMAT_VERSION))
    if version != str(FORMAT_VERSION):
        raise CheckpointError(
            f"format version {version}, expected {FORMAT_VERSION}",
            where=path,
            remedy="use the version of maskvd that wrote it, or convert its source again",
        )
    return dict(metadata)


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and `metadata` to a .safetensors file, whole or not at all.

    Format and tool version are added. The metadata stand as one JSON string under `maskvd`, so
    that the same content always gives the same bytes. Raises ResultError where the place cannot
    be written.
    """
    complete = {"format_version": str(FORMAT_VERSION), "tool_version": __version__, **metadata}
    apart: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().to("cpu").contiguous()
        # The format has no views: tensors that share a storage, such as tied weights, are refused.
        storage = whole.untyped_storage().data_ptr()
        apart[name] = whole.clone() if storage in storages else whole
        storages.add(storage)
    text = json.dumps(complete, sort_keys=True)
    write_bytes(path, safetensors.torch.save(apart, {_METADATA: text}))


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: object) -> None:
    """Copy `tensors` into the parameters and buffers of `module`, all of them or none.

    Names and shapes must be exactly those of the module; values take its dtype and device. Raises
    CheckpointError about `where`, naming all that is missing, unexpected or of another shape.
    """
    expected = module.state_dict()
    problems = differences(shapes_of(expected), shapes_of(tensors))
    kinds = [
        f"{name} ({tensors[name].dtype})"
        for name, parameter in expected.items()
        if name in tensors and tensors[name].is_floating_point() != parameter.is_floating_point()
    ]
    problems += [f"{len(kinds)} of another kind of number: {listed(kinds)}"] if kinds else []
    if problems:
        raise CheckpointError(
            f"does not fit the model: {'; '.join(problems)}",
            where=where,
            remedy="give the checkpoint of this architecture",
        )
    module.load_state_dict(dict(tensors), strict=True)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def differences(expected: Shapes, found: Shapes) -> list[str]:
    """Return how `found` differs from `expected`: at most one line each for what is missing,
    unexpected and of another shape, naming ten and counting the rest.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    reshaped = [
        f"{name} is {_sides(found[name])}, expected {_sides(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    return [f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds if names]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    read_metadata(path)
    return safetensors.torch.load_file(path)


def _read_pth(path: Path) -> object:
    return _contained(_loaded_pth(path, nullcontext()))


def _loaded_pth(path: Path, allowing: AbstractContextManager[object]) -> object:
    check_pth(path)
    try:
        with warnings.catch_warnings(), allowing:
            # What torch warns of here (TorchScript, newer pickles) it then refuses.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        what = f"{foreign[1]} besides tensors" if foreign else "something besides tensors"
        raise CheckpointError(
            f"refused: it holds {what}, which is only read by running code from the file",
            where=path,
            remedy=_SAFE,
        ) from error


def _contained(content: object) -> object:
    """Return the state dict of a file: what stands under a known name, else all of it."""
    if isinstance(content, dict):
        for container in _CONTAINERS:
            if isinstance(content.get(container), Mapping):
                return content[container]
    return content


def _read_npz(path: Path) -> dict[str, Tensor]:
    # numpy leaves a file open that turns out to be damaged.
    with path.open("rb") as raw:
        if not zipfile.is_zipfile(raw):
            raw.seek(0)
            is_array = raw.read(len(_NPY)) == _NPY
            raise TypeError("it is a single array" if is_array else "it is no archive of arrays")
        check_npz(path)
        raw.seek(0)
        file = np.load(raw, allow_pickle=False)
        folder = _NPZ_FOLDER if any(name.startswith(_NPZ_FOLDER) for name in file.files) else ""
        arrays = {name: file[name] for name in file.files if name.startswith(folder)}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise CheckpointError(
                f"{name!r} is an array of {array.dtype}, expected numbers",
                where=path,
                remedy=f"give an archive of weights alone, or put them under {_NPZ_FOLDER}",
            )
    return {name.removeprefix(folder): torch.from_numpy(array) for name, array in arrays.items()}


def _only_tensors(content: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping) or not content:
        what = "is empty" if isinstance(content, Mapping) else f"holds a {type(content).__name__}"
        raise CheckpointError(
            f"{what}, expected tensors by name", where=path, remedy="give a state dict"
        )
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{name!r} holds a {type(value).__name__}, expected a tensor under a name",
                where=path,
                remedy="give a state dict, alone or under the key model or state_dict",
            )
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            raise CheckpointError(
                f"{name} is sparse, quantised or without values", where=path, remedy=_SAFE
            )
        tensors[name] = value.detach()
    return tensors


def _reason(error: Exception) -> str:
    """Return the first sentence of an error; torch's further ones advise to run the code."""
    sentence = re.split(r"\.\s|\n", str(error).strip())[0]
    return sentence if " " in sentence else f"{type(error).__name__} {sentence}".strip()


def _sides(shape: Iterable[int]) -> str:
    return "x".join(str(side) for side in shape) or "one number"
