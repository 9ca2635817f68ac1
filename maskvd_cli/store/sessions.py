"""Sessions that are going on: their manifest, and each piece as soon as it ends.

They lie in `measured/<metric>/session-<name>/` until the session has ended and its records are
written; a sweep that was killed goes on with what is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.filenames import file_name
from maskvd_cli.store.parts import read_parts, write_parts
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.records import NewerResultError

_MANIFEST = "manifest"
_PREFIX = "session-"


@dataclass(frozen=True)
class OpenSession:
    """The folder of one session."""

    folder: Path

    @property
    def name(self) -> str:
        """What records and raw samples call the session."""
        return self.folder.name.removeprefix(_PREFIX)

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """Write what decides the session; only an equal one may go on with its pieces."""
        write_parts(self._place(_MANIFEST), {}, manifest)

    def manifest(self) -> dict[str, Any] | None:
        """Return what decides the session; None where it is absent or damaged."""
        try:
            return read_parts(self._place(_MANIFEST))[1]
        except NewerResultError:
            raise
        except ResultError:
            return None

    def write(self, piece: Piece) -> None:
        """Store a piece, whole or not at all."""
        facts = {"key": piece.key, "part": piece.part, "facts": dict(piece.facts)}
        write_parts(self.place_of(piece.part), piece.arrays, facts)

    def forget(self, piece: Piece) -> None:
        """Remove a piece, so that it is made again."""
        self.place_of(piece.part).unlink(missing_ok=True)

    def pieces(self) -> Iterator[Piece]:
        """Yield the pieces that are whole, by name; what is damaged is made again."""
        for path in sorted(self.folder.glob("part-*.npz")):
            try:
                arrays, facts = read_parts(path)
            except NewerResultError:
                raise
            except ResultError:
                continue
            yield Piece(str(facts["key"]), str(facts["part"]), arrays, facts["facts"])

    def close(self) -> None:
        """Remove the folder: the records say all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def place_of(self, part: str) -> Path:
        """Return where a piece lies, by its part."""
        return self._place(f"part-{part}")

    def _place(self, name: str) -> Path:
        return self.folder / f"{file_name(name)}.npz"


def open_session(run: Path, metric: str, name: str) -> OpenSession:
    """Return the session of a metric by its name, begun or not."""
    return OpenSession(run / "measured" / file_name(metric) / f"{_PREFIX}{file_name(name)}")


def open_sessions(run: Path, metric: str) -> list[OpenSession]:
    """Return the sessions of a metric that were begun and have not ended."""
    below = (run / "measured" / file_name(metric)).glob(f"{_PREFIX}*")
    return [OpenSession(path) for path in sorted(below) if path.is_dir() and not path.is_symlink()]
