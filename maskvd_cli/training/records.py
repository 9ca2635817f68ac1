"""The JSON files of a training's folder, checked before they are believed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.records import DamagedResultError
from maskvd_cli.store.schema import Count, Real
from maskvd_cli.store.sealed import read_object, readable_json, unsealed, without_seal

# 2: initial weights by their sha256; 3: with a checksum.
FOLDER_VERSION = 3
_LARGEST = 16 << 20
_ELSEWHERE = "choose another folder with -o"
REMEDY = "remove it, and the same command writes it again from the last checkpoint"
Percent = Annotated[float, Field(ge=0, le=100)]
Version = Annotated[int, Field(ge=1)]


class DamagedTrainingError(DamagedResultError):
    """A file of a training that is not as it was written."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class StoredScores(_Strict):
    """The task's quantities in percent, of all classes together and of each.

    They stand on so many `frames` or `videos`.
    """

    __pydantic_extra__: dict[str, Percent | dict[str, Percent]] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    frames: Count | None = None
    videos: Count | None = None

    @model_validator(mode="after")
    def _stands_on_something(self) -> Self:
        if (self.frames is None) == (self.videos is None):
            raise ValueError("the number of frames, or of videos, is missing")
        return self


class StoredResult(_Strict):
    """The weights file that a training ended with, and what it cost."""

    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Count
    parameters: Count
    steps: Count
    frames_learnt: Count
    seconds: Annotated[Real, Field(ge=0)]
    device: str
    threads: Count
    accuracy: StoredScores
    untuned: StoredScores | None = None
    environment: dict[str, Any]


class StoredEnd(_Strict):
    """`result.json` since version 3; before, the result alone stood there, without a checksum."""

    version: Version
    result: StoredResult


class StoredIdentity(_Strict):
    """`training.json`: all that decides the weights.

    Version 1, which is not written in the file, names initial weights by their file name alone;
    from version 3 on there is a checksum.
    """

    version: Version = 1
    recipe: dict[str, Any]
    geometry: dict[str, str | None]
    frames: Count
    annotations: str


def read_result(path: Path, scores: Collection[str]) -> dict[str, Any] | None:
    """Return what a finished training wrote, None where nothing is there.

    `scores`: the names that its scores must have. Raises DamagedTrainingError, and ResultError for
    a file of a newer maskvd.
    """
    content = _object(path, REMEDY)
    if content is None:
        return None
    if "version" in content:
        result = _sealed(path, StoredEnd, REMEDY, content)["result"]
    else:
        result = _checked(path, StoredResult, REMEDY, content)
    if missing := [name for name in scores if name not in result["accuracy"]]:
        reason = f"damaged (accuracy.{missing[0]} is missing)"
        raise DamagedTrainingError(reason, where=path, remedy=REMEDY)
    return result


def read_identity(path: Path) -> dict[str, Any] | None:
    """Return what is trained in a folder, None where nothing is there.

    Raises DamagedTrainingError, and ResultError for a file of a newer maskvd.
    """
    content = _object(path, _ELSEWHERE)
    return None if content is None else _sealed(path, StoredIdentity, _ELSEWHERE, content)


def changed(earlier: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> list[str]:
    """Return the dotted names of all values of an identity that differ.

    Raises DamagedTrainingError where a value is of another kind than the one that it is held
    against.
    """
    return list(_changed(earlier, now, "", where))


def read_log(path: Path) -> Iterator[tuple[int, str]]:
    """Yield step and text of every line of the log; a half line at the end is left out.

    Each line has its checksum; those of before have none. A killed process leaves a half line,
    without its newline. Raises DamagedTrainingError.
    """
    if not path.exists():
        return
    *whole, last = _bytes(path, "remove it; weights do not depend on it").split(b"\n")
    for number, line in enumerate(whole, 1):
        step = _step_of(line)
        if step is None:
            raise DamagedTrainingError(
                f"line {number} is damaged",
                where=path,
                remedy="remove that line; weights do not depend on it",
            )
        yield step, line.decode()
    step = _step_of(last)
    if step is not None:
        yield step, last.decode()


def _step_of(line: bytes) -> int | None:
    try:
        step: object = unsealed(read_object(line.decode())).get("step")
    except (ValueError, RecursionError):
        return None
    return step if isinstance(step, int) and not isinstance(step, bool) and step >= 0 else None


def _object(path: Path, remedy: str) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return read_object(_bytes(path, remedy).decode())
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DamagedTrainingError(f"damaged ({reason})", where=path, remedy=remedy) from error


def _checked(
    path: Path, kind: type[BaseModel], remedy: str, content: dict[str, Any]
) -> dict[str, Any]:
    try:
        kind.model_validate_json(readable_json(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        reason = f"{key}: {first['msg']}" if key else first["msg"]
        raise DamagedTrainingError(f"damaged ({reason})", where=path, remedy=remedy) from error
    return content


def _sealed(
    path: Path, kind: type[BaseModel], remedy: str, content: dict[str, Any]
) -> dict[str, Any]:
    """Return content without its checksum; a value that cannot be is told before the checksum."""
    rest = _checked(path, kind, remedy, without_seal(content))
    if (version := rest.get("version", 1)) > FOLDER_VERSION:
        raise ResultError(
            f"version {version}, expected {FOLDER_VERSION} at most",
            where=path,
            remedy="use the version of maskvd that wrote it",
        )
    try:
        return unsealed(content, "version", FOLDER_VERSION)
    except ValueError as error:
        raise DamagedTrainingError(f"damaged ({error})", where=path, remedy=remedy) from error


def _bytes(path: Path, remedy: str) -> bytes:
    try:
        if not path.is_file():
            raise DamagedTrainingError("is no regular file", where=path, remedy=remedy)
        if path.stat().st_size > _LARGEST:
            raise DamagedTrainingError("is larger than 16 MiB", where=path, remedy=remedy)
        return path.read_bytes()
    except OSError as error:
        raise ResultError(
            f"cannot be read ({error.strerror})", where=path, remedy=_ELSEWHERE
        ) from error


def _changed(
    earlier: Mapping[str, Any], now: Mapping[str, Any], before: str, where: Path
) -> Iterator[str]:
    for key in sorted({*earlier, *now}):
        old, new = earlier.get(key), now.get(key)
        name = f"{before}{key}".removeprefix("recipe.")
        if None not in (old, new) and not _alike(old, new):
            raise DamagedTrainingError(
                f"damaged ({name} is {json.dumps(old)[:40]}, of another kind than "
                f"{json.dumps(new)[:40]})",
                where=where,
                remedy=_ELSEWHERE,
            )
        if isinstance(old, dict) and isinstance(new, dict):
            inside, others = cast(dict[str, Any], old), cast(dict[str, Any], new)
            yield from _changed(inside, others, f"{before}{key}.", where)
        elif old != new:
            yield name


def _alike(old: object, new: object) -> bool:
    """Tell whether a stored value is of the kind of a present one; floats may be whole."""
    kinds = (int, float) if isinstance(new, float) else type(new)
    return isinstance(old, kinds) and isinstance(old, bool) == isinstance(new, bool)
