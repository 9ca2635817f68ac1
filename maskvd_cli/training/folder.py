"""The folder of a training: what it is, its log, its checkpoints, its result."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskvd_cli.core.errors import ResultError
from maskvd_cli.families.checkpoints import load_into, read_tensors, save
from maskvd_cli.store.atomic import write_atomic, write_bytes
from maskvd_cli.store.locking import sole_writer
from maskvd_cli.training.setup import Training

_IDENTITY, _LOG, _RESULT, _RECIPE = "training.json", "log.jsonl", "result.json", "recipe.yaml"
_MODEL, _AVERAGE, _STATE = "model.safetensors", "average.safetensors", "state.pt"
_KEPT_CHECKPOINTS = 2
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Progress:
    """How far a training is: steps done, and the seconds they took."""

    step: int = 0
    seconds: float = 0.0


class TrainingFolder:
    """One training's files. Raises ResultError for a folder that is another's, or unwritable."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Generator[None]:
        """Keep other trainings out; remove what a killed one left half written."""
        self._refuse_foreign()
        with sole_writer(self.path, "training", "wait for it"):
            yield

    def claim(self, training: Training) -> None:
        """Write down what is trained here, or compare. Raises ResultError where it differs."""
        identity = training.identity()
        if (earlier := self._read(_IDENTITY)) is None:
            write_bytes(self.path / _RECIPE, training.loaded.source)
            self._write(_IDENTITY, identity)
            return
        if changed := _changed(earlier, json.loads(json.dumps(identity))):
            raise ResultError(
                f"holds a training with another {', '.join(changed)}",
                where=self.path,
                remedy="choose another folder with -o, or take the change back",
            )

    def result(self) -> dict[str, Any] | None:
        """Return what a finished training wrote; None where it is not finished."""
        return self._read(_RESULT)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write down that the training is finished, and what came of it."""
        self._write(_RESULT, result)

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append a line to the log."""
        with (self.path / _LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def cut_log(self, step: int) -> None:
        """Take from the log what was done after `step`, which will be done again."""
        path = self.path / _LOG
        if not path.exists():
            return
        kept: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            # A killed process may leave half a line, the last.
            if line.endswith("}") and json.loads(line)["step"] <= step:
                kept.append(line)
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())

    def has_checkpoint(self) -> bool:
        """Tell whether there is something to go on with."""
        return bool(self._checkpoints())

    def store(self, training: Training, progress: Progress) -> None:
        """Write a checkpoint, whole or not at all; all but the two newest are removed."""
        folder = self.path / "checkpoints" / f"{progress.step:09d}"
        temporary = folder.parent / f".maskvd-{secrets.token_hex(8)}.part"
        facts = {"step": str(progress.step), "contains": "detector"}
        save(temporary / _MODEL, training.detector.state_dict(), facts)
        if training.average is not None:
            save(temporary / _AVERAGE, training.average.state_dict(), facts)
        state = {
            "format_version": _FORMAT_VERSION,
            "step": progress.step,
            "seconds": progress.seconds,
            "optimiser": training.optimiser.state_dict(),
        }
        write_atomic(temporary / _STATE, lambda path: torch.save(state, path))
        os.replace(temporary, folder)
        for old in self._checkpoints()[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(old)

    def restore(self, training: Training) -> Progress:
        """Load the newest checkpoint, if any; return how far it is."""
        found = self._checkpoints()
        if not found:
            return Progress()
        folder = found[-1]
        state = _state(folder / _STATE)
        load_into(training.detector, read_tensors(folder / _MODEL), folder / _MODEL)
        if training.average is not None:
            load_into(training.average, read_tensors(folder / _AVERAGE), folder / _AVERAGE)
        training.optimiser.load_state_dict(state["optimiser"])
        return Progress(state["step"], state["seconds"])

    def _checkpoints(self) -> list[Path]:
        folders = (self.path / "checkpoints").glob("[0-9]*")
        return sorted(folders, key=lambda folder: folder.name)

    def _refuse_foreign(self) -> None:
        if not self.path.exists() or (self.path / _IDENTITY).exists():
            return
        if not self.path.is_dir() or any(
            not entry.name.startswith(".") and entry.name != _RECIPE
            for entry in self.path.iterdir()
        ):
            raise ResultError(
                "is not empty and holds no training", where=self.path, remedy="name a new folder"
            )

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ResultError(
                f"cannot be read ({error})", where=path, remedy="choose another folder with -o"
            ) from error

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_bytes(self.path / name, (json.dumps(content, indent=2) + "\n").encode())


def _state(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        raise ResultError(
            f"cannot be read ({type(error).__name__})",
            where=path,
            remedy=f"remove {path.parent.name} to go on from the checkpoint before",
        ) from error
    if state["format_version"] != _FORMAT_VERSION:
        raise ResultError(
            f"format version {state['format_version']}, expected {_FORMAT_VERSION}",
            where=path,
            remedy="use the version of maskvd that wrote it",
        )
    return state


def _changed(earlier: Mapping[str, Any], now: Mapping[str, Any], before: str = "") -> list[str]:
    """Return the dotted names of all values that differ."""
    names: list[str] = []
    for key in sorted({*earlier, *now}):
        old, new = earlier.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names += _changed(old, new, f"{before}{key}.")
        elif old != new:
            names.append(f"{before}{key}".removeprefix("recipe."))
    return names
