"""Arrays with JSON facts in one `.npz` file that checks itself; nothing pickled is read.

The array `metadata` holds the facts, a sha256 of every other array, and a checksum of both. What a
reader takes into memory is declared in the file and bounded by the file's own size, and the writer
keeps to the same bound: what was written can be read.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.store.reading import read_regular
from maskvd_cli.store.records import AGAIN, NewerResultError, damaged
from maskvd_cli.store.schema import SCHEMA_VERSION
from maskvd_cli.store.sealed import read_object, sealed_text, sha256_of_array, unsealed

Arrays = Mapping[str, NDArray[Any]]
_LARGEST = 1 << 32
# Unpacked, a file may be this large, or so many times as large as it is packed.
_UNPACKED, _RATIO = 64 << 20, 32
_METADATA = "metadata"
_KINDS = "biuf"
# What reading the bytes of a damaged archive raises; RuntimeError, where one says it is encrypted.
_UNREADABLE = (EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def write_parts(path: Path, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Write arrays of numbers and JSON facts, whole or not at all; the same give the same bytes.

    Raises ResultError where the place cannot be written or the arrays are larger than 4 GiB.
    """
    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    size = sum(array.nbytes for array in held.values())
    if size > _LARGEST // 2:
        raise ResultError(f"{size} bytes are too many for one file", where=path, remedy="split it")
    content = _packed(held, facts, zipfile.ZIP_DEFLATED)
    if not _is_bounded(len(content), size):
        content = _packed(held, facts, zipfile.ZIP_STORED)
    write_bytes(path, content)


def read_parts(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and facts of a file.

    Raises ResultError for a file that is absent or not as it was written, NewerResultError for one
    of a newer maskvd.
    """
    try:
        content = read_regular(path, _LARGEST)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            arrays = _arrays(archive, len(content))
        metadata = read_object(arrays.pop(_METADATA).tobytes().decode())
        _refuse_newer(path, metadata)
        facts, digests = _checked(unsealed(metadata), arrays)
    except ResultError:
        raise
    except FileNotFoundError as error:
        raise ResultError("is missing", where=path, remedy="sweep again") from error
    except MemoryError as error:
        raise ResultError("does not fit into memory", where=path, remedy=AGAIN) from error
    except (OSError, *_UNREADABLE) as error:
        raise damaged(path, " ".join(str(error).split()) or type(error).__name__) from error
    for name, array in arrays.items():
        if digests.get(name) != sha256_of_array(array):
            raise damaged(path, f"the checksum of {name} does not fit: something was changed")
    return arrays, facts


def digests_in(path: Path, content: bytes) -> dict[str, str]:
    """Return the sha256 of each array that a file holds, as it says itself; `path` names it.

    Raises DamagedResultError where it cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            metadata = _array(archive.read(f"{_METADATA}.npy")).tobytes().decode()
        return {**unsealed(read_object(metadata))["arrays"]}
    except (TypeError, *_UNREADABLE) as error:
        raise damaged(path, " ".join(str(error).split()) or type(error).__name__) from error


def names_in(path: Path) -> list[str]:
    """Return the names of a file's arrays; none is unpacked, and no checksum is compared.

    Raises ResultError for a file that is absent or no archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(read_regular(path, _LARGEST))) as archive:
            names = [entry.filename.removesuffix(".npy") for entry in archive.infolist()]
    except FileNotFoundError as error:
        raise ResultError("is missing", where=path, remedy="sweep again") from error
    except (OSError, *_UNREADABLE) as error:
        raise damaged(path, error) from error
    return [name for name in names if name != _METADATA]


def _packed(arrays: Arrays, facts: Mapping[str, Any], method: int) -> bytes:
    content = {
        "schema": SCHEMA_VERSION,
        "facts": dict(facts),
        "arrays": {name: sha256_of_array(array) for name, array in arrays.items()},
    }
    text = np.frombuffer(sealed_text(content, indent=None), dtype=np.uint8)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, array in {_METADATA: text, **arrays}.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, allow_pickle=False)
            # An entry without a time, so that the same arrays give the same bytes.
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = method
            archive.writestr(entry, member.getvalue())
    return packed.getvalue()


def _arrays(archive: zipfile.ZipFile, packed: int) -> dict[str, NDArray[Any]]:
    entries = archive.infolist()
    if not _is_bounded(packed, sum(entry.file_size for entry in entries)):
        raise ValueError("far larger unpacked than a result is")
    return {entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in entries}


def _is_bounded(packed: int, unpacked: int) -> bool:
    # Headers of members take a few hundred bytes each.
    return unpacked <= max(_UNPACKED, _RATIO * packed)


def _array(content: bytes) -> NDArray[Any]:
    """Return the array of a member; what its header declares must be what follows it."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"an array of version {version}")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if by_columns and len(shape) > 1:
        raise ValueError("an array that is stored by columns")
    if dtype.kind not in _KINDS:
        raise ValueError(f"an array of {dtype}, not of numbers")
    rest = len(content) - stream.tell()
    if math.prod(shape) * dtype.itemsize != rest:
        raise ValueError(f"an array of {rest} bytes that says it has another size")
    return np.frombuffer(content, dtype=dtype, offset=stream.tell()).reshape(shape)


def _refuse_newer(path: Path, metadata: Mapping[str, Any]) -> None:
    version = metadata.get("schema")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerResultError(
            f"written by a newer maskvd (schema {version}, this one reads {SCHEMA_VERSION})",
            where=path,
            remedy="upgrade maskvd",
        )


def _checked(metadata: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    facts, digests = metadata.get("facts"), metadata.get("arrays")
    if not isinstance(facts, dict) or not isinstance(digests, dict):
        raise ValueError("its facts are missing")
    if set(cast(dict[str, Any], digests)) != set(arrays):
        raise ValueError("an array is missing")
    return cast(dict[str, Any], facts), cast(dict[str, Any], digests)
