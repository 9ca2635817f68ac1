"""A checkpoint of a training: weights, averaged weights and the state of the optimiser.

What is read is checked before it is believed: a training that went on from a damaged state would
end with other weights than one that was not stopped.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from maskvd_cli.core.errors import ResultError
from maskvd_cli.families.checkpoints import load_into, read_tensors, save, sha256_of
from maskvd_cli.families.declared_sizes import check_pth
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.store.atomic import write_atomic, write_bytes
from maskvd_cli.store.reading import read_regular
from maskvd_cli.store.sealed import read_object, sealed_text, unsealed
from maskvd_cli.training.records import DamagedTrainingError
from maskvd_cli.training.setup import Training

_MODEL, _AVERAGE, _STATE = "model.safetensors", "average.safetensors", "state.pt"
_SUMS, _LARGEST_SUMS = "checksums.json", 1 << 16
# 2: with checksums of the files.
_FORMAT_VERSION = 2
_LONGEST = 1e10
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Progress:
    """How far a training is: steps done, and the seconds they took."""

    step: int = 0
    seconds: float = 0.0


def write_checkpoint(folder: Path, training: Training, progress: Progress) -> None:
    """Write the files of a checkpoint, and the sha256 of each."""
    facts = {"step": str(progress.step), "contains": "detector"}
    save(folder / _MODEL, training.module.state_dict(), facts)
    if training.average is not None:
        save(folder / _AVERAGE, training.average.state_dict(), facts)
    state = {
        "format_version": _FORMAT_VERSION,
        "step": progress.step,
        "seconds": progress.seconds,
        "optimiser": training.optimiser.state_dict(),
    }
    write_atomic(folder / _STATE, lambda path: torch.save(state, path))
    sums = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    content = {"format_version": _FORMAT_VERSION, "files": sums}
    write_bytes(folder / _SUMS, sealed_text(content))


def read_checkpoint(folder: Path, training: Training) -> Progress:
    """Load a checkpoint into a training; return how far it is.

    Raises DamagedTrainingError, and ResultError for one of another version of maskvd.
    """
    path = folder / _STATE
    state = _state(path)
    step, seconds = state.get("step"), state.get("seconds")
    last = training.schedule.steps
    if not isinstance(step, int) or step != int(folder.name) or not 0 < step <= last:
        _damaged(f"step is {step!r:.40}, expected {int(folder.name)} of {last}", path)
    if not isinstance(seconds, float | int) or not 0 <= seconds <= _LONGEST:
        _damaged(f"seconds are {seconds!r:.40}", path)
    _check_optimiser(state.get("optimiser"), training.optimiser, path)
    _load(training.module, folder / _MODEL)
    if training.average is not None:
        _load(training.average, folder / _AVERAGE)
    # What cannot be says more than a checksum that does not fit, so it is told first.
    if state["format_version"] > 1:
        _check_sums(folder)
    training.optimiser.load_state_dict(state["optimiser"])
    return Progress(step, float(seconds))


def _state(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise ValueError("it is missing")
        check_pth(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        known = isinstance(error, ValueError) and not isinstance(error, pickle.UnpicklingError)
        reason = f"{error}".splitlines()[0] if known and str(error) else type(error).__name__
        raise _damage(f"cannot be read: {reason}", path) from error
    if not isinstance(state, dict):
        _damaged("holds no state", path)
    content = cast(dict[str, Any], state)
    version = content.get("format_version")
    if not isinstance(version, int):
        _damaged("has no format version", path)
    if not 1 <= version <= _FORMAT_VERSION:
        raise ResultError(
            f"format version {version}, expected {_FORMAT_VERSION} at most",
            where=path,
            remedy="use the version of maskvd that wrote it",
        )
    return content


def _check_sums(folder: Path) -> None:
    """Refuse files that are not those that were written."""
    path = folder / _SUMS
    try:
        content = read_object(read_regular(path, _LARGEST_SUMS).decode())
        sums = unsealed(content, "format_version", 2)["files"]
        known = cast(dict[str, object], sums) if isinstance(sums, dict) else {}
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise _damage(f"cannot be read: {error}", path) from error
    for file in folder.iterdir():
        if file != path and known.get(file.name) != sha256_of(file):
            _damaged("the checksum does not fit: something was changed", file)


def _load(module: nn.Module, path: Path) -> None:
    try:
        tensors = read_tensors(path)
        load_into(module, tensors, path)
    except CheckpointError as error:
        raise _damage(error.message, path) from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            _damaged(f"{name} is not finite", path)


def _check_optimiser(state: object, optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Refuse a state that is not of this optimiser: groups, settings, shapes, finite values."""
    ours = optimiser.state_dict()["param_groups"]
    content = cast(dict[str, Any], state) if isinstance(state, dict) else {}
    groups, moments = content.get("param_groups"), content.get("state")
    if not isinstance(groups, list) or len(cast(list[Any], groups)) != len(ours):
        _damaged("the optimiser has other groups", path)
    for group, own in zip(cast(list[Any], groups), ours, strict=True):
        if not isinstance(group, dict):
            _damaged("the optimiser has other groups", path)
        stored = cast(dict[str, Any], group)
        # The learning rate is set anew at every step; a newer torch has more settings.
        for key in (own.keys() & stored.keys()) - {"lr"} | {"params", "betas", "eps"}:
            if key not in stored or stored[key] != own[key]:
                _damaged(f"the optimiser's {key} differ", path)
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    if not isinstance(moments, dict):
        _damaged("the optimiser has no state", path)
    for number, entry in cast(dict[object, object], moments).items():
        known = isinstance(number, int) and 0 <= number < len(parameters)
        if not known or not isinstance(entry, dict):
            _damaged(f"the optimiser's parameter {number!r:.20} is unknown", path)
        _check_moments(cast(dict[str, object], entry), parameters[cast(int, number)], path)


def _check_moments(entry: Mapping[str, object], parameter: Tensor, path: Path) -> None:
    for name in ("step", *_MOMENTS):
        value = entry.get(name)
        if not isinstance(value, Tensor):
            _damaged(f"the optimiser's {name} is no tensor", path)
        # Before its values are looked at: a file of a few bytes may declare any number of them.
        shape = parameter.shape if name in _MOMENTS else torch.Size()
        if value.shape != shape:
            _damaged(f"the optimiser's {name} has the shape {tuple(value.shape)}", path)
        if not torch.isfinite(value).all():
            _damaged(f"the optimiser's {name} is not finite", path)
        if name != "exp_avg" and not bool((value >= 0).all()):
            _damaged(f"the optimiser's {name} is negative", path)


def _damage(problem: str, path: Path) -> DamagedTrainingError:
    return DamagedTrainingError(
        f"damaged ({problem})",
        where=path,
        remedy=f"remove {path.parent.name} to go on from the checkpoint before",
    )


def _damaged(problem: str, path: Path) -> NoReturn:
    raise _damage(problem, path)
