"""Golden cases as files: configuration, inputs, expected outputs and weights of a small model."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from maskvd_cli.families.vivit import renaming as vivit

_WEIGHTS = "sd/"
_MOST_BYTES = 1 << 31
# What only the configuration of a recogniser has.
RECOGNISER = "spatial_config"
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


class GoldenError(MaskvdError):
    """A golden folder or case that cannot be read, or holds what no method here computes."""


class UnknownKindError(GoldenError):
    """A readable case of a kind that this version has nothing to compare with.

    `kind` names it by what its configuration describes, or by the first word of its name.
    """

    def __init__(self, message: str, *, kind: str, where: object = None) -> None:
        # It comes from the file and goes to a terminal.
        self.kind = "".join(letter if letter.isprintable() else "?" for letter in kind[:80])
        super().__init__(message, where=where)


class StoredArrays(dict[str, "np.ndarray[Any, Any]"]):
    """The arrays of a case by name, which note what was read by name.

    Names may be listed; going through all values reads none, so do not.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        super().__init__(arrays)
        self._read: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        self._read.add(name)
        return super().__getitem__(name)

    def peek(self, name: str) -> np.ndarray[Any, Any]:
        """Return an array to be checked, not compared."""
        return super().__getitem__(name)

    def pass_over(self, name: str) -> None:
        """Note that an array is an input that the case has no use for."""
        self._read.add(name)

    @property
    def unread(self) -> tuple[str, ...]:
        """What nobody read, so that it was not compared."""
        return tuple(sorted(set(self) - self._read))


@dataclass
class Agreement:
    """How far we are from the outputs of the authors, or of a library, on one case.

    `deviation` by precision: the largest absolute difference, where outputs of that precision are
    there; `tolerance`: how large it may be. `selections` index sets were compared, of which
    `mismatches` differ; `counted` frames were compared with the authors' counter, of which
    `miscounted` differ. `problem`: why the case could not be run, or what differs; `unknown`: its
    kind, where that is unknown to this version. `uncompared`: arrays of the case that no comparison
    read.
    """

    case: str
    method: str = ""
    deviation: dict[torch.dtype, float] | None = None
    selections: int = 0
    mismatches: int = 0
    counted: int = 0
    miscounted: int = 0
    problem: str | None = None
    unknown: str | None = None
    uncompared: tuple[str, ...] = ()
    tolerance: Mapping[torch.dtype, float] = field(default_factory=lambda: TOLERANCE)

    @property
    def passed(self) -> bool:
        """Whether something was compared and all of it lies within the tolerances."""
        found = self.deviation or {}
        # Written so that NaN fails.
        close = all(value <= self.tolerance[dtype] for dtype, value in found.items())
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
    """One case: its name, configuration, arrays and weights under our names.

    `beside`: tensors of the weights file that belong to no part of ours, under their own names.
    """

    name: str
    config: dict[str, Any]
    arrays: StoredArrays
    weights: Converted
    beside: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def indices(self, prefix: str) -> dict[int, np.ndarray[Any, Any]]:
        """Return the arrays `prefix/<frame>` by frame."""
        return {
            int(key.rpartition("/")[2]): self.arrays[key]
            for key in self.arrays
            if key.rpartition("/")[0] == prefix and key.rpartition("/")[2].isdigit()
        }

    def has(self, name: str) -> bool:
        """Tell whether the case holds an array."""
        return name in self.arrays

    def get(self, name: str) -> np.ndarray[Any, Any] | None:
        """Return an array, None where the case holds none of that name."""
        return self.arrays[name] if self.has(name) else None

    def backbone_weights(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the tensors of the backbone, without their prefix."""
        prefix = "backbone."
        return {
            name.removeprefix(prefix): tensor.to(dtype)
            for name, tensor in self.weights.tensors.items()
            if name.startswith(prefix)
        }


@dataclass(frozen=True)
class Description:
    """What tells the kind of a case: its configuration and the names of its arrays."""

    name: str
    config: dict[str, Any]
    arrays: frozenset[str]

    @property
    def kind(self) -> str:
        """A word for its kind where no runner knows it: a layer, or the name's first word."""
        layer = self.config.get("layer")
        return f"layer {layer}" if isinstance(layer, str) else self.name.partition("_")[0]


def case_files(folder: Path) -> list[Path]:
    """Return the cases below a folder; files of weights alone are none.

    Raises GoldenError where there is no folder or no case.
    """
    if not os.path.isdir(folder):
        problem = "is no folder" if os.path.exists(folder) else "no such folder"
        raise GoldenError(problem, where=folder, remedy="name a folder of golden cases (.npz)")
    files = [path for path in sorted(folder.rglob("*.npz")) if path.is_file()]
    cases = [path for path in files if not _weights_alone(path)]
    if not cases:
        raise GoldenError("no golden case (.npz with a config) here", where=folder)
    return cases


def _weights_alone(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "config.npy" not in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        # What cannot be opened is told as a failed case rather than passed over.
        return False


def describe(path: Path) -> Description:
    """Read what a case is, without its arrays and weights. Raises GoldenError where damaged."""
    with _reading(path), path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        config = json.loads(str(file["config"]))
        if not isinstance(config, dict):
            raise ValueError("its config is no JSON object")
        return Description(path.stem, config, frozenset(file.files))


def read_case(path: Path, *, of_model: bool = True) -> Golden:
    """Read a case with its weights, from the file itself or from the one that it names.

    `of_model`: whether they are a model's; those of another module keep the names that they have,
    and there may be none. Raises GoldenError for a damaged file, CheckpointError for unusable
    weights.
    """
    # numpy leaves a file open that it cannot read.
    with _reading(path), path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        arrays = StoredArrays(
            {name: file[name] for name in file.files if not name.startswith(_WEIGHTS)}
        )
        own_weights = any(name.startswith(_WEIGHTS) for name in file.files)
        config = json.loads(str(arrays.pop("config")))
        if not of_model and not own_weights and "weights" not in config:
            return Golden(path.stem, config, arrays, Converted({}, "none", {}))
        weights = path if own_weights else path.parent / Path(str(config["weights"])).name
    # Renaming adds positions to class tokens; in float32 that would round before float64 runs.
    wide = {name: tensor.double() for name, tensor in read_tensors(weights).items()}
    if not of_model:
        return Golden(path.stem, config, arrays, Converted(wide, "as it is", {}))
    parts = config.get("backbone_config") or config.get("spatial_config") or config
    sides = parts.get("position_encoding_size")
    table = Size(*sides) if sides else None
    if RECOGNISER in config:
        renamed = vivit.to_our_names(wide, where=weights, table=table)
        return Golden(path.stem, config, arrays, Converted(renamed, vivit.NAMING, {}))
    converted = to_our_names(wide, where=weights, table=table)
    beside = {name: wide[name] for name in converted.dropped if name in wide}
    return Golden(path.stem, config, arrays, converted, beside)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into a GoldenError; refuse one too large."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise ValueError("more than 2 GiB when unpacked")
        yield
    except Exception as error:  # zipfile, zlib, numpy and json raise many kinds for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise GoldenError(f"no readable golden case ({reason})", where=path) from error


# What ends the names of outputs in each precision.
PRECISIONS = ((torch.float32, ""), (torch.float64, "_f64"))


def precisions(case: Golden, output: str) -> Iterator[tuple[torch.dtype, str]]:
    """Yield the precisions for which the case has an output, and its name there."""
    for dtype, suffix in PRECISIONS:
        if case.has(f"{output}{suffix}"):
            yield dtype, f"{output}{suffix}"
