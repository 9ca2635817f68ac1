"""The file of a search: sealed, read again, and refused where one digit was changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskvd_cli.store.records import DamagedResultError
from maskvd_cli.store.runs import Run
from maskvd_cli.tuning.journal import Journal, Tune, find_journal

from .trials import trial

SETTINGS = {"seed": 0, "objective": "gmacs"}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    content = Tune(settings=SETTINGS, optuna="4.0", created="2026-01-01T00:00:00Z")
    journal = Journal(Run(tmp_path), content)
    journal.add(trial(1, (2.5, 2.25, 2.75), change=(-0.5, -1.0, 0.0)))
    return journal


def found(journal: Journal) -> Journal | None:
    return find_journal([journal.run], SETTINGS)


def stored(journal: Journal) -> dict[str, Any]:
    return json.loads((journal.folder / "tune.json").read_text())


def store(journal: Journal, content: dict[str, Any]) -> None:
    (journal.folder / "tune.json").write_text(json.dumps(content))


def test_a_search_comes_back_as_it_was_written(journal: Journal) -> None:
    again = found(journal)
    assert again is not None and again.content == journal.content
    assert "sha256" in stored(journal)
    assert find_journal([journal.run], {**SETTINGS, "seed": 1}) is None


def test_one_changed_digit_is_told(journal: Journal) -> None:
    content = stored(journal)
    content["trials"][0]["cost"]["value"] = 2.4
    store(journal, content)
    with pytest.raises(DamagedResultError, match="the checksum does not fit") as caught:
        found(journal)
    assert caught.value.exit_code == 3


def test_a_checksum_cannot_be_left_out(journal: Journal) -> None:
    content = stored(journal)
    del content["sha256"]
    store(journal, content)
    with pytest.raises(DamagedResultError, match="the checksum is missing"):
        found(journal)


def test_a_search_of_before_checksums_is_read_and_sealed_with_its_next_trial(
    journal: Journal,
) -> None:
    content = stored(journal) | {"version": 1}
    del content["sha256"]
    store(journal, content)
    earlier = found(journal)
    assert earlier is not None and earlier.trials == journal.trials
    earlier.add(trial(2, None))
    assert "sha256" in stored(journal)
    again = found(journal)
    assert again is not None and len(again.trials) == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"version": NaN}', '{"version": 1, "version": 1}', "[" * 10**5]
)
def test_what_is_no_search_is_damaged(journal: Journal, text: str) -> None:
    (journal.folder / "tune.json").write_text(text)
    with pytest.raises(DamagedResultError, match="damaged file of a search"):
        found(journal)
