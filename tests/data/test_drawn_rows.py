"""Rows of drawn clips come from the user's cache as they were drawn, and are drawn once."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from maskvd_cli.core.types import Clip
from maskvd_cli.data import drawn_rows, synthetic_clips
from maskvd_cli.data.synthetic_clips import Synthetic


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the clips that are drawn; splits have four clips of three frames."""
    monkeypatch.setenv("MASKVD_CACHE", str(tmp_path / "cache"))
    small = {"train": (0, 4, 3), "val": (1, 4, 3)}
    monkeypatch.setattr(synthetic_clips, "SPLITS", small)
    numbers: list[int] = []
    draw = synthetic_clips.clip_rows

    def counting(world: object) -> object:
        numbers.append(len(numbers))
        return draw(world)  # type: ignore[arg-type]

    synthetic_clips._rows.cache_clear()
    monkeypatch.setattr(synthetic_clips, "clip_rows", counting)
    return numbers


def read(clips: int, split: str = "val") -> list[Clip]:
    """Read the first clips as another process would."""
    synthetic_clips._rows.cache_clear()
    return list(islice(Synthetic(None, split).clips(), clips))


def told(clips: list[Clip]) -> list[object]:
    return [
        (clip.name, frame.index, frame.boxes.xyxy.tobytes(), frame.boxes.labels.tolist(),
         frame.boxes.track_ids.tolist(), frame.boxes.ignore.tolist())
        for clip in clips
        for frame in clip.frames
    ]  # fmt: skip


def test_clips_are_drawn_once_and_more_of_them_are_added(drawn: list[int]) -> None:
    first = read(2)
    assert len(drawn) == 2
    assert told(read(2)) == told(first)
    assert len(drawn) == 2
    whole = read(4)
    assert len(drawn) == 4
    assert told(whole[:2]) == told(first)
    assert any(len(frame.boxes) for clip in whole for frame in clip.frames)
    assert told(read(4)) == told(whole)
    assert told(read(1)) == told(whole[:1])
    assert len(drawn) == 4


def test_other_splits_and_other_code_are_drawn_anew(
    drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(1)
    read(1, "train")
    assert len(drawn) == 2
    monkeypatch.setattr(drawn_rows, "_code", lambda: "changed")
    read(1)
    assert len(drawn) == 3


def test_nothing_is_kept_where_the_cache_is_off(
    drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKVD_CACHE", "off")
    assert told(read(1)) == told(read(1))
    assert len(drawn) == 2
