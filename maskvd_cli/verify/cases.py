"""Golden cases as files: configuration, inputs, expected outputs and weights of a small model."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.core.size import Size
from maskvd_cli.families.checkpoints import read_tensors
from maskvd_cli.families.vitdet.renaming import Converted, to_our_names

_WEIGHTS = "sd/"
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


class GoldenError(MaskvdError):
    """A golden folder or case that cannot be read, or holds what no method here computes."""


@dataclass
class Verdict:
    """How far we are from the authors' outputs on one case.

    `deviation` by precision: the largest absolute difference, where outputs of that precision are
    there. `selections` index sets were compared, of which `mismatches` differ; `counted` frames
    were compared with the authors' counter, of which `miscounted` differ. `problem`: why the case
    could not be run.
    """

    case: str
    method: str = ""
    deviation: dict[torch.dtype, float] | None = None
    selections: int = 0
    mismatches: int = 0
    counted: int = 0
    miscounted: int = 0
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether something was compared and all of it lies within the tolerances."""
        found = self.deviation or {}
        # Written so that NaN fails.
        close = all(value <= TOLERANCE[dtype] for dtype, value in found.items())
        exact = self.mismatches == 0 and self.miscounted == 0
        return self.problem is None and bool(found) and close and exact

    def compare(self, found: Tensor, expected: np.ndarray[Any, Any], scale: float = 1.0) -> None:
        """Note the largest difference over `scale`; another shape counts as infinite."""
        theirs = torch.from_numpy(expected).to(found.dtype)
        if found.shape == theirs.shape:
            difference = (found - theirs).abs()
            # A NaN must not hide behind a comparison.
            largest = float(difference.max()) / scale if difference.numel() else 0.0
            largest = float("inf") if isnan(largest) else largest
        else:
            largest = float("inf")
        known = self.deviation or {}
        self.deviation = known | {found.dtype: max(known.get(found.dtype, 0.0), largest)}

    def select(self, found: Tensor | None, expected: np.ndarray[Any, Any]) -> None:
        """Compare one set of selected tokens, order included."""
        self.selections += 1
        ours = [] if found is None else found.flatten().tolist()
        self.mismatches += int(ours != expected.flatten().tolist())

    def count(self, found: int, expected: int) -> None:
        """Compare one frame's multiply-accumulates."""
        self.counted += 1
        self.miscounted += int(found != expected)


@dataclass(frozen=True)
class Golden:
    """One case: its name, configuration, arrays and weights under our names."""

    name: str
    config: dict[str, Any]
    arrays: dict[str, np.ndarray[Any, Any]]
    weights: Converted

    def indices(self, prefix: str) -> dict[int, np.ndarray[Any, Any]]:
        """Return the arrays `prefix/<frame>` by frame."""
        return {
            int(key.rpartition("/")[2]): value
            for key, value in self.arrays.items()
            if key.rpartition("/")[0] == prefix and key.rpartition("/")[2].isdigit()
        }

    def has(self, name: str) -> bool:
        """Tell whether the case holds an array."""
        return name in self.arrays

    def backbone_weights(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the tensors of the backbone, without their prefix."""
        prefix = "backbone."
        return {
            name.removeprefix(prefix): tensor.to(dtype)
            for name, tensor in self.weights.tensors.items()
            if name.startswith(prefix)
        }


def case_files(folder: Path) -> list[Path]:
    """Return the cases of a folder; files of weights alone are none.

    Raises GoldenError where there is no folder or no case.
    """
    if not os.path.isdir(folder):
        problem = "is no folder" if os.path.exists(folder) else "no such folder"
        raise GoldenError(problem, where=folder, remedy="name a folder of golden cases (.npz)")
    found = [path for path in sorted(folder.glob("*.npz")) if not _weights_alone(path)]
    if not found:
        raise GoldenError("no golden case (.npz with a config) here", where=folder)
    return found


def _weights_alone(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.npy" not in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        # What cannot be opened is told as a failed case rather than passed over.
        return False


def read_case(path: Path) -> Golden:
    """Read a case with its weights, from the file itself or from the one that it names.

    Raises GoldenError for a damaged file, CheckpointError for unusable weights.
    """
    try:
        # numpy leaves a file open that it cannot read.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if not name.startswith(_WEIGHTS)}
            own_weights = any(name.startswith(_WEIGHTS) for name in file.files)
        config = json.loads(str(arrays.pop("config")))
        weights = path if own_weights else path.parent / Path(str(config["weights"])).name
    except Exception as error:  # zipfile, zlib, numpy and json raise many kinds for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise GoldenError(f"no readable golden case ({reason})", where=path) from error
    # Renaming adds positions to class tokens; in float32 that would round before float64 runs.
    wide = {name: tensor.double() for name, tensor in read_tensors(weights).items()}
    sides = (config.get("backbone_config") or config).get("position_encoding_size")
    table = Size(*sides) if sides else None
    return Golden(path.stem, config, arrays, to_our_names(wide, where=weights, table=table))


def precisions(case: Golden, output: str) -> Iterator[tuple[torch.dtype, str]]:
    """Yield the precisions for which the case has an output, and its name there."""
    for dtype, name in ((torch.float32, output), (torch.float64, f"{output}_f64")):
        if case.has(name):
            yield dtype, name
