"""What a search has tried, in one file beside its results: `<run>/tune/tune.json`.

Optuna's own storages log a trial as running and leave it so when they are killed; here a trial
stands in the file once it is done, the file is replaced whole, and a trial that was running is
proposed again. The trials' results themselves are ordinary result files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.atomic import write_bytes
from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Count, Real, Stored
from maskvd_cli.store.sealed import finite_json

FOLDER = "tune"
_FILE = "tune.json"
_LARGEST = 64 << 20

Objective = Literal["latency", "gmacs", "tokens", "peak"]


class Trial(Stored):
    """One point that was tried; number 0 is dense. What was not measured is None."""

    number: Count
    params: dict[str, Any]
    label: str
    key: str | None = Field(description="of its result file; None where parameters do not fit")
    state: Literal["ok", "failed"]
    failure: str | None = None
    cost: StoredEstimate | None = Field(
        default=None,
        description="the objective, smaller is better: GMACs, tokens, peak MiB, or the time of a "
        "frame as a share of dense's in the same session; bounds are None where it is exact",
    )
    map50: Real | None = None
    map50_change: StoredEstimate | None = Field(default=None, description="against dense, points")
    gmacs: Real | None = None
    tokens: Real | None = None

    @property
    def map50_drop(self) -> float | None:
        """Points of mAP50 lost against dense; None where it was not measured."""
        return None if self.map50_change is None else -self.map50_change.value


class Confirmation(Stored):
    """Which points were measured again, in which run: the name of a folder beside the search's."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    keys: list[str]


class Tune(Stored):
    """`tune.json`. `settings`: all that decides the search; a search with others is another one."""

    version: Literal[1] = 1
    settings: dict[str, Any]
    optuna: str
    created: str = Field(description="UTC, ISO 8601")
    dense: Trial | None = None
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
        self.content = self.content.model_copy(update=values)
        text = self.content.model_dump_json(indent=2)
        write_bytes(self.folder / _FILE, f"{text}\n".encode())


def find_journal(runs: list[Run], settings: Mapping[str, Any]) -> Journal | None:
    """Return the newest search with these settings, None where there is none.

    Raises ResultError for a damaged file.
    """
    for run in reversed(runs):
        path = run.folder / FOLDER / _FILE
        if not path.is_file() or path.is_symlink():
            continue
        content = _read(path)
        if content.settings == settings:
            return Journal(run, content)
    return None


def _read(path: Path) -> Tune:
    remedy = "remove it; finished points are taken over all the same"
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("larger than 64 MiB")
        text = path.read_text(encoding="utf-8")
        finite_json(text)
        return Tune.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ResultError(
            f"damaged file of a search ({key}: {first['msg']})", where=path, remedy=remedy
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ResultError(
            f"damaged file of a search ({error})", where=path, remedy=remedy
        ) from error
