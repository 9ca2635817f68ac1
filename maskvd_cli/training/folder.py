"""The folder of a training: what it is, its log, its checkpoints, its result."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskvd_cli.core.errors import ResultError
from maskvd_cli.families.checkpoints import sha256_of
from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.store.locking import sole_writer
from maskvd_cli.store.sealed import sealed_text
from maskvd_cli.training.checkpoint import Progress, read_checkpoint, write_checkpoint
from maskvd_cli.training.records import (
    FOLDER_VERSION,
    REMEDY,
    DamagedTrainingError,
    changed,
    read_identity,
    read_log,
    read_result,
)
from maskvd_cli.training.setup import Training

_IDENTITY, _LOG, _RESULT, _RECIPE = "training.json", "log.jsonl", "result.json", "recipe.yaml"
_KEPT_CHECKPOINTS = 2
# The version since which an identity holds the sha256 of initial weights.
_NAMED_BY_CONTENT = 2
_STEP = re.compile(r"[0-9]{9,18}")


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

    def claim(self, training: Training) -> list[str]:
        """Write down what is trained here, or compare; return what could not be compared.

        Raises ResultError where it differs, DamagedTrainingError.
        """
        path = self.path / _IDENTITY
        if (earlier := read_identity(path)) is None:
            write_bytes(self.path / _RECIPE, training.loaded.source)
            self._write(_IDENTITY, training.identity())
            return []
        version = earlier.get("version", 1)
        identity = json.loads(json.dumps(training.identity(version)))
        if names := changed(earlier, identity, path):
            raise ResultError(
                f"holds a training with another {', '.join(names)}",
                where=self.path,
                remedy="choose another folder with -o, or take the change back",
            )
        if version < _NAMED_BY_CONTENT and training.recipe.init is not None:
            return [
                "an earlier maskvd began this training and noted the file name of its initial "
                "weights alone: whether they are the same cannot be told"
            ]
        return []

    def result(self, training: Training) -> dict[str, Any] | None:
        """Return what a finished training wrote; None where it is not finished.

        Raises DamagedTrainingError, also where the weights are not those that it wrote.
        """
        result = read_result(self.path / _RESULT, training.scores)
        if result is None:
            return None
        name = f"{training.recipe.name}.safetensors"
        if result["file"] != name:
            raise DamagedTrainingError(
                f"damaged (file is {result['file']!r:.60}, expected {name})",
                where=self.path / _RESULT,
                remedy=REMEDY,
            )
        weights = self.path / name
        if not weights.exists():
            return None
        if not weights.is_file() or sha256_of(weights) != result["sha256"]:
            raise DamagedTrainingError(
                f"is not the file that {_RESULT} speaks of (sha256 {result['sha256'][:12]})",
                where=weights,
                remedy=REMEDY,
            )
        return result if self._has_detector(result, training) else None

    def _has_detector(self, result: Mapping[str, Any], training: Training) -> bool:
        """Tell whether the detector that was learnt beside a method is there as it was written."""
        if (beside := result.get("detector")) is None:
            return True
        file = self.path / f"{training.recipe.name}-detector.safetensors"
        return file.is_file() and sha256_of(file) == beside["sha256"]

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write down that the training is finished, and what came of it."""
        self._write(_RESULT, {"version": FOLDER_VERSION, "result": dict(result)})

    def log(self, entry: Mapping[str, Any]) -> None:
        """Append a line with its checksum to the log."""
        with (self.path / _LOG).open("ab") as file:
            file.write(sealed_text(entry, indent=None))

    def cut_log(self, step: int) -> None:
        """Take from the log what was done after `step`, which will be done again."""
        path = self.path / _LOG
        if path.exists():
            kept = [line for done, line in read_log(path) if done <= step]
            write_bytes(path, "".join(f"{line}\n" for line in kept).encode())

    def has_checkpoint(self) -> bool:
        """Tell whether there is something to go on with."""
        return bool(self._checkpoints())

    def store(self, training: Training, progress: Progress) -> None:
        """Write a checkpoint, whole or not at all; all but the two newest are removed."""
        folder = self.path / "checkpoints" / f"{progress.step:09d}"
        temporary = folder.parent / f".maskvd-{secrets.token_hex(8)}.part"
        write_checkpoint(temporary, training, progress)
        os.replace(temporary, folder)
        for old in self._checkpoints()[:-_KEPT_CHECKPOINTS]:
            shutil.rmtree(old)

    def restore(self, training: Training) -> Progress:
        """Load the newest checkpoint, if any; return how far it is."""
        checkpoints = self._checkpoints()
        return read_checkpoint(checkpoints[-1], training) if checkpoints else Progress()

    def _checkpoints(self) -> list[Path]:
        folders = (self.path / "checkpoints").glob("[0-9]*")
        named = [folder for folder in folders if _STEP.fullmatch(folder.name)]
        return sorted(named, key=lambda folder: int(folder.name))

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

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_bytes(self.path / name, sealed_text(content))
