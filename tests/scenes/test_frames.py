"""Frames that are kept and read ahead: each once where all fit, shared side by side elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.scenes.frames import KeptFrames, ReadAhead

BYTES = 100


class Reader:
    """Counts what is read."""

    def __init__(self, kept: KeptFrames) -> None:
        self.kept = kept
        self.read: list[tuple[str, int]] = []

    def get(self, clip: str, index: int) -> Tensor:
        def frame() -> Tensor:
            self.read.append((clip, index))
            return torch.zeros(BYTES, dtype=torch.uint8)

        return self.kept.get(clip, index, frame)


def test_frames_that_all_fit_are_read_once_by_any_number_of_points() -> None:
    reader = Reader(KeptFrames(10 * BYTES))
    for _ in range(5):
        for clip in "ab":
            for index in range(5):
                reader.get(clip, index)
    assert len(reader.read) == 10


def test_points_side_by_side_read_each_frame_once_where_not_all_clips_fit() -> None:
    reader = Reader(KeptFrames(6 * BYTES))
    for clip in "abcd":
        for _ in range(5):
            for index in range(5):
                reader.get(clip, index)
    assert len(reader.read) == 20


def test_of_a_clip_that_does_not_fit_the_first_frames_are_kept() -> None:
    reader = Reader(KeptFrames(10 * BYTES))
    for _ in range(5):
        for index in range(11):
            reader.get("a", index)
    # Ten once, and the eleventh each time; what was used last would be read 55 times.
    assert len(reader.read) == 10 + 5


class Images(Sequence[Tensor]):
    """Frames that tell when they are read; the fourth is missing."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.threads: set[int] = set()
        self.ahead = threading.Event()

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        self.read.append(index)
        self.threads.add(threading.get_ident())
        if index == 2:
            self.ahead.set()
        if index == 3:
            raise DatasetError("no image", where="000003.png")
        return torch.tensor(index)


def test_the_next_frames_are_read_while_one_is_computed_and_errors_name_the_image() -> None:
    images = Images()
    with ReadAhead(images) as ahead:
        assert len(ahead) == 8
        assert int(ahead[0]) == 0
        assert images.ahead.wait(10), "later frames were not read"
        assert [int(ahead[1]), int(ahead[2])] == [1, 2]
        with pytest.raises(DatasetError, match=r"000003\.png: no image"):
            ahead[3]
    assert threading.get_ident() not in images.threads
    assert images.read == sorted(set(images.read)), "no frame is read twice"
