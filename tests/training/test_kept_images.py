"""Images are drawn once where they may be kept, and are the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskvd_cli.core.looks import Looks
from maskvd_cli.data import synthetic_actions, synthetic_clips
from maskvd_cli.data.synthetic_actions import SyntheticActions
from maskvd_cli.recipe.shipped import find_training
from maskvd_cli.training.frames import listed_looks, training_frames
from maskvd_cli.training.geometry import TrainingInput
from maskvd_cli.training.kept_images import KeptImages
from maskvd_cli.training.load import load_training
from maskvd_cli.training.loading import TrainingFrames, TrainingSequences
from maskvd_cli.training.recipe import FREE
from maskvd_cli.training.setup import prepare

CPU = torch.device("cpu")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Few short clips; what is drawn of them is told here."""
    monkeypatch.setattr(synthetic_actions, "SPLITS", {"train": (2, 11, 40), "val": (3, 11, 40)})
    calls, draw = list[int](), SyntheticActions.draw

    def told(self: SyntheticActions, frame: Any) -> NDArray[np.uint8]:
        calls.append(frame.index)
        return draw(self, frame)

    monkeypatch.setattr(SyntheticActions, "draw", told)
    return calls


def test_an_image_is_drawn_once_as_long_as_there_is_room(drawn: list[int]) -> None:
    videos = listed_looks(SyntheticActions(None, "val"), Looks(1))
    dataset, (first, second, *_) = videos.dataset, videos.videos[0].frames
    room = dataset.image(first).nbytes * 3 // 2
    drawn.clear()
    images = KeptImages(videos, -(-room // 2**20))
    images.room = room
    one = images.of("first", first)
    assert np.array_equal(images.of("first", first), dataset.image(first))
    assert drawn == [0, 0]
    # The second finds no room, is told rightly and drawn again.
    for _ in range(2):
        assert np.array_equal(images.of("second", second), dataset.image(second))
    assert drawn == [0, 0, 1, 1, 1, 1]
    # Who changes what is handed out changes nothing that is kept.
    one[:] = 0
    images.of("first", first)[:] = 0
    assert np.array_equal(images.of("first", first), dataset.image(first))


def test_without_room_nothing_is_kept(drawn: list[int]) -> None:
    videos = listed_looks(SyntheticActions(None, "val"), Looks(1))
    images = KeptImages(videos, 0)
    for _ in range(3):
        images.of(0, videos.videos[0].frames[0])
    assert drawn == [0, 0, 0]


def test_looks_of_kept_images_are_the_same(
    drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic_actions, "SPLITS", {"train": (2, 2, 40), "val": (3, 11, 40)})
    changes = ["batch=2", "augmentation.flip=0.5"]
    loaded = [
        load_training(find_training("train-actions"), [*changes, f"keep_mib={mib}"]).recipe
        for mib in (0, 64)
    ]
    without, kept = (
        TrainingFrames(training_frames(one), TrainingInput.of(one), one) for one in loaded
    )
    positions = range(6)
    expected = [without.made(position) for position in positions]
    assert len(drawn) == 6 * 16
    drawn.clear()
    for position, (pixels, label) in zip(positions, expected, strict=True):
        seen = kept.made(position)
        assert torch.equal(seen[0], pixels)
        assert seen[1] == label
    # Three looks at each clip have frames in common.
    assert len(drawn) == len(kept.images._kept) < 6 * 16


def test_frames_before_a_frame_are_kept_by_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_clips, "SPLITS", {"train": (0, 2, 12), "val": (1, 2, 12)})
    one = load_training(find_training("train-synthetic"), ["keep_mib=64"]).recipe
    listed = training_frames(one)
    frames = TrainingFrames(listed, TrainingInput.of(one), one)
    free = one.model_copy(update={"keep_mib": 0})
    fresh = TrainingFrames(listed, TrainingInput.of(free), free)
    for position in (0, 1, 0):
        several = TrainingSequences(frames, 3, 4).made(position)
        expected = TrainingSequences(fresh, 3, 4).made(position)
        for (pixels, _), (same, _) in zip(several, expected, strict=True):
            assert torch.equal(pixels, same)
    assert 3 <= len(frames.images._kept) <= 6


def test_a_training_goes_on_with_more_room(drawn: list[int]) -> None:
    assert "keep_mib" in FREE
    some, more = (
        prepare(load_training(find_training("train-actions"), [f"keep_mib={mib}"]), CPU).identity()
        for mib in (0, 64)
    )
    assert some == more
    assert not drawn
