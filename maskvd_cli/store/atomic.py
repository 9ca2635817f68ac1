"""Write a file whole or not at all: a temporary name in the same folder, fsync, rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from maskvd_cli.core.errors import ResultError


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    Makes the folder where it is absent. Raises ResultError where the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=f".part{path.suffix}", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def _unwritable(path: Path, error: OSError) -> ResultError:
    reason = error.strerror or error
    return ResultError(f"cannot be written ({reason})", where=path, remedy="choose another place")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def refuse_inside(output: Path, dataset_root: Path) -> None:
    """Raise ResultError for an output inside a dataset's folder, which is never written to."""
    if output.resolve().is_relative_to(dataset_root.resolve()):
        raise ResultError(
            "lies inside the dataset's folder, which maskvd never writes to",
            where=output,
            remedy="choose a place outside of it",
        )
