"""A heatmap from a file: ours (.npz), or an array as the paper's authors publish theirs (.npy)."""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.errors import ResultError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip
from maskvd_cli.data.base import Dataset
from maskvd_cli.data.files import open_regular
from maskvd_cli.scenes.heatmap import ON_INPUT, HeatmapSpec, ObjectHeatmap
from maskvd_cli.store.arrays import load_heatmap

_MOST_CELLS = 1 << 28
_MOST_BOXES = 2.0**53
_REMEDY = "name a .npz of `maskvd heatmap`, or a .npy with an array of rows x columns"


@dataclass(frozen=True)
class GivenHeatmap(ObjectHeatmap):
    """A heatmap as a file holds it; `made_from` is what the file says of its origin."""

    counts: Tensor
    file: Path
    digest: str
    made_from: Mapping[str, Any]

    @property
    def lies_on_input(self) -> bool:
        return self.made_from.get("coordinates") == ON_INPUT

    def metadata(self) -> dict[str, Any]:
        return {**self.made_from, "file": self.file.name, "sha256": self.digest}

    def setting(self) -> dict[str, Any]:
        return {
            "file": self.digest,
            "canvas": str(Size(*self.counts.shape)),
            "coordinates": ON_INPUT if self.lies_on_input else "native",
        }

    def origin(self) -> str:
        said = self.made_from
        parts = [f"{key} {said[key]}" for key in ("dataset", "split", "frames") if said.get(key)]
        told = f", made from {', '.join(parts)}" if parts else ", which does not say what it saw"
        canvas = Size(*self.counts.shape)
        return f"Heatmap from {self.file.name} (sha256 {self.digest[:12]}, {canvas}){told}."

    def remarks(self, evaluated: Dataset, clips: Sequence[Clip]) -> list[str]:
        said = self.made_from
        if (said.get("dataset"), said.get("split")) != (evaluated.name, evaluated.split):
            return []
        return [
            f"The file says that its heatmap was made from {evaluated.split}, the split that is "
            "evaluated, so static masks know where its objects are."
        ]


def read_heatmap_file(file: Path) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Return counts (rows, cols) float64 and what the file says of their origin.

    A `.npy` says nothing; its pixels are taken as native. Raises ResultError where the file is
    absent, no regular file, no heatmap, or has counts outside 0..2^53.
    """
    try:
        with open_regular(file) as opened:
            if file.suffix.lower() != ".npy":
                return load_heatmap(file)
            heatmap = _array(opened, os.fstat(opened.fileno()).st_size)
    except FileNotFoundError as error:
        raise ResultError("no such heatmap file", where=file, remedy=_REMEDY) from error
    except (OSError, ValueError, EOFError, SyntaxError, MemoryError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise ResultError(f"no heatmap file ({reason})", where=file, remedy=_REMEDY) from error
    if not ((heatmap >= 0) & (heatmap <= _MOST_BOXES)).all():
        raise ResultError("counts outside 0..2^53", where=file, remedy=_REMEDY)
    return heatmap, {"coordinates": "native", "canvas": str(Size(*heatmap.shape))}


def _array(opened: Any, size: int) -> NDArray[np.float64]:
    """Read a `.npy` whose header promises what the file holds. Raises ValueError otherwise."""
    version = np.lib.format.read_magic(opened)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(opened)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(opened)
    else:
        raise ValueError(f"version {version[0]}.{version[1]} of .npy")
    cells = int(np.prod([int(side) for side in shape], dtype=object)) if shape else 0
    if len(shape) != 2 or not 0 < cells <= _MOST_CELLS or dtype.kind not in "fiu":
        sides = "x".join(str(side) for side in shape)
        raise ValueError(f"an array {sides} of {dtype}, expected rows x columns of numbers")
    if opened.tell() + cells * dtype.itemsize != size:
        raise ValueError(f"its header promises {cells * dtype.itemsize} bytes that are not there")
    opened.seek(0)
    return np.asarray(np.lib.format.read_array(opened, allow_pickle=False), dtype=np.float64)


def heatmap_from_file(file: Path, spec: HeatmapSpec, canvas: str | None) -> GivenHeatmap:
    """Return the heatmap that a recipe names; `spec` and `canvas` are what else it says.

    With `canvas: input` an array without metadata lies on the model's input. Raises ResultError
    for an unusable file, UsageError where its size, frame or canvas is not the recipe's.
    """
    counts, said = read_heatmap_file(file)
    if canvas == ON_INPUT and file.suffix.lower() == ".npy":
        said = {**said, "coordinates": ON_INPUT, "frame": str(spec.frame or "fit")}
    size, on_input = Size(*counts.shape), said.get("coordinates") == ON_INPUT
    expected = spec.input if on_input else None if canvas in (None, ON_INPUT) else spec.canvas
    if expected is not None and size != expected:
        raise UsageError(
            f"{file} is {size}, and the recipe's {'input' if on_input else 'canvas'} is {expected}",
            remedy=f"set {'model.input' if on_input else 'heatmap.canvas'} to {size}",
        )
    if canvas == ON_INPUT and not on_input:
        raise UsageError(f"{file} lies in native pixels", remedy=f"set heatmap.canvas to {size}")
    frame = str(spec.frame or "fit")
    if on_input and said.get("frame") != frame:
        raise UsageError(
            f"{file} was made for frames of {said.get('frame')}, not {frame}",
            remedy=f"set model.frame to {said.get('frame')}, or make the heatmap again",
        )
    if not counts.any():
        raise ResultError("the heatmap holds no box", where=file, remedy=_REMEDY)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return GivenHeatmap(torch.from_numpy(counts), file, digest, said)
