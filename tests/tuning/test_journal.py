"""The file of a search: sealed, read again, and refused where one digit was changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.store.records import DamagedResultError, NewerResultError
from maskvd_cli.store.runs import Run
from maskvd_cli.tuning.journal import Journal, Tune, find_journal

from .trials import trial

EARLIER = Path(__file__).parent / "tune-version-2.json"
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


def test_names_that_are_no_utf8_can_be_read_again(journal: Journal) -> None:
    """A reason may name a file, and the name of a file may be any bytes."""
    journal.add(trial(2, None, state="failed", failure="no \udcff.png"))
    again = found(journal)
    assert again is not None
    assert again.trials[1].failure == "no \\udcff.png"


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


@pytest.mark.parametrize("version", [1, 2])
def test_a_search_of_before_version_3_is_read_as_one_of_today(tmp_path: Path, version: int) -> None:
    """The file was written by that version; its number, and no checksum, is all that 1 differs."""
    folder = tmp_path / "tune"
    folder.mkdir()
    content = json.loads(EARLIER.read_text())
    if version == 1:
        del content["sha256"]
        content["version"] = 1
    (folder / "tune.json").write_text(json.dumps(content))
    settings = {"objective": "latency", "seed": 3, "max_loss": 1.5, "headline": "map50"}
    earlier = find_journal([Run(tmp_path)], settings)
    assert earlier is not None
    baseline, (first, second) = earlier.content.baseline, earlier.trials
    assert baseline is not None and (baseline.label, baseline.quality) == ("dense", 51.25)
    assert first.quality == 50.5
    assert first.change == StoredEstimate(value=-0.75, low=-1.25, high=-0.25)
    assert first.cost == StoredEstimate(value=0.625, low=0.5, high=0.75)
    assert (second.state, second.quality, second.failure) == ("failed", None, "out of memory")
    assert earlier.content.confirmation is not None
    earlier.add(trial(3, None))
    written = stored(earlier)
    assert written["version"] == 3 and "sha256" in written
    assert {"dense", "map50"}.isdisjoint([*written, *written["trials"][0], *written["baseline"]])
    again = find_journal([Run(tmp_path)], settings)
    assert again is not None and again.content == earlier.content


@pytest.mark.parametrize(
    "change",
    [
        {"dense": {"map50": 1.0}},
        {"dense": None, "baseline": None},
        {"trials": "none"},
        {"trials": [1]},
        {"settings": []},
        {"baseline": {}},
    ],
)
def test_a_damaged_search_of_before_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "tune").mkdir()
    content = json.loads(EARLIER.read_text()) | {"version": 1} | change
    del content["sha256"]
    (tmp_path / "tune" / "tune.json").write_text(json.dumps(content))
    with pytest.raises(DamagedResultError, match="damaged file of a search"):
        find_journal([Run(tmp_path)], SETTINGS)


def test_a_search_of_a_newer_maskvd_is_left_alone(journal: Journal) -> None:
    store(journal, {**stored(journal), "version": 4})
    with pytest.raises(NewerResultError, match=r"version 4, this one reads 3.*upgrade maskvd"):
        found(journal)


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_what_is_no_regular_file_is_told(journal: Journal, tmp_path: Path, kind: str) -> None:
    """Passed over in silence, a search would begin anew beside its own trials."""
    path, elsewhere = journal.folder / "tune.json", tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(elsewhere if kind == "link" else tmp_path / "nowhere")
    reason = "is no regular file" if kind in ("folder", "pipe") else "is a link, no regular file"
    with pytest.raises(DamagedResultError, match=f"tune.json: .*{reason}.*remove it") as caught:
        found(journal)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"version": NaN}', '{"version": 1, "version": 1}', "[" * 10**5]
)
def test_what_is_no_search_is_damaged(journal: Journal, text: str) -> None:
    (journal.folder / "tune.json").write_text(text)
    with pytest.raises(DamagedResultError, match="damaged file of a search"):
        found(journal)
