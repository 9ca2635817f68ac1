"""Where files lie in a run's folder. Raises ValueError for what is no name of a file."""

from __future__ import annotations

from pathlib import Path

from maskvd_cli.core.filenames import file_name


def point(key: str) -> Path:
    """Return the place of a point's record."""
    return Path("points") / f"{file_name(key)}.json"


def samples(key: str) -> Path:
    """Return the place of a point's samples."""
    return Path("samples") / f"{file_name(key)}.parquet"


def predictions(key: str) -> Path:
    """Return the place of a point's predictions of an earlier version."""
    return Path("predictions") / f"{file_name(key)}.json.gz"


def part_of(number: int) -> str:
    """Return the name of the piece of a clip, by the clip's number in the scene."""
    return f"{number:05d}"


def pieces(key: str) -> Path:
    """Return the place of the pieces of a point."""
    return Path("pieces") / file_name(key)


def stamps(key: str) -> Path:
    """Return the place of what is known of the pieces of a point."""
    return pieces(key) / "stamps.json"


def piece(key: str, number: int) -> Path:
    """Return the place of the piece of a clip."""
    return pieces(key) / f"{part_of(number)}.npz"


def measured(of: str, key: str) -> Path:
    """Return the place of what a metric found of a point."""
    return Path("measured") / file_name(of) / f"{file_name(key)}.json"


def session(session: str, of: str) -> Path:
    """Return the place of the raw samples of a session."""
    return Path("measured") / file_name(of) / f"session-{file_name(session)}.parquet"
