"""Where the published weights lie that `maskvd get` has fetched, each under its model's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from maskvd_cli.core.errors import ResultError, UsageError
from maskvd_cli.data.cache import user_folder
from maskvd_cli.families.checkpoints import sha256_of
from maskvd_cli.families.zoo import models
from maskvd_cli.store.arrays import finite_json

RECORD = "maskvd.json"
_WEIGHTS, _MOST_JSON = "weights", 1 << 20
_NAME, _SHA256 = re.compile(r"[A-Za-z0-9][\w.-]*"), re.compile(r"[0-9a-f]{64}")


def repositories() -> dict[str, str]:
    """Return the hub's repositories of published weights, by the name of the model."""
    return {
        name: entry.family.published[name]
        for name, entry in models().items()
        if name in entry.family.published
    }


def home_of(name: str) -> Path | None:
    """Return where the published weights of a model lie or would lie; None: there are none.

    Raises UsageError where the user keeps no cache.
    """
    if name not in repositories():
        return None
    folder = user_folder()
    if folder is None:
        raise UsageError(
            f"the weights of {name} have no place, since MASKVD_CACHE keeps nothing",
            remedy=f"maskvd get {name} --to DIR, and give DIR as model.weights",
        )
    return folder / _WEIGHTS / name


def name_at(path: Path) -> str | None:
    """Return the model whose published weights lie or would lie at a path; None for another."""
    folder = user_folder()
    if folder is None or path.parent != folder / _WEIGHTS:
        return None
    return path.name if path.name in repositories() else None


def record_of(folder: Path) -> dict[str, Any] | None:
    """Return what `maskvd get` recorded of a folder; None where there is nothing yet.

    Raises ResultError where something else is there, or the record is damaged.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        with (folder / RECORD).open("rb") as file:
            record: object = finite_json(file.read(_MOST_JSON).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(
            f"is there, and holds no readable {RECORD}, so it is none of `maskvd get`",
            where=folder,
            remedy="give another folder: --to DIR, or remove this one",
        ) from error
    if not _is_record(record):
        raise ResultError("is no record of `maskvd get`", where=folder / RECORD,
                          remedy="give another folder: --to DIR, or remove this one")  # fmt: skip
    return cast(dict[str, Any], record)


def damage_of(folder: Path, record: Mapping[str, Any]) -> str | None:
    """Return how a folder differs from its record, None where it does not."""
    for name, told in record["files"].items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if sha256_of(folder / name) != told["sha256"]:
            return f"{name} is not what was fetched"
    return None


def strangers_in(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Return what lies in a folder that was not fetched."""
    return sorted({path.name for path in folder.iterdir()} - {RECORD, *record["files"]})


def _is_record(record: object) -> bool:
    if not isinstance(record, dict):
        return False
    told = cast(dict[str, object], record)
    files = told.get("files")
    return (
        all(isinstance(told.get(key), str) for key in ("name", "source", "revision"))
        and isinstance(files, dict)
        and all(
            bool(_NAME.fullmatch(name))
            and isinstance(file, dict)
            and bool(_SHA256.fullmatch(str(cast(dict[str, object], file).get("sha256"))))
            for name, file in cast(dict[str, object], files).items()
        )
    )
