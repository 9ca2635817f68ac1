"""Run folders, `<results>/<recipe>/<run-id>/`: plan, recipe, environment, points, samples.

Where the model ran there are also its outputs, one piece for each clip of a point, the truth that
they are scored against, and one record for each metric of a point. Runs of before schema 5 have
`truth.json.gz` and `predictions/<key>.json.gz` instead of pieces and truth.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store import places
from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.store.digests import digest_of_files, digests_of_pieces
from maskvd_cli.store.earlier_names import with_names_of_today
from maskvd_cli.store.earlier_outputs import checked_predictions, checked_truth
from maskvd_cli.store.locking import sole_writer
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.parts import Arrays, read_parts, write_parts
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.places import part_of
from maskvd_cli.store.reading import is_regular
from maskvd_cli.store.records import (
    AGAIN,
    NewerResultError,
    damaged,
    dump,
    gzipped,
    read_gzip,
    read_json,
    read_named,
    read_record,
    read_table,
)
from maskvd_cli.store.schema import SCHEMA_VERSION, Plan, PointRecord
from maskvd_cli.store.sealed import sealed_text, sha256_of_bytes
from maskvd_cli.store.stamps import Stamps, look

__all__ = [
    "NewerResultError", "Run", "find_run", "new_run_id", "part_of", "runs_below", "utc_now",
]  # fmt: skip

PLAN, RECIPE, ENVIRONMENT = "plan.json", "recipe.yaml", "environment.json"
TRUTH, LISTED_TRUTH = "truth.npz", "truth.json.gz"
_PART = re.compile(r"([0-9]{5,7})\.npz")
# The metric whose sessions are asked for without a record.
_TIMED = "latency"
_REFERENCE = "reference"


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
        return read_record(self.folder / PLAN, Plan)

    def environment(self) -> dict[str, Any]:
        """Read `environment.json`. Raises ResultError where it is absent or damaged."""
        content = read_json(self.folder / ENVIRONMENT)
        content.pop("schema", None)
        return content

    def has_begun(self) -> bool:
        """Tell whether plan, recipe and environment are all there."""
        return all(is_regular(self.folder / name) for name in (PLAN, RECIPE, ENVIRONMENT))

    def has(self, key: str) -> bool:
        """Tell whether a point's file is there."""
        return is_regular(self.folder / places.point(key))

    def point(self, key: str) -> PointRecord | None:
        """Return the record of a point, or None where it has not been run."""
        path = self.folder / places.point(key)
        if not self.has(key):
            return None
        record = read_record(path, PointRecord)
        if record.key != key:
            raise ResultError(f"holds the point {record.key}", where=path, remedy=AGAIN)
        return record

    def is_whole(self, record: PointRecord, *, read_all: bool = False) -> bool:
        """Tell whether the files that a point names lie beside it as they were written.

        `read_all`: whether pieces are read that nobody has written to since.
        """
        known = [places.samples(record.key), places.predictions(record.key)]
        named = [place for place in known if str(place) in record.files]
        try:
            for place in named:
                read_named(self.folder / place, record.files[str(place)])
            return self.has_pieces(record, read_all=read_all)
        except ResultError:
            return False

    def has_pieces(self, record: PointRecord, *, read_all: bool = False) -> bool:
        """Tell whether the pieces of a point are there and, where it names them, as they were.

        `read_all` as in `is_whole`.
        """
        if record.pieces is None:
            return True
        digest = record.files.get(str(places.pieces(record.key)))
        if digest is None:
            return self.parts(record.key) >= set(range(record.pieces))
        path = self.folder / places.stamps(record.key)
        known = Stamps() if read_all else Stamps.read(path)
        return digest_of_files(self._paths(record.key, record.pieces), known) == digest

    def _paths(self, key: str, count: int) -> list[Path]:
        return [self.folder / places.piece(key, number) for number in range(count)]

    def has_samples(self, key: str) -> bool:
        """Tell whether a point's samples are there."""
        return is_regular(self.folder / places.samples(key))

    def samples(self, key: str) -> pd.DataFrame:
        """Read a point's samples. Raises ResultError where they are absent or damaged."""
        return read_table(self.folder / places.samples(key), self._digest(key, places.samples(key)))

    def has_predictions(self, key: str) -> bool:
        """Tell whether the outputs of a finished point are there."""
        listed = is_regular(self.folder / places.predictions(key))
        return listed or (self.has(key) and is_regular(self.folder / places.piece(key, 0)))

    def has_listed_predictions(self, key: str) -> bool:
        """Tell whether an earlier version listed the predictions of a point."""
        return is_regular(self.folder / places.predictions(key))

    def predictions(self, key: str) -> dict[str, Any]:
        """Read a point's predictions of an earlier version.

        Raises ResultError where they are absent or damaged.
        """
        place = places.predictions(key)
        return read_gzip(self.folder / place, checked_predictions, self._digest(key, place))

    def parts(self, key: str) -> set[int]:
        """Return the numbers of the clips that a point has a piece of."""
        try:
            names = os.listdir(self.folder / places.pieces(key))
        except (FileNotFoundError, NotADirectoryError):
            return set()
        matches = (_PART.fullmatch(name) for name in names)
        return {int(match[1]) for match in matches if match}

    def piece(self, key: str, number: int) -> Piece:
        """Read the piece of a clip. Raises ResultError where it is absent, damaged or another."""
        path = self.folder / places.piece(key, number)
        arrays, facts = read_parts(path)
        belongs = facts.pop("key", None), facts.pop("part", None)
        if belongs != (key, part_of(number)):
            raise ResultError(f"holds {belongs[1]} of {belongs[0]}", where=path, remedy=AGAIN)
        return Piece(key, part_of(number), arrays, facts)

    def write_piece(self, piece: Piece) -> None:
        """Write the piece of a clip; its part is the clip's number."""
        facts = {**piece.facts, "key": piece.key, "part": piece.part}
        write_parts(self.folder / places.piece(piece.key, int(piece.part)), piece.arrays, facts)

    def drop_pieces(self, key: str) -> None:
        """Remove all pieces of a point."""
        shutil.rmtree(self.folder / places.pieces(key), ignore_errors=True)

    def has_truth(self) -> bool:
        """Tell whether what outputs are scored against is there."""
        return is_regular(self.folder / TRUTH) or self.has_listed_truth()

    def has_listed_truth(self) -> bool:
        """Tell whether an earlier version listed the truth."""
        return is_regular(self.folder / LISTED_TRUTH)

    def truth(self) -> dict[str, Any]:
        """Read the annotations of an earlier version. Raises ResultError."""
        return read_gzip(self.folder / LISTED_TRUTH, checked_truth)

    def write_truth(self, truth: dict[str, Any]) -> None:
        """Write annotations as earlier versions did."""
        write_bytes(self.folder / LISTED_TRUTH, gzipped(truth))

    def truth_arrays(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read what outputs are scored against: arrays by `clip/name`, and facts.

        Raises ResultError where it is absent or damaged.
        """
        return read_parts(self.folder / TRUTH)

    def write_truth_arrays(self, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Write what outputs are scored against."""
        write_parts(self.folder / TRUTH, arrays, facts)

    def measured(self, of: str, key: str) -> MeasuredRecord | None:
        """Return the record of a metric of a point, None where it has not run.

        Raises ResultError for a damaged file.
        """
        path = self.folder / places.measured(of, key)
        if not is_regular(path):
            return None
        record = read_record(path, MeasuredRecord)
        if (record.of, record.key) != (of, key):
            raise ResultError(f"holds {record.of} of {record.key}", where=path, remedy=AGAIN)
        return record

    def write_measured(self, record: MeasuredRecord) -> None:
        """Write the record of a metric, with the sha256 of its raw samples."""
        place = _samples_of(record)
        if place is not None and is_regular(self.folder / place):
            digest = sha256_of_bytes(read_named(self.folder / place, None))
            record = record.model_copy(update={"files": {str(place): digest}})
        write_bytes(self.folder / places.measured(record.of, record.key), dump(record))

    def write_session(self, session: str, samples: pd.DataFrame, of: str = _TIMED) -> None:
        """Write the raw samples of a metric's session."""
        write_bytes(self.folder / places.session(session, of), _parquet(samples))

    def session(self, session: str, record: MeasuredRecord | None = None) -> pd.DataFrame:
        """Read the raw samples of a session; `record`: one that names it, else of latency.

        The series that others are compared with is called `baseline`.

        Raises ResultError where they are absent, damaged, or others than the record names.
        """
        place = places.session(session, _TIMED if record is None else record.of)
        digest = None if record is None else record.files.get(str(place))
        return with_names_of_today(read_table(self.folder / place, digest))

    def adopt_measured(self, record: MeasuredRecord, source: Run) -> None:
        """Copy a record of another run, byte for byte, with its raw samples.

        What is here already is replaced: it is damaged or of another protocol. Raises ResultError
        where the raw samples of the other run are missing or damaged; nothing is changed then.
        """
        named = [places.measured(record.of, record.key)]
        if (samples := _samples_of(record)) is not None:
            named.insert(0, samples)
        digests = record.files
        contents = [read_named(source.folder / place, digests.get(str(place))) for place in named]
        for place, content in zip(named, contents, strict=True):
            write_bytes(self.folder / place, content)

    def write_plan(self, plan: Plan, recipe: bytes, environment: dict[str, Any]) -> None:
        """Write what a run starts with, the plan first."""
        write_bytes(self.folder / PLAN, dump(plan))
        write_bytes(self.folder / RECIPE, recipe)
        content = {"schema": SCHEMA_VERSION, **environment}
        write_bytes(self.folder / ENVIRONMENT, sealed_text(content))

    def write_point(
        self,
        record: PointRecord,
        samples: pd.DataFrame | None,
        predictions: dict[str, Any] | None = None,
    ) -> None:
        """Write samples and predictions, then the point, so that a point that is there is whole.

        The point names the sha256 of both, and those of its pieces, which are there already, and
        of their outputs.
        """
        files: dict[Path, bytes] = {}
        if predictions is not None:
            files[places.predictions(record.key)] = gzipped(predictions)
        if samples is not None:
            files[places.samples(record.key)] = _parquet(samples)
        for place, content in files.items():
            write_bytes(self.folder / place, content)
        digests = {str(place): sha256_of_bytes(content) for place, content in files.items()}
        if record.pieces is not None:
            paths = self._paths(record.key, record.pieces)
            digests[str(places.pieces(record.key))], outputs, stamps = digests_of_pieces(paths)
            stamps.write(self.folder / places.stamps(record.key))
            record = record.model_copy(update={"outputs": outputs})
        record = record.model_copy(update={"files": digests})
        write_bytes(self.folder / places.point(record.key), dump(record))

    def adopt(self, record: PointRecord, source: Run) -> None:
        """Copy a finished point with its samples and pieces from another run, byte for byte.

        Raises ResultError where a file that the point names is missing or damaged.
        """
        contents = {
            place: read_named(source.folder / place, record.files.get(str(place)))
            for place in (places.samples(record.key), places.predictions(record.key))
            if str(place) in record.files or is_regular(source.folder / place)
        }
        if not source.has_pieces(record):
            place = source.folder / places.pieces(record.key)
            raise damaged(place, "a piece is missing or was changed")
        for place, content in contents.items():
            write_bytes(self.folder / place, content)
        # Those of the same clips that are here took other seconds: the point names its own.
        self.drop_pieces(record.key)
        self.adopt_pieces(record.key, source).write(self.folder / places.stamps(record.key))
        content = read_named(source.folder / places.point(record.key), None)
        write_bytes(self.folder / places.point(record.key), content)

    def adopt_pieces(self, key: str, source: Run) -> Stamps:
        """Copy the pieces of a point that another run has and this one lacks, byte for byte.

        Return what is known of them then.
        """
        stamps = Stamps()
        for number in sorted(source.parts(key) - self.parts(key)):
            place = places.piece(key, number)
            content = read_named(source.folder / place, None)
            write_bytes(self.folder / place, content)
            stamps.note(self.folder / place, look(self.folder / place), sha256_of_bytes(content))
        return stamps

    def lock(self) -> AbstractContextManager[None]:
        """Keep other sweeps out while the block runs. Raises ResultError where one is in."""
        remedy = "wait for it, or start a run of its own with --fresh"
        return sole_writer(self.folder, "sweep", remedy)

    def _digest(self, key: str, place: Path) -> str | None:
        """Return the sha256 that a point names for a file beside it, None where it names none."""
        record = self.point(key)
        return None if record is None else record.files.get(str(place))


def _samples_of(record: MeasuredRecord) -> Path | None:
    """Return where the raw samples of a record's session lie; None where it has no session."""
    session = record.details.get("session")
    return places.session(session, record.of) if isinstance(session, str) else None


def _parquet(samples: pd.DataFrame) -> bytes:
    return samples.to_parquet(index=False)


def runs_below(results: Path) -> list[Run]:
    """Return the runs in a results folder or a recipe's folder in it, the newest last."""
    if not os.path.isdir(results):
        return []
    plans = [*results.glob(f"*/{PLAN}"), *results.glob(f"*/*/{PLAN}")]
    regular = {plan for plan in plans if not plan.is_symlink()}
    return [Run(plan.parent) for plan in sorted(regular, key=_age)]


def _age(plan: Path) -> tuple[str, int]:
    """Order runs by the second in their name; within one second, by the age of the plan's file."""
    return plan.parent.name.partition("-")[0], plan.stat().st_mtime_ns


def find_run(
    place: Path, note: Callable[[str], None] = lambda text: None, *, begun: bool = True
) -> Run:
    """Return the run at `place`: a run folder, or the newest below a results folder.

    With `begun` a run that was killed before it had written its plan, recipe and environment is
    passed over for an older one; `note` hears of it. Raises ResultError where there is none.
    """
    if os.path.lexists(place / PLAN):
        return Run(place)
    if not os.path.isdir(place):
        raise ResultError(
            "no such folder",
            where=place,
            remedy="name a run, or a results folder; see `maskvd sweep`",
        )
    runs = runs_below(place)
    if not runs:
        remedy = "make one with `maskvd sweep`"
        if runs_below(place / _REFERENCE):
            remedy += f", or name {place / _REFERENCE}, where committed ones are"
        raise ResultError("no run here yet", where=place, remedy=remedy)
    whole = [run for run in runs if run.has_begun()] if begun else runs
    if not whole or whole[-1] == runs[-1]:
        return runs[-1]
    note(f"note: {runs[-1].folder} was killed as it began; this is the newest whole run")
    return whole[-1]
