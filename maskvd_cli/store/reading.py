"""Open files of results: regular ones only, and only as much of them as is allowed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# Absent on Windows, where a name is no pipe.
_NO_WAITING: int = getattr(os, "O_NONBLOCK", 0)
_NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)
_AS_IT_IS: int = getattr(os, "O_BINARY", 0)


def is_regular(path: Path) -> bool:
    """Tell whether `path` is a regular file: no folder, link, pipe or device."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_regular(path: Path, most: int, *, follow: bool = False) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes.

    Never waits: named pipes and devices are refused. Links are refused, too, unless they are to
    `follow`, as for a file that the user names. Raises FileNotFoundError for an absent file, other
    OSErrors, and ValueError for what is no regular file, or is larger.
    """
    if not follow and os.path.islink(path):
        raise ValueError("is a link, no regular file")
    flags = os.O_RDONLY | _NO_WAITING | _AS_IT_IS | (0 if follow else _NO_LINKS)
    descriptor = os.open(path, flags)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ValueError("is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > most:
            raise ValueError(f"larger than {size_text(most)}")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"larger than {size_text(most)}")
    return content


def size_text(size: int) -> str:
    """Return a limit in bytes as `16 MiB` or `1 GiB`."""
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
