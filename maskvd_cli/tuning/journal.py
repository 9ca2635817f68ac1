"""What a search has tried, in one file beside its results: `<run>/tune/tune.json`.

Optuna's own storages log a trial as running and leave it so when they are killed; here a trial
stands in the file once it is done, the file is replaced whole, and a trial that was running is
proposed again. The trials' results themselves are ordinary result files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.store.reading import read_regular
from maskvd_cli.store.records import DamagedResultError, NewerResultError
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Count, Real, Stored
from maskvd_cli.store.sealed import (
    read_object,
    readable_json,
    sealed_text,
    unsealed,
    without_seal,
)
from maskvd_cli.tuning.earlier import upgraded

FOLDER = "tune"
_FILE = "tune.json"
_LARGEST = 64 << 20
_VERSION, _SEALED_SINCE = 3, 2


class Trial(Stored):
    """One point that was tried; number 0 is the baseline. What was not measured is None."""

    number: Count
    params: dict[str, Any]
    label: str
    key: str | None = Field(description="of its result file; None where parameters do not fit")
    state: Literal["ok", "failed"]
    failure: str | None = None
    cost: StoredEstimate | None = Field(
        default=None,
        description="the objective, smaller is better: a quantity, or the time of a frame as a "
        "share of the baseline's in the same session; bounds are None where it is exact",
    )
    quality: Real | None = Field(default=None, description="the task's headline")
    change: StoredEstimate | None = Field(
        default=None, description="of the headline against the baseline, in points"
    )
    gmacs: Real | None = None
    tokens: Real | None = None


class Confirmation(Stored):
    """Which points were measured again, in which run: the name of a folder beside the search's."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    keys: list[str]


class Tune(Stored):
    """`tune.json`. `settings`: all that decides the search; a search with others is another one.

    From version 2 on the file has a checksum; what version 3 renamed is read as `earlier` says.
    """

    version: Literal[1, 2, 3] = 3
    settings: dict[str, Any]
    optuna: str
    created: str = Field(description="UTC, ISO 8601")
    baseline: Trial | None = None
    trials: list[Trial] = Field(default_factory=list[Trial])
    confirmation: Confirmation | None = None


class Journal:
    """The file of one search; every change is written at once."""

    def __init__(self, run: Run, content: Tune) -> None:
        self.run = run
        self.content = content

    @property
    def folder(self) -> Path:
        """Where the file and pictures of the search lie."""
        return self.run.folder / FOLDER

    @property
    def trials(self) -> list[Trial]:
        return self.content.trials

    def add(self, trial: Trial) -> None:
        """Store a trial that is done."""
        self.change(trials=[*self.content.trials, trial])

    def change(self, **values: Any) -> None:
        """Replace parts of the content and write it."""
        self.content = self.content.model_copy(update={**values, "version": _VERSION})
        write_bytes(self.folder / _FILE, sealed_text(self.content.model_dump(mode="json")))


def find_journal(runs: list[Run], settings: Mapping[str, Any]) -> Journal | None:
    """Return the newest search with these settings, None where there is none.

    Raises DamagedResultError, also for a link or another thing that is no regular file, and
    NewerResultError.
    """
    for run in reversed(runs):
        path = run.folder / FOLDER / _FILE
        if not os.path.lexists(path):
            continue
        content = _read(path)
        if content.settings == settings:
            return Journal(run, content)
    return None


def _read(path: Path) -> Tune:
    """Read a search; a value that cannot be is told before a checksum that does not fit."""
    try:
        data = read_object(read_regular(path, _LARGEST).decode())
        _refuse_newer(path, data.get("version"))
        content = Tune.model_validate_json(readable_json(upgraded(without_seal(data))))
        unsealed(data, "version", _SEALED_SINCE)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{key}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    return content


def _refuse_newer(path: Path, version: object) -> None:
    if isinstance(version, int) and version > _VERSION:
        raise NewerResultError(
            f"written by a newer maskvd (version {version}, this one reads {_VERSION})",
            where=path,
            remedy="upgrade maskvd, or give another --results",
        )


def _damaged(path: Path, reason: object) -> DamagedResultError:
    return DamagedResultError(
        f"damaged file of a search ({reason})",
        where=path,
        remedy="remove it; finished points are taken over all the same",
    )
