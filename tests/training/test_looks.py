"""A recogniser learns drawn actions for a few steps: samples, losses, resuming, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.data import synthetic_actions, synthetic_clips
from maskvd_cli.families.checkpoints import read_metadata, read_tensors
from maskvd_cli.families.vivit.archs import ARCHS
from maskvd_cli.families.vivit.model import ViViT
from maskvd_cli.families.vivit.shape import ClassifierShape
from maskvd_cli.methods.library import load
from maskvd_cli.recipe.shipped import find_training
from maskvd_cli.tasks.recognition import Recognition
from maskvd_cli.training.augmentation import Draw
from maskvd_cli.training.evaluation import evaluate
from maskvd_cli.training.frames import LookList, evaluation_frames, training_frames
from maskvd_cli.training.geometry import TrainingInput
from maskvd_cli.training.kept_images import KeptImages
from maskvd_cli.training.load import load_training
from maskvd_cli.training.loading import TrainingFrames
from maskvd_cli.training.looks import learnt_look, placed_looks
from maskvd_cli.training.optimiser import decays
from maskvd_cli.training.recipe import TrainingRecipe
from maskvd_cli.training.setup import Training, prepare

SHORT = (
    "schedule.unit=steps", "schedule.length=4", "schedule.warmup=1", "batch=2", "workers=0",
    "evaluation.limit=2", "checkpoint_every=2", "log_every=1", "export=float32",
)  # fmt: skip
INPUT = Size(96, 96)


@pytest.fixture(autouse=True)
def few_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"train": (2, 22, 48), "val": (3, 11, 48)}
    monkeypatch.setattr(synthetic_actions, "SPLITS", few)


def recipe(*changes: str) -> TrainingRecipe:
    return load_training(find_training("train-actions"), [*SHORT, *changes]).recipe


def listed() -> LookList:
    made = training_frames(recipe())
    assert isinstance(made, LookList)
    return made


def look_of(
    made: LookList, index: int, size: Size, draw: Draw, chance: float
) -> tuple[torch.Tensor, int]:
    return learnt_look(KeptImages(made, 0), index, size, draw, chance)


def test_videos_are_listed_with_their_looks() -> None:
    made = listed()
    assert (len(made), made.objects) == (22, 22)
    assert made.looks == ARCHS["vivit-ti"].looks
    assert len(evaluation_frames(recipe())) == 2

    def labels(limit: int) -> list[Any]:
        few = evaluation_frames(recipe(f"evaluation.limit={limit}"))
        assert isinstance(few, LookList)
        return [clip.label for clip in few.videos]

    assert labels(4) == labels(4) == sorted(set(labels(4)))
    assert set(labels(4)) <= set(labels(7))
    assert labels(99) == [*range(11)]


def test_a_part_of_the_videos_is_of_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 66th of these would be of one class."""
    monkeypatch.setattr(synthetic_actions, "SPLITS", {"train": (2, 22, 48), "val": (3, 264, 48)})
    few = evaluation_frames(recipe("evaluation.limit=4"))
    assert isinstance(few, LookList)
    assert len({clip.label for clip in few.videos}) >= 3


def test_a_sample_is_a_look_with_its_class() -> None:
    made = listed()
    frames, label = look_of(made, 3, INPUT, Draw(), 0.0)
    assert (frames.shape, frames.dtype, label) == ((16, 3, 96, 96), torch.float32, 3)
    assert frames.min() >= 0
    assert frames.max() <= 255
    later, _ = look_of(made, 3, INPUT, Draw(), 0.999)
    assert not torch.equal(frames, later)
    mirrored, _ = look_of(made, 3, INPUT, Draw(flip=True), 0.0)
    assert torch.equal(mirrored.flip(3), frames)
    # Without changes the left crop; the right one lies as far right as it can.
    right, _ = look_of(made, 3, INPUT, Draw(col=0.999), 0.0)
    whole = look_of(made, 3, Size(96, 120), Draw(), 0.0)[0]
    assert torch.equal(whole[..., :96], frames)
    assert torch.equal(whole[..., 24:], right)
    zoomed, _ = look_of(made, 3, INPUT, Draw(zoom=1.25), 0.0)
    assert zoomed.shape == frames.shape
    assert not torch.allclose(zoomed, frames)


def test_samples_follow_seed_and_position() -> None:
    made, section = listed(), recipe()
    one = TrainingFrames(made, TrainingInput.of(section), section)
    first, again = one.made(5), TrainingFrames(made, TrainingInput.of(section), section).made(5)
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    labels = sorted(one.made(position)[1] for position in range(22))
    assert labels == sorted([*range(11)] * 2)


def test_looks_at_test_are_those_of_sweeps() -> None:
    made = listed()
    looks = placed_looks(made, 0, INPUT)
    assert looks.shape == (2, 16, 3, 96, 96)
    # The first look begins where a training look without changes does, in the middle of the frame.
    start, _ = look_of(made, 0, INPUT, Draw(col=0.5), 0.0)
    assert torch.allclose(looks[0].float(), start, atol=1e-3)


def model(classes: int = 11) -> ViViT:
    return ViViT(ARCHS["vivit-ti"], ClassifierShape(classes), INPUT, seed=1)


def test_the_loss_is_that_of_all_looks_and_drops_by_its_generator() -> None:
    made = model()
    looks = [look_of(listed(), index, INPUT, Draw(), 0.2)[0] for index in (0, 1)]
    features = made.backbone(made.embed(looks), made.grid)

    def loss(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return float(made.head_losses(features, [0, 1], generator)["cross_entropy"].detach())

    assert loss(0) == loss(0) != loss(1)
    assert made.dropout == 0.5
    made.dropout = 0.0
    assert loss(0) == loss(1)
    made.dropout = 0.5
    assert loss(0) == pytest.approx(np.log(11), abs=1.0)
    with torch.no_grad():
        assert made(looks).shape == (2, 11)
        alone = made([looks[1]])
        assert torch.allclose(made(looks)[1:], alone, atol=1e-5)
    with pytest.raises(UsageError, match=r"labels \[0, 11\] reach outside 0\.\.10"):
        made.head_losses(features, [0, 11], torch.Generator())


def test_dropout_is_that_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_clips, "SPLITS", {"train": (0, 2, 6), "val": (1, 2, 6)})

    def prepared(*changes: str) -> Training:
        loaded = load_training(find_training("train-actions"), [*SHORT, *changes])
        return prepare(loaded, torch.device("cpu"))

    assert cast(Any, prepared().detector).dropout == 0.1
    own = prepared("dropout=null")
    assert cast(Any, own.detector).dropout == 0.5
    # Trainings of before knew no such word.
    assert "dropout" not in own.identity()["recipe"]
    assert prepared("dropout=0.3").identity()["recipe"]["dropout"] == 0.3
    loaded = load_training(find_training("train-synthetic"), ["dropout=0.1"])
    with pytest.raises(UsageError, match=r"recognisers, and vitdet-ti is none"):
        prepare(loaded, torch.device("cpu"))


def test_new_kernels_see_what_changes_within_a_step() -> None:
    made = model()
    still = torch.full((2, 3, 96, 96), 77.0)
    still[:, :, 10:40] = 200.0
    moved = still.clone()
    moved[1] = still[1].roll(5, dims=1)
    with torch.no_grad():
        first, second = made.embed([still]), made.embed([moved])
        bias = made.embedding.conv.bias
        assert bias is not None
        assert torch.allclose(first, bias.expand_as(first), atol=1e-4)
    assert not torch.allclose(first, second, atol=0.1)


def test_tables_and_tokens_do_not_decay() -> None:
    parameters = dict(model().named_parameters())
    kept = {name for name, parameter in parameters.items() if not decays(name, parameter)}
    assert {"backbone.positions", "temporal.positions", "temporal.class_token"} <= kept
    assert "embedding.conv.weight" not in kept
    assert "classifier.weight" not in kept


def test_a_perfect_recogniser_scores_all() -> None:
    made = evaluation_frames(recipe("evaluation.limit=11"))
    assert isinstance(made, LookList)
    labels = iter([label for label in range(11) for _ in range(2)])

    def perfect(looks: Any) -> torch.Tensor:
        return torch.eye(11)[[next(labels) for _ in looks]]

    heard: list[int] = []
    scores = evaluate(
        perfect, Recognition, made, TrainingInput.of(recipe()), batch=1, on_frames=heard.append
    )
    assert scores.content() == {
        "top1": 100.0,
        "top5": 100.0,
        "top1_by_class": dict.fromkeys(made.dataset.classes, 100.0),
        "videos": 11,
    }
    assert heard == list(range(1, 12))


def train(folder: Path, *changes: str, code: int = 0) -> str:
    words = [word for change in (*SHORT, *changes) for word in ("--set", change)]
    done = CliRunner().invoke(
        app, ["train", "train-actions", "-o", str(folder), *words, "--device", "cpu"]
    )
    assert done.exit_code == code, done.output
    return done.output


def test_a_training_ends_with_weights_that_load(tmp_path: Path) -> None:
    told = train(tmp_path / "whole")
    assert "22 videos to learn, 2 to evaluate" in told
    assert "cross entropy" in told
    assert "top-1" in told
    file = tmp_path / "whole" / "vivit-ti.safetensors"
    said = read_metadata(file)
    assert (said["arch"], said["contains"], said["input"]) == ("vivit-ti", "recogniser", "96x96")
    assert json.loads(said["classes"])[0] == "approaching"
    loaded = load(file, device="cpu")
    assert isinstance(loaded, ViViT)
    assert loaded.shape == ClassifierShape(11)
    card = file.with_suffix(".md").read_text("utf-8")
    assert "top-1 on 2 videos of `synthetic-actions` `val`" in card
    assert "every token computed, all looks, weights as stored (top-5 " in card
    assert "| videos | 22 |" in card
    assert not [word for word in ("mAP", "frames |", "heads") if word in card]
    result = json.loads((tmp_path / "whole" / "result.json").read_text())["result"]
    assert set(result["accuracy"]) == {"top1", "top5", "top1_by_class", "videos"}
    # Nothing is left to do, and what is there is believed.
    assert "nothing to do" in train(tmp_path / "whole")
    # A second round from these weights.
    train(tmp_path / "more", f"init={file}", "schedule.length=1", "schedule.warmup=0")


def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    train(tmp_path / "whole")
    folder = tmp_path / "stopped"
    train(folder)
    for name in ("vivit-ti.safetensors", "result.json"):
        (folder / name).unlink()
    import shutil

    shutil.rmtree(folder / "checkpoints" / "000000004")
    assert "goes on after step 2" in train(folder)
    ours, theirs = (read_tensors(tmp_path / name / "vivit-ti.safetensors")
                    for name in ("stopped", "whole"))  # fmt: skip
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_averaged_weights_are_what_is_scored_and_exported() -> None:
    loaded = load_training(find_training("train-actions"), [*SHORT, "ema=0.5"])
    training = prepare(loaded, torch.device("cpu"))
    assert isinstance(training.average, ViViT)
    assert training.result is training.average
    loaded = load_training(find_training("train-actions"), [*SHORT, "ema=0"])
    training = prepare(loaded, torch.device("cpu"))
    assert training.result is training.detector


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("mask={static_keep_rate: 0.5}",), "mask is not for vivit-ti"),
        (("model.channels=8",), r"model\.channels is not for vivit-ti"),
        (("dataset.stride=2",), r"dataset\.stride is not for vivit-ti"),
        (("dataset.name=synthetic",), "has no class of the 3"),
    ],
)
def test_what_a_recogniser_does_not_know_is_refused(changes: tuple[str, ...], message: str) -> None:
    loaded = load_training(find_training("train-actions"), [*SHORT, *changes])
    with pytest.raises(UsageError, match=message):
        prepare(loaded, torch.device("cpu"))
