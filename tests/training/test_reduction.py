"""Training with tokens lost on the way: it sets in as a cosine, and learns what it then runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from maskvd_cli.core.errors import RecipeError, UsageError
from maskvd_cli.families.checkpoints import read_metadata
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.methods.ats import ATSParams
from maskvd_cli.methods.base import FrameContext
from maskvd_cli.methods.evit import EViTParams
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.tome import ToMeParams
from maskvd_cli.recipe.shipped import find_training
from maskvd_cli.training.folder import TrainingFolder
from maskvd_cli.training.load import load_training
from maskvd_cli.training.runner import run_training
from maskvd_cli.training.schedule import Schedule
from maskvd_cli.training.setup import Training, prepare

from .test_runner import Silent
from .trainings import write_kitti, write_recipe

PLAIN = {"name: tiny\n  input": "name: tiny-global\n  input"}
EVIT = "reduction={name: evit, params: {keep_rate: 0.5, drop_blocks: [0]}, begin: 2, length: 4}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_kitti(folder / "kitti", frames=12)
    write_recipe(folder, PLAIN)
    return folder


def made(home: Path, *assignments: str) -> Training:
    return prepare(load_training(home / "tiny.yaml", assignments), resolve_device("cpu"))


def drawn(count: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8, generator=generator)
            for _ in range(count)]  # fmt: skip


def test_the_share_falls_as_a_cosine(home: Path) -> None:
    training = made(home, EVIT)
    reduction = training.reduction
    assert reduction is not None
    shares = [reduction.share(step) for step in range(8)]
    cosine = [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert shares == pytest.approx([1, 1, *cosine, 0, 0])
    at_once = made(home, EVIT.replace("begin: 2, length: 4", "begin: 3")).reduction
    assert at_once is not None
    assert [at_once.share(step) for step in range(5)] == [1, 1, 1, 0, 0]


def test_epochs_are_turned_into_steps(home: Path) -> None:
    changes = ["schedule={unit: epochs, length: 3, warmup: 0}", EVIT.replace("4}", "0.5}")]
    training = made(home, *changes, "dataset.stride=2")
    reduction = training.reduction
    assert reduction is not None
    epoch = training.schedule.steps_per_epoch
    begin = round(2 * epoch)
    assert (reduction.begin, reduction.end) == (begin, begin + round(epoch / 2))


@pytest.mark.parametrize(
    ("params", "name", "eased"),
    [
        (EViTParams(keep_rate=0.6), "keep_rate", [1.0, 0.8, 0.6]),
        (ATSParams(fraction=0.9), "fraction", [1.0, 0.95, 0.9]),
        (ToMeParams(r=8), "r", [0, 4, 8]),
    ],
)
def test_methods_ease_to_nothing(params: Any, name: str, eased: list[float]) -> None:
    kind: Any = next(methods.load(one) for one in ("evit", "ats", "tome")
                     if methods.load(one).params_type is type(params))  # fmt: skip
    found = [getattr(kind.eased(params, share), name) for share in (1.0, 0.5, 0.0)]
    assert found == pytest.approx(eased)
    assert kind.eased(params, 0.0) == params


@pytest.mark.parametrize(
    "section",
    [
        EVIT,
        EVIT.replace("drop_blocks: [0]", "drop_blocks: [0], fuse: true"),
        "reduction={name: ats, params: {fraction: 0.5}, begin: 2}",
        "reduction={name: tome, params: {r: 6}, begin: 2}",
    ],
)
def test_features_are_those_of_the_method(home: Path, section: str) -> None:
    """At first those of the dense backbone, at the end those of the method; all of it learns."""
    training = made(home, section)
    detector, reduction, images = training.detector, training.reduction, drawn()
    assert reduction is not None
    tokens, grid = detector.embed(images), detector.grid
    dense = detector.backbone(tokens, grid)
    torch.testing.assert_close(reduction.features(detector, images, 0), dense)
    found = reduction.features(detector, images, 8)
    assert torch.equal(found, reduction.features(detector, images))
    method: Any = reduction.method(reduction.params, detector.backbone)
    size = detector.input_size
    with torch.no_grad():
        expected = method.step(tokens, FrameContext(0, size, size, detector.arch.patch))
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, dense)
    found.pow(2).sum().backward()
    grown = dict(detector.named_parameters())
    for name in ("embedding.conv.weight", "backbone.blocks.0.qkv.weight",
                 "backbone.blocks.1.mlp_out.weight", "backbone.class_token"):  # fmt: skip
        gradient = grown[name].grad
        assert gradient is not None and bool(gradient.abs().sum() > 0)


@pytest.mark.parametrize("name", ["evit", "ats", "tome"])
def test_a_few_steps_train_and_the_card_tells_how(home: Path, tmp_path: Path, name: str) -> None:
    params = {"evit": "{keep_rate: 0.5, drop_blocks: [0]}", "ats": "{fraction: 0.6}",
              "tome": "{r: 4}"}[name]  # fmt: skip
    section = f"reduction={{name: {name}, params: {params}, begin: 1, length: 3}}"
    changes = [section, "schedule={length: 5}", "precision=bfloat16", "evaluation.limit=3"]
    training, watcher = made(home, *changes), Silent()
    begun = {key: value.clone() for key, value in training.detector.state_dict().items()}
    outcome = run_training(training, TrainingFolder(tmp_path / "out"), watcher)
    assert outcome.result["steps"] == 5
    assert all(math.isfinite(entry["loss"]) for entry in watcher.entries if "loss" in entry)
    moved = [key for key, value in training.detector.state_dict().items()
             if not torch.equal(value, begun[key])]  # fmt: skip
    assert "backbone.blocks.0.qkv.weight" in moved
    card = (tmp_path / "out/tiny.md").read_text("utf-8")
    assert f"tokens lost as {name} does (" in card
    assert f"| reduction | {name}, sets in from step 1 to 4 |" in card
    told = json.loads(read_metadata(tmp_path / "out/tiny.safetensors")["reduction"])
    assert told["name"] == name


def test_evaluation_runs_what_was_trained(home: Path) -> None:
    training = made(home, EVIT)
    reduction = training.reduction
    assert reduction is not None
    images = drawn(1)
    with torch.no_grad():
        found = training.detecting(images)[0]
        features = reduction.features(training.result, images)
        expected = training.result.finish(features)[0]
        dense = training.result(images)[0]
    assert torch.equal(found.scores, expected.scores)
    assert not torch.equal(found.scores, dense.scores)


def test_a_killed_training_goes_on_where_it_was(home: Path, tmp_path: Path) -> None:
    def trained(output: Path, stop_after: int | None) -> bytes:
        watcher = Silent(stop_after)
        try:
            run_training(made(home, EVIT), TrainingFolder(output), watcher)
        except KeyboardInterrupt:
            run_training(made(home, EVIT), TrainingFolder(output), Silent())
        return (output / "tiny.safetensors").read_bytes()

    assert trained(tmp_path / "whole", None) == trained(tmp_path / "killed", 5)


def test_what_decides_the_weights_tells_the_reduction(home: Path) -> None:
    """Folders of trainings without one stay what they were."""
    assert "reduction" not in made(home).identity()["recipe"]
    told = made(home, EVIT).identity()["recipe"]["reduction"]
    assert told["params"] == {"keep_rate": 0.5, "drop_blocks": [0], "fuse": False}
    assert told["revision"] == 1


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("{name: evti}", "reduction.name: unknown method 'evti' (did you mean 'evit'?)"),
        ("{name: maskvd}", "maskvd loses no tokens with depth; use ats, evit, tome"),
        ("{name: evit, params: {keep: 1}}", "reduction.params.keep: unknown key"),
        ("{name: evit, params: {keep_rate: 2}}", "reduction.params.keep_rate: "),
        ("{name: evit, begin: 6, length: 3}", "reduction is not whole before the schedule ends"),
    ],
)
def test_mistakes_are_told(home: Path, given: str, problem: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_training(home / "tiny.yaml", [f"reduction={given}"])
    assert problem in str(caught.value)


def test_what_does_not_fit_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="mask and reduction: each leaves tokens out"):
        load_training(home / "tiny.yaml", [EVIT, "mask={static_keep_rate: 0.5}"])
    with pytest.raises(UsageError, match="drops tokens, and the windows of tiny need all"):
        made(home, EVIT, "model.name=tiny")
    with pytest.raises(UsageError, match=r"drop_blocks \[3, 6, 9\]: tiny-global has blocks"):
        made(home, "reduction={name: evit}")


def test_the_recipe_that_comes_with_maskvd() -> None:
    recipe = load_training(find_training("train-evit")).recipe
    assert recipe.init is not None and Path(recipe.init).is_file()
    assert recipe.reduction is not None
    schedule = Schedule.of(recipe, 5760)
    shares = [recipe.reduction.begin / schedule.steps, recipe.reduction.length / schedule.steps]
    # EViT: of 300 epochs it begins after 10 and falls for 100.
    assert shares == pytest.approx([10 / 300, 100 / 300])
