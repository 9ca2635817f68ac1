"""Frames that are read when asked for, one or several."""

from __future__ import annotations

import torch
from torch import Tensor

from maskvd_cli.scenes.frame_sequence import FrameSequence


class Numbered(FrameSequence):
    """Frames that hold their position; `read` are those that were asked for."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 5

    def frame(self, index: int) -> Tensor:
        self.read.append(index)
        return torch.full((3, 1, 1), index, dtype=torch.uint8)


def test_a_frame_is_read_when_it_is_asked_for() -> None:
    frames = Numbered()
    assert int(frames[2][0]) == 2
    assert frames.read == [2]


def test_a_slice_is_a_list_of_frames() -> None:
    frames = Numbered()
    assert [int(frame[0]) for frame in frames[1:9:2]] == [1, 3]
    assert frames.read == [1, 3]
    assert [int(frame[0]) for frame in frames[-2:]] == [3, 4]
