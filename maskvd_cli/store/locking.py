"""One writer at a time in a folder of results."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.atomic import remove_leftovers


@contextmanager
def sole_writer(folder: Path, what: str, remedy: str) -> Generator[None]:
    """Keep every other `what` out of the folder while the block runs; makes it where it is absent.

    Whoever is in is the only writer, so what a killed one left half-written is removed. Raises
    ResultError, with `remedy`, where another is in, and where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
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
