"""Read a dataset's files: regular ones alone, since a pipe or a device may block for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NOT_REGULAR = "not a regular file"
_MARK = b"\xef\xbb\xbf"


def open_regular(file: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Raises OSError for a folder, pipe, socket or device, and where the file cannot be opened.
    """
    _refuse_others(os.stat(file).st_mode)
    descriptor = os.open(file, _FLAGS)
    try:
        # What was a file when it was looked at may have been replaced since.
        _refuse_others(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(file: Path) -> bytes:
    """Return what a regular file holds, without a byte order mark. Raises OSError."""
    with open_regular(file) as opened:
        return opened.read().removeprefix(_MARK)


def _refuse_others(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory")
    if not stat.S_ISREG(mode):
        raise OSError(22, _NOT_REGULAR)
