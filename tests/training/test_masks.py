"""Training of a mask head: silhouettes go the way of their frames, and what is frozen stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskvd_cli.core.errors import MaskvdError, RecipeError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.data import silhouettes
from maskvd_cli.data.base import make_boxes
from maskvd_cli.data.youtube_vis import YouTubeVis
from maskvd_cli.families.checkpoints import read_tensors, save
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.mask_family import MASK_ARCHS, MaskViTDet
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.tasks.instances import InstanceTargets
from maskvd_cli.training.augmentation import Draw, augmented, drawn
from maskvd_cli.training.folder import TrainingFolder
from maskvd_cli.training.geometry import TrainingInput, new_detector
from maskvd_cli.training.load import load_training
from maskvd_cli.training.loading import TrainingFrames, batches
from maskvd_cli.training.recipe import AugmentationSection
from maskvd_cli.training.runner import run_training
from maskvd_cli.training.setup import Training, prepare
from maskvd_cli.training.steps import run_step

from ..data.youtube_set import write_youtube_vis
from .test_runner import Silent
from .trainings import TINY_GLOBAL, write_kitti, write_recipe

NAME = "tiny-global-mask"
ALL_BUT_MASKS = "frozen=[embedding.*, backbone.*, pyramid.*, rpn.*, box_head.*]"
CHANGES = {
    "dataset: {name: kitti, root: kitti}": "dataset: {name: youtube-vis, root: set}",
    "evaluation: {every: 1000, limit: 6}": "evaluation: {every: 1000, limit: 3, split: valid}",
    "name: tiny\n  input": f"name: {NAME}\n  input",
    "optimiser": "init: plain.safetensors\nallow_missing: [mask_head.*]\noptimiser",
}


@pytest.fixture(scope="module", autouse=True)
def known() -> Any:
    MASK_ARCHS[NAME] = replace(TINY_GLOBAL, name=NAME)
    yield
    del MASK_ARCHS[NAME]


@pytest.fixture(scope="module")
def home(known: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_youtube_vis(folder / "set", "train", 3)
    write_youtube_vis(folder / "set", "valid", 1)
    recipe = load_training(write_recipe(folder, CHANGES), ["init=null", "allow_missing=[]"]).recipe
    heads = MaskViTDet.trained_shape(TINY_GLOBAL, 2, recipe.model.model_dump())
    plain = Detector(TINY_GLOBAL, heads, Size(64, 96), seed=1)
    save(folder / "plain.safetensors", plain.state_dict(), {"contains": "detector"})
    return folder


def made(home: Path, *assignments: str) -> Training:
    loaded = load_training(home / "tiny.yaml", assignments)
    return prepare(loaded, resolve_device("cpu"))


def steps(training: Training, number: int) -> list[dict[str, float]]:
    recipe = training.recipe
    frames = TrainingFrames(training.learnt, training.geometry, recipe)
    loaded = batches(frames, range(number * recipe.batch), recipe.batch, workers=0)
    return [run_step(training, loaded, step).losses for step in range(number)]


@pytest.mark.parametrize("position", range(8))
def test_silhouettes_go_the_way_of_their_frames(home: Path, position: int) -> None:
    dataset = YouTubeVis(home / "set", "train")
    frame = next(iter(dataset.clips())).frames[position % 4]
    masks = silhouettes.decoded(frame.silhouettes() or [], frame.size)
    draw = drawn(AugmentationSection(flip=0.5, scale=(0.6, 1.7)), 5, position)
    image = dataset.image(frame)
    shown = np.stack([np.where(masks.any(axis=0), 255, 0).astype(np.uint8)] * 3, axis=-1)
    geometry = TrainingInput(Size(64, 96), Size(64, 96))
    pixels, targets = augmented(image, frame.boxes, geometry, draw, masks)
    lit, plain = augmented(shown, frame.boxes, geometry, draw)
    assert isinstance(targets, InstanceTargets) and not isinstance(plain, InstanceTargets)
    assert torch.equal(targets.xyxy, plain.xyxy)
    assert targets.silhouettes.shape[1:] == pixels.shape[1:] == lit.shape[1:]
    for mask, box in zip(targets.silhouettes, targets.xyxy, strict=True):
        rows, cols = (torch.nonzero(mask.any(side)).flatten() for side in (1, 0))
        bounds = torch.stack([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1]).float()
        assert (bounds - box).abs().max() <= 1.5
    if len(targets.labels) == 2:
        agree = (targets.silhouettes.any(0) == (lit[0] >= 128)).float().mean()
        assert agree > 0.98


def test_frames_as_they_are_keep_every_pixel() -> None:
    masks = np.random.default_rng(0).random((2, 20, 30)) < 0.5
    boxes = make_boxes([[0, 0, 30, 20], [2, 2, 9, 9]], [0, -1], [1, 2], [False, True])
    geometry = TrainingInput(Size(32, 32), Size(20, 30))
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    _, targets = augmented(image, boxes, geometry, Draw(), masks)
    assert isinstance(targets, InstanceTargets)
    assert np.array_equal(targets.silhouettes.numpy(), masks[:1])
    _, none = augmented(image, boxes[1:], geometry, Draw(flip=True), masks[1:])
    assert isinstance(none, InstanceTargets) and none.silhouettes.shape == (0, 20, 30)


def test_the_head_learns_and_all_else_stays(home: Path, tmp_path: Path) -> None:
    training = made(home, ALL_BUT_MASKS, "export=float32")
    assert set(training.fresh) == {
        name for name in training.detector.state_dict() if name.startswith("mask_head.")
    }
    done = run_training(training, TrainingFolder(tmp_path), Silent()).result
    assert set(done["accuracy"]) >= {"frames"}
    stored, before = (
        read_tensors(path) for path in (tmp_path / "tiny.safetensors", home / "plain.safetensors")
    )
    assert set(stored) - set(before) == set(training.fresh)
    assert all(torch.equal(stored[name], value) for name, value in before.items())
    first = new_detector(training.recipe, 2).state_dict()
    learnt = [name for name in training.fresh if not torch.equal(stored[name], first[name])]
    assert learnt == list(training.fresh)
    card = (tmp_path / "tiny.md").read_text()
    assert "mask AP50" in card


def test_losses_of_masks_fall(home: Path) -> None:
    training = made(
        home, ALL_BUT_MASKS, "optimiser.learning_rate=1e-2", "batch=4", "schedule.length=50"
    )
    found = [losses["masks"] for losses in steps(training, 50)]
    assert found[0] == pytest.approx(0.693, abs=0.02)
    assert np.mean(found[-5:]) < 0.5


def test_what_is_frozen_decides_the_weights_and_nothing_is_the_training_of_before(
    home: Path,
) -> None:
    free, frozen = made(home), made(home, ALL_BUT_MASKS)
    assert "frozen" not in free.identity()["recipe"]
    assert json.loads(json.dumps(frozen.identity()))["recipe"]["frozen"][0] == "embedding.*"
    assert all(parameter.requires_grad for parameter in free.detector.parameters())


@pytest.mark.parametrize(
    ("assignments", "problem"),
    [
        (["frozen=[neck.*]"], "frozen: pattern 'neck.*' matches no parameter of tiny-global-mask"),
        (["frozen=['*']"], "frozen: no parameter is left to learn"),
        (["frozen=['*']", "init=null", "allow_missing=[]"], "frozen needs init"),
        (["allow_missing=[]"], "9 missing|missing: mask_head"),
    ],
)
def test_patterns_that_do_not_fit_are_told(
    home: Path, assignments: list[str], problem: str
) -> None:
    with pytest.raises((MaskvdError, RecipeError), match=problem):
        made(home, *assignments)


def test_a_dataset_without_masks_is_told(home: Path) -> None:
    write_kitti(home / "kitti", frames=4, sequences=1)
    dataset = f"dataset={{name: kitti, root: {home / 'kitti'}}}"
    training = made(home, dataset, "evaluation.split=train", "init=null", "allow_missing=[]")
    with pytest.raises(UsageError, match="has boxes, but no instance masks"):
        steps(training, 1)
