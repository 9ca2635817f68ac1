"""One writer at a time in a folder of results."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.atomic import is_leftover, remove_leftovers

_LOCK = ".lock"


@contextmanager
def sole_writer(folder: Path, what: str, remedy: str) -> Generator[None]:
    """Keep every other `what` out of the folder while the block runs; make the folder where needed.

    The one inside is the only writer, so half-written files of a killed one are removed. Raises
    ResultError, with `remedy`, where another is in, and where the folder cannot be written.
    """
    lock = FileLock(folder / _LOCK)
    try:
        _enter(lock, folder)
    except Timeout as error:
        raise ResultError(f"another {what} is writing here", where=folder, remedy=remedy) from error
    except OSError as error:
        raise ResultError(
            f"cannot be written ({error.strerror or error})",
            where=folder,
            remedy="choose another place",
        ) from error
    try:
        remove_leftovers(folder)
        yield
    finally:
        lock.release()


def remove_unbegun(folders: Iterable[Path]) -> None:
    """Remove the folders whose process was killed before it had written a file.

    They hold a lock that nobody holds and half-written files at most. What cannot be removed stays.
    """
    for folder in folders:
        if not _is_unbegun(folder):
            continue
        lock = FileLock(folder / _LOCK)
        with contextlib.suppress(Timeout, OSError), lock.acquire(timeout=0):
            # Only now nobody else can be writing here.
            if _is_unbegun(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_unbegun(folder: Path) -> bool:
    if folder.is_symlink() or not folder.is_dir():
        return False
    with contextlib.suppress(OSError):
        names = list(folder.iterdir())
        return bool(names) and all(path.name == _LOCK or is_leftover(path) for path in names)
    return False


def _enter(lock: FileLock, folder: Path) -> None:
    """Make the folder and lock it; once more where another has just removed it as abandoned."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
