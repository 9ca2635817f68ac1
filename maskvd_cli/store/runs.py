"""Run folders, `<results>/<recipe>/<run-id>/`: plan, recipe, environment, points, samples.

Where the model ran also predictions, the truth that they are scored against, and one file per
measured pass and point.
"""

from __future__ import annotations

import gzip
import json
import os
import secrets
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.arrays import finite_json
from maskvd_cli.store.atomic import write_atomic, write_bytes
from maskvd_cli.store.locking import sole_writer
from maskvd_cli.store.measured import MeasuredRecord, PassName
from maskvd_cli.store.schema import SCHEMA_VERSION, Plan, PointRecord

PLAN, RECIPE, ENVIRONMENT = "plan.json", "recipe.yaml", "environment.json"
TRUTH = "truth.json.gz"
_LARGEST_GZIP = 1 << 30
_LARGEST_JSON = 16 << 20
S = TypeVar("S", bound=BaseModel)


class NewerResultError(ResultError):
    """A result file of a newer maskvd: never taken for a damaged one, never overwritten."""


def utc_now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def new_run_id() -> str:
    """Return a UTC timestamp with six random hex digits, so that names sort by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@dataclass(frozen=True)
class Run:
    """One run folder; reading never writes."""

    folder: Path

    def plan(self) -> Plan:
        """Read `plan.json`. Raises ResultError where it is absent or damaged."""
        return _read(self.folder / PLAN, Plan)

    def environment(self) -> dict[str, Any]:
        """Read `environment.json`. Raises ResultError where it is absent or damaged."""
        return _json(self.folder / ENVIRONMENT)

    def has_begun(self) -> bool:
        """Tell whether plan, recipe and environment are all there."""
        return all((self.folder / name).is_file() for name in (PLAN, RECIPE, ENVIRONMENT))

    def has(self, key: str) -> bool:
        """Tell whether a point's file is there."""
        path = self._point_path(key)
        return os.path.isfile(path) and not os.path.islink(path)

    def point(self, key: str) -> PointRecord | None:
        """Return the record of a point, or None where it has not been run."""
        path = self._point_path(key)
        if not self.has(key):
            return None
        record = _read(path, PointRecord)
        if record.key != key:
            raise ResultError(
                f"holds the point {record.key}", where=path, remedy="remove it and sweep again"
            )
        return record

    def has_samples(self, key: str) -> bool:
        """Tell whether a point's samples are there."""
        return os.path.isfile(self.folder / "samples" / f"{key}.parquet")

    def samples(self, key: str) -> pd.DataFrame:
        """Read a point's samples. Raises ResultError where they are absent or damaged."""
        return _parquet(self.folder / "samples" / f"{key}.parquet")

    def has_predictions(self, key: str) -> bool:
        """Tell whether a point's predictions are there."""
        return os.path.isfile(self.folder / _predictions(key))

    def predictions(self, key: str) -> dict[str, Any]:
        """Read a point's predictions. Raises ResultError where they are absent or damaged."""
        return _gzip_json(self.folder / _predictions(key))

    def truth(self) -> dict[str, Any]:
        """Read the annotations that predictions are scored against. Raises ResultError."""
        return _gzip_json(self.folder / TRUTH)

    def has_truth(self) -> bool:
        """Tell whether the annotations that predictions are scored against are there."""
        return os.path.isfile(self.folder / TRUTH)

    def write_truth(self, truth: dict[str, Any]) -> None:
        """Write the annotations that predictions are scored against."""
        write_bytes(self.folder / TRUTH, _gzipped(truth))

    def measured(self, of: PassName, key: str) -> MeasuredRecord | None:
        """Return what a pass found of a point, or None where it has not run.

        Raises ResultError for a damaged file.
        """
        path = self.folder / _measured(of, key)
        if not os.path.isfile(path):
            return None
        record = _read(path, MeasuredRecord)
        if (record.of, record.key) != (of, key):
            raise ResultError(
                f"holds {record.of} of {record.key}",
                where=path,
                remedy="remove it and sweep again",
            )
        return record

    def write_measured(self, record: MeasuredRecord) -> None:
        """Write what a pass found of a point."""
        write_bytes(self.folder / _measured(record.of, record.key), _dump(record))

    def write_session(self, session: str, samples: pd.DataFrame) -> None:
        """Write the raw samples of a latency session."""
        path = self.folder / _session(session)
        write_atomic(path, lambda temporary: samples.to_parquet(temporary, index=False))

    def session(self, session: str) -> pd.DataFrame:
        """Read the raw samples of a latency session. Raises ResultError where they are absent."""
        return _parquet(self.folder / _session(session))

    def adopt_measured(self, record: MeasuredRecord, source: Run) -> None:
        """Copy what a pass found in another run, byte for byte, with its raw samples."""
        files = [_measured(record.of, record.key)]
        if isinstance(session := record.details.get("session"), str):
            files.insert(0, _session(session))
        for name in files:
            if not (self.folder / name).is_file():
                write_bytes(self.folder / name, (source.folder / name).read_bytes())

    def write_plan(self, plan: Plan, recipe: bytes, environment: dict[str, Any]) -> None:
        """Write what a run starts with, the plan first."""
        write_bytes(self.folder / PLAN, _dump(plan))
        write_bytes(self.folder / RECIPE, recipe)
        text = json.dumps(environment, indent=2, allow_nan=False)
        write_bytes(self.folder / ENVIRONMENT, f"{text}\n".encode())

    def write_point(
        self,
        record: PointRecord,
        samples: pd.DataFrame | None,
        predictions: dict[str, Any] | None = None,
    ) -> None:
        """Write samples and predictions, then the point: a point that is there is complete."""
        if predictions is not None:
            write_bytes(self.folder / _predictions(record.key), _gzipped(predictions))
        if samples is not None:
            path = self.folder / "samples" / f"{record.key}.parquet"
            write_atomic(path, lambda temporary: samples.to_parquet(temporary, index=False))
        write_bytes(self._point_path(record.key), _dump(record))

    def adopt(self, record: PointRecord, source: Run) -> None:
        """Copy a finished point with its samples from another run, byte for byte."""
        for name in (Path("samples") / f"{record.key}.parquet", _predictions(record.key)):
            if (source.folder / name).is_file():
                write_bytes(self.folder / name, (source.folder / name).read_bytes())
        write_bytes(self._point_path(record.key), source._point_path(record.key).read_bytes())

    def lock(self) -> AbstractContextManager[None]:
        """Keep other sweeps out while the block runs. Raises ResultError where one is in."""
        remedy = "wait for it, or start a run of its own with --fresh"
        return sole_writer(self.folder, "sweep", remedy)

    def _point_path(self, key: str) -> Path:
        return self.folder / "points" / f"{key}.json"


def _predictions(key: str) -> Path:
    return Path("predictions") / f"{key}.json.gz"


def _measured(of: PassName, key: str) -> Path:
    return Path("measured") / of / f"{key}.json"


def _session(session: str) -> Path:
    return Path("measured") / "latency" / f"session-{session}.parquet"


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ResultError(
            f"raw samples cannot be read ({error})", where=path, remedy="sweep again"
        ) from error


def runs_below(results: Path) -> list[Run]:
    """Return the runs in a results folder or a recipe's folder in it, the newest last."""
    if not os.path.isdir(results):
        return []
    plans = [*results.glob(f"*/{PLAN}"), *results.glob(f"*/*/{PLAN}")]
    found = {plan for plan in plans if not plan.is_symlink()}
    return [Run(plan.parent) for plan in sorted(found, key=_age)]


def _age(plan: Path) -> tuple[str, int]:
    """Order runs by the second in their name, and those of one second by when they were made."""
    return plan.parent.name.partition("-")[0], plan.stat().st_mtime_ns


def find_run(place: Path) -> Run:
    """Return the run at `place`: a run folder, or the newest below a results folder.

    Raises ResultError where there is none.
    """
    if os.path.isfile(place / PLAN):
        return Run(place)
    if not os.path.isdir(place):
        raise ResultError(
            "no such folder",
            where=place,
            remedy="name a run, or a results folder; see `maskvd sweep`",
        )
    runs = runs_below(place)
    if not runs:
        raise ResultError("no run here yet", where=place, remedy="make one with `maskvd sweep`")
    return runs[-1]


def _dump(stored: BaseModel) -> bytes:
    return stored.model_dump_json(indent=2, by_alias=True).encode() + b"\n"


def _json(path: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise ValueError("a key stands twice")
        return made

    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError("larger than 16 MiB")
        text = path.read_text(encoding="utf-8")
        data = finite_json(text, object_pairs_hook=once)
        if not isinstance(data, dict):
            raise ValueError("no JSON object")
    except FileNotFoundError as error:
        raise ResultError(
            "is missing; the sweep was killed as it began", where=path, remedy="sweep again"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(
            f"damaged result file ({error})", where=path, remedy="remove it and sweep again"
        ) from error
    return data  # pyright: ignore[reportUnknownVariableType]


def _gzipped(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    # Without a time in it, the same content gives the same bytes.
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)


def _gzip_json(path: Path) -> dict[str, Any]:
    try:
        with gzip.open(path, "rb") as file:
            text = file.read(_LARGEST_GZIP + 1)
        if len(text) > _LARGEST_GZIP:
            raise ValueError("larger than 1 GiB")
        data = finite_json(text.decode())
        if not isinstance(data, dict):
            raise ValueError("no JSON object")
    except FileNotFoundError as error:
        raise ResultError("is missing", where=path, remedy="sweep again") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ResultError(
            f"damaged result file ({error})", where=path, remedy="remove it and sweep again"
        ) from error
    return data  # pyright: ignore[reportUnknownVariableType]


def _read(path: Path, kind: type[S]) -> S:
    data = _json(path)
    version = data.get("schema")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerResultError(
            f"written by a newer maskvd (schema {version}, this one reads {SCHEMA_VERSION})",
            where=path,
            remedy="upgrade maskvd",
        )
    try:
        return kind.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ResultError(
            f"damaged result file ({key}: {first['msg']})",
            where=path,
            remedy="remove it and sweep again",
        ) from error
