"""Heatmaps and masks as `.npz` files with JSON metadata; nothing pickled is ever read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.atomic import write_atomic
from maskvd_cli.store.reading import read_regular
from maskvd_cli.store.sealed import finite_json

_MOST_CELLS = 1 << 28
_MOST_BYTES = _MOST_CELLS * 8
_MOST_BOXES = 2.0**53


def save_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    """Write arrays and `metadata` (a JSON string in an array of that name) to `path`."""
    content: dict[str, Any] = {"metadata": np.array(json.dumps(metadata, allow_nan=False))}
    content |= arrays

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **content)

    write_atomic(path, write)


def load_heatmap(path: Path) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Read array `heatmap` (rows, cols) float64 and its metadata.

    Raises ResultError where the file is absent, no heatmap, or has counts outside 0..2^53.
    """
    remedy = "make one with `maskvd heatmap -o heatmap.npz`"
    try:
        content = io.BytesIO(read_regular(path, _MOST_BYTES, follow=True))
        with zipfile.ZipFile(content) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise ValueError("more than 2 GiB when unpacked")
        with np.load(content, allow_pickle=False) as file:
            heatmap, text = np.asarray(file["heatmap"]), str(file["metadata"])
        metadata = finite_json(text)
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
    if not isinstance(metadata, dict):
        raise ResultError("metadata is no JSON object", where=path, remedy=remedy)
    return heatmap, metadata  # pyright: ignore[reportUnknownVariableType]
