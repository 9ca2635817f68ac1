"""Files of a run's folder to content, and back: JSON records, gzipped JSON, tables of samples.

Whatever is wrong with a file ends in one ResultError that names it; no other exception leaves.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from maskvd_cli.core.errors import EXIT_POINTS_FAILED, ResultError
from maskvd_cli.store.reading import read_regular, size_text
from maskvd_cli.store.schema import SCHEMA_VERSION
from maskvd_cli.store.sealed import (
    read_object,
    readable_json,
    sealed_text,
    sha256_of_bytes,
    unsealed,
    without_seal,
)

AGAIN = "remove it and sweep again"
LARGEST_JSON = 16 << 20
_LARGEST_TABLE = 1 << 30
_LARGEST_GZIP = 1 << 32
# Unpacked, a file may be this large, or so many times as large as it is packed: what takes memory
# grows with the file. Our own JSON packs to a tenth.
_UNPACKED, _RATIO = 256 << 20, 64
_CHUNK = 1 << 20
S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


class DamagedResultError(ResultError):
    """A result file that is not as it was written; commands end with 3, as where points failed."""

    exit_code = EXIT_POINTS_FAILED


class NewerResultError(ResultError):
    """A result file of a newer maskvd: never taken for a damaged one, never overwritten."""


def damaged(path: Path, reason: object, remedy: str = AGAIN) -> DamagedResultError:
    """Return the error for a file that is not as it was written."""
    return DamagedResultError(f"damaged result file ({reason})", where=path, remedy=remedy)


def dump(stored: BaseModel) -> bytes:
    """Return a record with its checksum as the bytes of a JSON file.

    Raises ResultError for one that is larger than what is read: what was written can be read.
    """
    content = sealed_text(stored.model_dump(mode="json", by_alias=True))
    if len(content) > LARGEST_JSON:
        raise ResultError(
            f"a {type(stored).__name__} of {len(content)} bytes is larger than "
            f"{size_text(LARGEST_JSON)}, the most that one file may hold",
            remedy="split the recipe",
        )
    return content


def read_json(path: Path, most: int = LARGEST_JSON) -> dict[str, Any]:
    """Read a JSON object whose checksum, where it has one, fits. Raises ResultError."""
    content = _bytes(path, most)
    return _sound(path, lambda: unsealed(read_object(content.decode())))


def read_record(path: Path, kind: type[S]) -> S:
    """Read a record of this kind.

    Raises ResultError for an absent or damaged file, NewerResultError for one of a newer maskvd.
    """
    content = _bytes(path, LARGEST_JSON)
    data = _sound(path, lambda: read_object(content.decode()))
    version = data.get("schema")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerResultError(
            f"written by a newer maskvd (schema {version}, this one reads {SCHEMA_VERSION})",
            where=path,
            remedy="upgrade maskvd",
        )
    # An impossible value says more than a checksum that does not fit, so it comes first.
    record = checked(path, kind, without_seal(data))
    _sound(path, lambda: unsealed(data))
    return record


def checked(path: Path, kind: type[S], data: dict[str, Any]) -> S:
    """Return content as a record of this kind; raises ResultError naming the first wrong key."""
    try:
        return _sound(path, lambda: kind.model_validate_json(readable_json(data)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        # What a record as a whole refuses names its key itself.
        reason = f"{key}: {first['msg']}" if key else first["msg"].removeprefix("Value error, ")
        raise damaged(path, " ".join(reason.split())) from error


def gzipped(content: dict[str, Any]) -> bytes:
    """Return content with its checksum as gzipped JSON; the same content gives the same bytes."""
    # Without a time in it.
    return gzip.compress(sealed_text(content, indent=None), compresslevel=6, mtime=0)


def read_gzip(path: Path, check: Callable[[dict[str, Any]], T], digest: str | None = None) -> T:
    """Read a gzipped JSON object; `check` returns what it holds, or raises ValueError.

    `digest`: the file's sha256 where a record names it. Raises ResultError where the file is
    absent, damaged, another, or a bomb.
    """
    packed = _bytes(path, _LARGEST_GZIP)
    _check(path, packed, digest)
    return _sound(path, lambda: check(unsealed(read_object(_unpacked(packed).decode()))))


def read_table(path: Path, digest: str | None = None) -> pd.DataFrame:
    """Read a table of raw samples; `digest`: the file's sha256 where a record names it.

    Raises ResultError where it is absent, damaged or another file.
    """
    try:
        content = read_regular(path, _LARGEST_TABLE)
        _check(path, content, digest)
        return pd.read_parquet(io.BytesIO(content))
    except ResultError:
        raise
    except Exception as error:  # pyarrow raises a dozen kinds for damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedResultError(
            f"raw samples cannot be read ({reason})", where=path, remedy="sweep again"
        ) from error


def read_named(path: Path, digest: str | None) -> bytes:
    """Return the bytes of a file; raises ResultError where it is not the one that a record names.

    `digest`: its sha256, None where the record is older than checksums.
    """
    content = _bytes(path, _LARGEST_GZIP)
    _check(path, content, digest)
    return content


def _check(path: Path, content: bytes, digest: str | None) -> None:
    if digest is not None and sha256_of_bytes(content) != digest:
        raise damaged(path, "the checksum does not fit: something was changed")


def _unpacked(packed: bytes) -> bytes:
    """Unpack gzip, and stop where it grows beyond all measure."""
    most = max(_UNPACKED, _RATIO * len(packed))
    parts: list[bytes] = []
    with gzip.open(io.BytesIO(packed), "rb") as file:
        while part := file.read(_CHUNK):
            parts.append(part)
            most -= len(part)
            if most < 0:
                raise ValueError("far larger unpacked than a result is")
    return b"".join(parts)


def _bytes(path: Path, most: int) -> bytes:
    try:
        return read_regular(path, most)
    except FileNotFoundError as error:
        raise ResultError(
            "is missing; the sweep was killed as it began", where=path, remedy="sweep again"
        ) from error
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def _sound(path: Path, read: Callable[[], T]) -> T:
    """Read, and turn what damaged files raise into a ResultError."""
    try:
        return read()
    except ValidationError:  # it is a ValueError too
        raise
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise damaged(path, error) from error
