"""Heatmaps and masks as `.npz` files with JSON metadata; nothing pickled is ever read.

The key `sealed` of the metadata holds the sha256 of every array, and a checksum of these and of the
other metadata. Files of before have none and are read without.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.atomic import write_atomic
from maskvd_cli.store.reading import read_regular
from maskvd_cli.store.sealed import SEAL, finite_json, sealed, sha256_of_array, unsealed

_SEALED = "sealed"
_MOST_CELLS = 1 << 28
_MOST_BYTES = _MOST_CELLS * 8
_MOST_BOXES = 2.0**53


def save_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and `metadata` (a JSON string in an array of that name), sealed, to `path`."""
    content: dict[str, Any] = {"metadata": np.array(_with_seal(metadata, arrays)), **arrays}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **content)

    write_atomic(path, write)


def _with_seal(metadata: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return metadata with their checksum and those of the arrays as JSON."""
    if _SEALED in metadata:
        raise ValueError(f"metadata hold {_SEALED}, where the checksums stand")
    digests = {name: sha256_of_array(array) for name, array in arrays.items()}
    seal = sealed({"arrays": digests, "metadata": dict(metadata)})[SEAL]
    return json.dumps({**metadata, _SEALED: {"arrays": digests, SEAL: seal}}, allow_nan=False)


def read_metadata(
    text: str, arrays: Mapping[str, NDArray[Any]], names: Collection[str]
) -> dict[str, Any]:
    """Return the metadata of a file without its checksums, where it has them, which are checked.

    `arrays` are those that were read, `names` those of all that the file holds. Raises ValueError
    for what is no JSON object, and for metadata or an array that was changed.
    """
    content = finite_json(text)
    if not isinstance(content, dict):
        raise ValueError("metadata is no JSON object")
    metadata = cast(dict[str, Any], content)
    if (seal := metadata.pop(_SEALED, None)) is None:
        return metadata
    if not isinstance(seal, dict) or not isinstance(seal.get("arrays"), dict):  # pyright: ignore
        raise ValueError("its checksums are damaged")
    digests = cast(dict[str, Any], seal["arrays"])
    unsealed({"arrays": digests, "metadata": metadata, SEAL: str(seal.get(SEAL))})  # pyright: ignore
    if set(digests) != set(names):
        raise ValueError("an array is missing, or one too many")
    for name, array in arrays.items():
        if digests[name] != sha256_of_array(array):
            raise ValueError(f"the checksum of {name} does not fit: something was changed")
    return metadata


def load_heatmap(path: Path) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Read array `heatmap` (rows, cols) float64 and its metadata.

    Raises ResultError where the file is absent, no heatmap, was changed, or has counts outside
    0..2^53.
    """
    remedy = "make one with `maskvd heatmap -o heatmap.npz`"
    try:
        content = io.BytesIO(read_regular(path, _MOST_BYTES, follow=True))
        with zipfile.ZipFile(content) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise ValueError("more than 2 GiB when unpacked")
        with np.load(content, allow_pickle=False) as file:
            heatmap, text = np.asarray(file["heatmap"]), str(file["metadata"])
            names = set(file.files) - {"metadata"}
        metadata = read_metadata(text, {"heatmap": heatmap}, names)
    except FileNotFoundError as error:
        raise ResultError("no such heatmap file", where=path, remedy=remedy) from error
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ResultError(f"no heatmap file ({reason})", where=path, remedy=remedy) from error
    if heatmap.ndim != 2 or not 0 < heatmap.size <= _MOST_CELLS or heatmap.dtype.kind not in "fiu":
        shape = "x".join(str(side) for side in heatmap.shape)
        raise ResultError(
            f"array heatmap is {shape} of {heatmap.dtype}, expected rows x columns of numbers",
            where=path,
            remedy=remedy,
        )
    heatmap = heatmap.astype(np.float64)
    if not ((heatmap >= 0) & (heatmap <= _MOST_BOXES)).all():
        raise ResultError("counts outside 0..2^53", where=path, remedy=remedy)
    return heatmap, metadata
