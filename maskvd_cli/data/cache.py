"""Arrays that take long to read, kept in the user's cache folder by what they were read from.

`MASKVD_CACHE` names another folder, `off` keeps nothing; by default it is `maskvd` in
`$XDG_CACHE_HOME` or `~/.cache`. An entry that is damaged, or cannot be written, costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import MaskvdError
from maskvd_cli.data.files import open_regular
from maskvd_cli.store.atomic import write_atomic

Arrays = dict[str, NDArray[Any]]

_FOLDERS, _TIMES = "looked-into.folders", "looked-into.times"
_MOST_BYTES = 4 << 30
_MOST_ENTRIES = 24
_log = logging.getLogger(__name__)


def user_folder() -> Path | None:
    """Return the user's cache folder, None where nothing is to be kept."""
    given = os.environ.get("MASKVD_CACHE", "")
    if given.lower() == "off":
        return None
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(given or Path(home) / "maskvd").expanduser()
    if not folder.is_absolute() and not given:
        return None
    return folder.resolve()


def cache_folder(dataset_root: Path) -> Path | None:
    """Return the cache folder, None where nothing is to be kept: never inside a dataset."""
    folder = user_folder()
    return None if folder is None or folder.is_relative_to(dataset_root.resolve()) else folder


def digest(parts: Iterable[object]) -> str:
    """Return the sha256 of the parts' texts."""
    content = "\0".join(str(part) for part in parts)
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def stamp_of(file: str | Path | os.DirEntry[str]) -> str:
    """Return what tells that a file's content may be another one: size and times in ns."""
    stat = file.stat() if isinstance(file, os.DirEntry) else os.stat(file)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def load_entry(folder: Path, name: str) -> Arrays | None:
    """Return an entry's arrays, None where it is absent, damaged, or of folders that changed."""
    file = folder / f"{name}.npz"
    try:
        with open_regular(file) as opened, zipfile.ZipFile(opened) as archive:
            arrays = {entry.filename.removesuffix(".npy"): _member(archive, entry)
                      for entry in archive.infolist()}  # fmt: skip
        folders, times = unpacked(arrays.pop(_FOLDERS)), arrays.pop(_TIMES).tolist()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for damaged files
        _log.debug("dropped a damaged entry of the cache: %s (%s)", file, error)
        with contextlib.suppress(OSError):
            file.unlink()
        return None
    return arrays if [_time_of(path) for path in folders] == times else None


def save_entry(
    folder: Path, name: str, arrays: Mapping[str, NDArray[Any]], looked_into: Iterable[Path]
) -> None:
    """Keep arrays that hold as long as the folders `looked_into` do; the oldest entries go."""
    paths = sorted({str(path) for path in looked_into})
    content = {
        **arrays,
        _FOLDERS: packed(paths),
        _TIMES: np.array([_time_of(path) for path in paths], dtype=np.int64),
    }
    if sum(array.nbytes for array in content.values()) > _MOST_BYTES:
        return

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, **content)

    try:
        write_atomic(folder / f"{name}.npz", write)
        entries = sorted(folder.glob("*.npz"), key=lambda entry: entry.stat().st_mtime)
        for entry in entries[:-_MOST_ENTRIES]:
            entry.unlink(missing_ok=True)
    except (MaskvdError, OSError) as error:
        _log.debug("the cache cannot be written: %s", error)


def packed(texts: Iterable[str]) -> NDArray[np.uint8]:
    """Return texts that hold no NUL as bytes, each ended by one."""
    joined = "".join(f"{text}\0" for text in texts)
    return np.frombuffer(joined.encode("utf-8", "surrogateescape"), dtype=np.uint8)


def unpacked(content: NDArray[Any]) -> list[str]:
    """Return the texts that were packed."""
    return content.tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array whose header promises exactly what is there. Raises ValueError otherwise."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > _MOST_BYTES:
        raise ValueError(f"{entry.filename} is not as it was stored")
    content = archive.read(entry)
    head = io.BytesIO(content)
    if np.lib.format.read_magic(head) != (1, 0):
        raise ValueError(f"{entry.filename} has another header")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(head)
    if dtype.hasobject or by_columns:
        raise ValueError(f"{entry.filename} holds {dtype}")
    return np.frombuffer(content, dtype=dtype, offset=head.tell()).reshape(shape)


def _time_of(folder: str) -> int:
    """Return when a folder's list of names changed last, -1 where it does not exist."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return -1
