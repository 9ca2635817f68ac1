"""What is learnt: order, placement, flips, zoom, ignore regions; the same in any worker."""

from __future__ import annotations

import multiprocessing
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from maskvd_cli.core.errors import DatasetError
from maskvd_cli.core.size import Size
from maskvd_cli.data.base import make_boxes
from maskvd_cli.training.augmentation import Draw, augmented, drawn
from maskvd_cli.training.frames import evaluation_frames, frame_at, training_frames
from maskvd_cli.training.geometry import TrainingInput
from maskvd_cli.training.load import load_training
from maskvd_cli.training.loading import TrainingFrames, batches
from maskvd_cli.training.recipe import AugmentationSection, TrainingRecipe

from .trainings import write_kitti, write_recipe

GEOMETRY = TrainingInput(Size(64, 96), Size(48, 96))
NATIVE = Size(96, 192)
BOXES = make_boxes(
    [[20, 20, 60, 80], [100, 40, 180, 90], [0, 0, 30, 10]], [0, 1, -1], [0, 1, -1],
    [False, False, True],
)  # fmt: skip


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> TrainingRecipe:
    folder = tmp_path_factory.mktemp("frames")
    write_kitti(folder / "kitti", frames=10)
    return load_training(write_recipe(folder)).recipe


def painted() -> np.ndarray:
    """A frame whose objects are white, so that pixels tell where boxes must lie."""
    image = np.zeros((*NATIVE, 3), dtype=np.uint8)
    for x1, y1, x2, y2 in BOXES.xyxy[:2].astype(int):
        image[y1:y2, x1:x2] = 255
    return image


def test_every_frame_once_an_epoch_in_another_order() -> None:
    first, second = ([frame_at(e * 50 + i, 50, 7) for i in range(50)] for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != [frame_at(i, 50, 8) for i in range(50)]


@pytest.mark.parametrize("zoom", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("flip", [False, True])
def test_boxes_stay_on_their_objects(zoom: float, flip: bool) -> None:
    pixels, targets = augmented(painted(), BOXES, GEOMETRY, Draw(flip, zoom, 0.3, 0.6))
    assert pixels.dtype == torch.uint8
    assert pixels.shape[1] <= 64 and pixels.shape[2] <= 96
    covered = torch.zeros(pixels.shape[1:], dtype=torch.bool)
    for x1, y1, x2, y2 in targets.xyxy.round().int().tolist():
        covered[y1:y2, x1:x2] = True
    wrong = (pixels[0] > 127) ^ covered
    # Half a pixel at the edges is the most that rounding can give.
    assert wrong.float().mean() < 0.06
    assert covered.any()
    if zoom <= 1:
        assert targets.labels.tolist() == [0, 1]
        assert len(targets.ignore) == 1


def test_without_changes_frames_lie_as_at_test() -> None:
    pixels, targets = augmented(painted(), BOXES, GEOMETRY, Draw())
    assert pixels.shape == (3, 48, 96)
    assert targets.xyxy.tolist() == [[10, 10, 30, 40], [50, 20, 90, 45]]
    assert targets.ignore.tolist() == [[0, 0, 15, 5]]


def test_what_a_crop_leaves_of_an_object_is_ignored() -> None:
    boxes = make_boxes([[0, 0, 192, 96], [170, 80, 191, 95]], [0, 1], [0, 1], [False, False])
    image = np.zeros((*NATIVE, 3), dtype=np.uint8)
    _, targets = augmented(image, boxes, GEOMETRY, Draw(zoom=3.0))
    assert len(targets.xyxy) == 0
    assert targets.ignore.tolist() == [[0, 0, 96, 64]]


def test_a_box_thinner_than_a_pixel_is_ignored() -> None:
    boxes = make_boxes([[20, 20, 21, 80]], [0], [0], [False])
    _, targets = augmented(painted(), boxes, GEOMETRY, Draw())
    assert len(targets.xyxy) == 0 and len(targets.ignore) == 1


def test_draws_depend_on_seed_and_position_alone() -> None:
    section = AugmentationSection(flip=0.5, scale=(0.5, 2.0))
    draws = [drawn(section, 1, position) for position in range(400)]
    assert draws == [drawn(section, 1, position) for position in range(400)]
    assert draws != [drawn(section, 2, position) for position in range(400)]
    assert 0.4 < sum(draw.flip for draw in draws) / 400 < 0.6
    zooms = sorted(draw.zoom for draw in draws)
    assert zooms[0] >= 0.5 and zooms[-1] <= 2.0
    assert 0.85 < zooms[200] < 1.15


def test_workers_change_nothing(recipe: TrainingRecipe) -> None:
    frames = TrainingFrames(training_frames(recipe), TrainingInput.of(recipe), recipe)
    alone, helped = (list(batches(frames, range(3, 14), 4, workers=workers)) for workers in (0, 2))
    assert [len(batch) for batch in alone] == [4, 4, 3]
    for one, other in zip(chain(*alone), chain(*helped), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1].xyxy, other[1].xyxy)
        assert torch.equal(one[1].labels, other[1].labels)


@pytest.fixture
def damaged(tmp_path: Path) -> TrainingFrames:
    """Frames whose image files are none."""
    write_kitti(tmp_path / "kitti", frames=4)
    recipe = load_training(write_recipe(tmp_path)).recipe
    listed = training_frames(recipe)
    for frame in listed.frames:
        assert frame.file is not None
        frame.file.write_bytes(b"no image")
    return TrainingFrames(listed, TrainingInput.of(recipe), recipe)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_told_as_the_dataset_tells_it(
    damaged: TrainingFrames, workers: int
) -> None:
    with pytest.raises(DatasetError, match=r"png: not a readable image.*again$"):
        next(batches(damaged, range(2), 2, workers=workers))


def test_strides_limits_and_splits(recipe: TrainingRecipe, tmp_path: Path) -> None:
    assert len(training_frames(recipe)) == 10
    found = evaluation_frames(recipe)
    assert len(found) == 6
    assert found.dataset.split == "val-half"
    strided = recipe.dataset.model_copy(update={"stride": 2})
    assert len(training_frames(recipe.model_copy(update={"dataset": strided}))) == 6
    empty = write_kitti(tmp_path / "kitti", frames=4)
    for file in empty.rglob("*.txt"):
        file.write_text("")
    with pytest.raises(DatasetError, match="no object in its 4 frames"):
        training_frames(load_training(write_recipe(tmp_path)).recipe)


def test_workers_end_with_the_error_of_one(damaged: TrainingFrames) -> None:
    with pytest.raises(DatasetError) as held:
        next(batches(damaged, range(2), 2, workers=2))
    # The error, which holds the frames that it went through, is still there.
    assert held.value.__traceback__ is not None
    assert not multiprocessing.active_children()
