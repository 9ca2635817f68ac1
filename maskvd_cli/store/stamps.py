"""The sha256 of files whose content is known, so that they need not be read again.

Beside a digest stands what the system said of the file just before it was read: size, inode, times
of the last change of content and of anything. Whatever writes to a file, or replaces it, changes
one of them, and nobody can set the last. A file that changed shortly before it was looked at could
change again within one tick of the clock, so it is not taken as known.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.store.reading import is_regular
from maskvd_cli.store.records import read_json
from maskvd_cli.store.sealed import sealed_text

# Longer than any file system's clock stands still.
_SETTLED_NS = 3_000_000_000
_FILES = "files"
# Numbers that `look` gives.
_PARTS = 4


@dataclass
class Stamps:
    """What is known of files by their names, and when it was noted; times in ns."""

    entries: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])

    @classmethod
    def read(cls, path: Path) -> Stamps:
        """Return what was noted; nothing where that is absent, damaged or of another form."""
        try:
            held: object = read_json(path)[_FILES] if is_regular(path) else {}
        except (ResultError, KeyError):
            return cls()
        return cls(cast(dict[str, list[Any]], held) if isinstance(held, Mapping) else {})

    def write(self, path: Path) -> None:
        """Write what is known to a file."""
        write_bytes(path, sealed_text({_FILES: self.entries}, indent=None))

    def note(self, path: Path, seen: Sequence[int] | None, digest: str) -> None:
        """Note the sha256 of a file; `seen`: what `look` gave just before it was read."""
        if seen is not None:
            self.entries[path.name] = [digest, time.time_ns(), *seen]

    def digest(self, path: Path) -> str | None:
        """Return the sha256 of a file that has not changed since, None where that is not sure."""
        entry = self.entries.get(path.name)
        if not isinstance(entry, list) or len(entry) != 2 + _PARTS:
            return None
        digest, noted, *seen = entry
        whole = isinstance(digest, str) and all(isinstance(part, int) for part in (noted, *seen))
        return digest if whole and seen == look(path) and seen[-1] < noted - _SETTLED_NS else None


def look(path: Path) -> list[int] | None:
    """Return size, inode, and both times in ns, the last change of anything last; None: no file."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]
