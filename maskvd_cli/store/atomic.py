"""Write a file whole or not at all: a temporary name in the same folder, fsync, rename."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from maskvd_cli.core.errors import ResultError

_PREFIX, _SUFFIX = ".maskvd-", ".part"


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    Makes the folder where it is absent. Raises ResultError where the place cannot be written, or is
    a device or a pipe, which a rename would replace.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise ResultError("is no regular file", where=path, remedy="name a file")
    temporary = path.parent / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        # Nothing to remove after the rename, or where the folder itself could not be made.
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder with `files` (relative path to content) whole or not at all.

    `folder` must be absent or empty. Raises ResultError where the place cannot be written.
    """
    # The current folder can be replaced under its full name only.
    folder = Path(os.path.realpath(folder))
    temporary = folder.parent / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
    try:
        for name, content in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        temporary.replace(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_leftover(path: Path) -> bool:
    """Tell whether a file or folder is one of those that a killed process leaves behind."""
    return path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)


def has_leftovers(folder: Path) -> bool:
    """Tell whether a killed process left temporary files or folders below `folder`."""
    return any(True for _ in folder.rglob(f"{_PREFIX}*{_SUFFIX}"))


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders below `folder` that a killed process left behind."""
    for path in list(folder.rglob(f"{_PREFIX}*{_SUFFIX}")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> ResultError:
    reason = error.strerror or error
    return ResultError(f"cannot be written ({reason})", where=path, remedy="choose another place")


def refuse_inside(output: Path, dataset_root: Path) -> None:
    """Raise ResultError for an output inside a dataset's folder, which is never written to."""
    if output.resolve().is_relative_to(dataset_root.resolve()):
        raise ResultError(
            "lies inside the dataset's folder, which maskvd never writes to",
            where=output,
            remedy="choose a place outside of it",
        )
