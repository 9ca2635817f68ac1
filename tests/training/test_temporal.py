"""What follows a spatial model is tuned on features that a method gave, computed once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.errors import RecipeError, UsageError
from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.data import synthetic_actions
from maskvd_cli.families.checkpoints import read_metadata, read_tensors, save
from maskvd_cli.families.vivit.archs import ARCHS, vivit
from maskvd_cli.families.vivit.model import ViViT
from maskvd_cli.families.vivit.shape import ClassifierShape
from maskvd_cli.judge.facts import facts
from maskvd_cli.judge.rows import Report, read_report
from maskvd_cli.methods.library import load
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.recipe.shipped import find_training
from maskvd_cli.render.chart.lines import strands_of
from maskvd_cli.render.plots.catalogue import write_figures
from maskvd_cli.render.plots.curves import cost_panel
from maskvd_cli.store.runs import Run
from maskvd_cli.training import features
from maskvd_cli.training.features import StoredFeatures
from maskvd_cli.training.frames import LookList
from maskvd_cli.training.load import load_training
from maskvd_cli.training.looks import placed_looks
from maskvd_cli.training.records import DamagedTrainingError
from maskvd_cli.training.setup import Training, prepare
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import prepare as prepare_sweep
from maskvd_cli.work.runner import run_sweep

TINY = vivit(
    "vivit-tiny", "", dim=16, heads=2, depth=2, temporal_depth=1, patch=16, table=Size(3, 3),
    looks=Looks(frames=6, tubelet=2, stride=3, along=2),
)  # fmt: skip
SIZE = Size(48, 48)
SHORT = (
    "model.name=vivit-tiny", "model.input=48x48", "method.settings={r: 3}", "name=tuned",
    "schedule.unit=steps", "schedule.length=6", "schedule.warmup=1", "batch=4",
    "optimiser.learning_rate=1e-2", "workers=0", "checkpoint_every=2", "log_every=1",
    "export=float32",
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHS, TINY.name, TINY)
        patch.setattr(synthetic_actions, "SPLITS", {"train": (2, 11, 18), "val": (3, 11, 18)})
        patch.setattr(features, "_VIDEOS_OF_A_FILE", 4)
        yield


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = ViViT(TINY, ClassifierShape(11), SIZE, seed=4)
    with torch.no_grad():
        # Larger than drawn, so that a few steps change what is recognised.
        model.classifier.weight.mul_(20)
    path = tmp_path_factory.mktemp("init") / "init.safetensors"
    save(path, model.state_dict(), {"arch": TINY.name})
    return path


def prepared(init: Path, *changes: str) -> Training:
    words = [*SHORT, f"init={init}", *changes]
    loaded = load_training(find_training("train-actions-temporal"), words)
    return prepare(loaded, torch.device("cpu"))


def train(init: Path, folder: Path, *changes: str, code: int = 0) -> str:
    words = [w for change in (*SHORT, f"init={init}", *changes) for w in ("--set", change)]
    command = ["train", "train-actions-temporal", "-o", str(folder), *words, "--device", "cpu"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def whole(init: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "out"
    told = train(init, folder)
    assert "features of 11 of 11 videos computed" in told
    assert "top-1 before tuning" in told
    return folder


def tuned(folder: Path) -> dict[str, Tensor]:
    return read_tensors(folder / "tuned.safetensors")


def test_what_follows_the_spatial_model_alone_learns(whole: Path, init: Path) -> None:
    before, after = read_tensors(init), tuned(whole)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    ours = {name for name in before if name.startswith(("temporal.", "classifier."))}
    assert changed and changed <= ours
    assert {"classifier.bias", "temporal.blocks.0.qkv.weight"} <= changed


def test_weights_say_what_they_were_tuned_for(whole: Path, init: Path) -> None:
    said = read_metadata(whole / "tuned.safetensors")
    assert said["tuned_for"] == "eventful r=3"
    facts = json.loads(said["tuned_for_facts"])
    assert (facts["method"], facts["params"]["r"]) == ("eventful", 3)
    assert said["init"] == features.sha256_of(init)
    card = (whole / "tuned.md").read_text("utf-8")
    assert "| tuned for | `eventful r=3` |" in card
    assert "steps as `eventful r=3` computes them, all looks" in card
    assert "The initial weights have the top-1 " in card


def test_features_are_those_that_the_method_gives(
    whole: Path, init: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every step of every look, and never computed twice."""
    from maskvd_cli.methods.eventful import Eventful

    training = prepared(init)
    run, listed = training.spatial, training.learnt
    assert run is not None
    assert isinstance(listed, LookList)
    looks = placed_looks(listed, 6, SIZE)
    fresh = run.features(looks)
    assert fresh.shape == (2, 3, 16)
    dense = prepared(init, "method={name: dense}").spatial
    assert dense is not None
    full = dense.features(looks)
    assert torch.allclose(fresh[:, 0], full[:, 0], atol=1e-5)
    assert not torch.allclose(fresh[:, 1:], full[:, 1:], atol=1e-3)

    def never(*given: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(Eventful, "run", never)
    place = whole / "features"
    run.compute(listed, training.geometry, place, "learnt", never)
    assert torch.equal(run.kept["learnt"].of(6), fresh)


@pytest.fixture(scope="module")
def report(whole: Path, init: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Untuned and tuned weights of one model in one sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    recipe = f"""\
schema: 1
name: scored
dataset: {{name: synthetic-actions}}
model:
  - {{name: vivit-tiny, input: 48x48, weights: {init}}}
  - {{name: vivit-tiny, called: tuned, input: 48x48, weights: {whole / "tuned.safetensors"}}}
methods: [{{name: dense}}, {{name: eventful, r: [3, 8]}}]
metrics: [accuracy]
device: cpu
"""
    (folder / "scored.yaml").write_text(recipe)
    run = Run(folder / "run")
    sweep = prepare_sweep(load_recipe(folder / "scored.yaml", catalog()))
    assert not run_sweep(sweep, run).failed
    return read_report(run)


def test_a_sweep_scores_as_the_training_did(whole: Path, init: Path, report: Report) -> None:
    """The evaluation of a training runs with the spatial model that was tuned for."""
    training, model = prepared(init), load(whole / "tuned.safetensors", device="cpu")
    run, listed = training.spatial, training.evaluated
    assert isinstance(model, ViViT) and isinstance(listed, LookList) and run is not None
    run.compute(listed, training.geometry, whole / "features", "evaluated", print)
    with torch.inference_mode():
        kept = [model.logits(run.kept["evaluated"].of(index)) for index in range(11)]
    keys = report.rows.set_index(["model", "method", "r"])["key"]

    def of_sweep(key: str) -> list[Tensor]:
        pieces = [report.run.piece(key, number).outputs["logit"] for number in range(22)]
        return list(torch.from_numpy(np.stack(pieces)).unflatten(0, (11, 2)))

    gated = of_sweep(keys["tuned", "eventful", 3])
    assert all(map(partial(torch.allclose, atol=1e-4), gated, kept))
    other = of_sweep(keys["tuned", "eventful", 8])
    assert not all(map(partial(torch.allclose, atol=1e-2), other, kept))
    right = [int(logits.mean(0).argmax()) == clip.label
             for logits, clip in zip(kept, listed.videos, strict=True)]  # fmt: skip
    result = json.loads((whole / "result.json").read_text())["result"]
    assert result["accuracy"]["top1"] == pytest.approx(100 * sum(right) / 11)
    top1 = report.rows.set_index(["model", "method", "r"])["top1"]
    assert top1["tuned", "eventful", 3] == pytest.approx(result["accuracy"]["top1"])
    assert top1["vivit-tiny", "eventful", 3] == pytest.approx(result["untuned"]["top1"])
    assert any("was tuned on its features under eventful r=3" in note for note in report.notes)


def test_reports_tell_weights_of_one_model_apart(report: Report) -> None:
    told = dict(facts(report))
    assert set(report.settings) == {"vivit-tiny", "tuned"}
    assert told["model"].startswith("tuned (vivit-tiny, ")
    digests = {setting["measured"]["weights"] for setting in report.settings.values()}
    assert len(digests) == 2
    assert list(report.rows["model"]) == ["vivit-tiny"] * 3 + ["tuned"] * 3
    # Each is compared with its own baseline.
    dense = report.rows[report.rows["method"] == "dense"]
    assert list(dense["top1_change"].fillna(0.0)) == [0.0, 0.0]


def test_accuracy_over_cost_has_a_line_for_each_weights(report: Report, tmp_path: Path) -> None:
    """Top-1 against GMACs, tuned and untuned apart, with intervals."""
    drawn = cost_panel(report)
    assert [line.label for line in drawn.lines] == [
        "dense, vivit-tiny", "dense, tuned", "eventful, vivit-tiny", "eventful, tuned",
    ]  # fmt: skip
    assert (drawn.y.title, drawn.x.title) == ("top-1 (%)", "backbone GMACs per frame")
    untuned, tuned = (line for line in drawn.lines if line.label.startswith("eventful"))
    assert untuned.look != tuned.look
    places = [place for line in (untuned, tuned) for place in line.places]
    assert all(place.low is not None and place.high is not None for place in places)
    assert all(place.low <= place.y <= place.high for place in places)  # pyright: ignore
    outcomes = {outcome.name: outcome for outcome in write_figures(report, tmp_path)}
    assert len(outcomes["top1-gmacs"].files) == 2


def test_lines_of_three_weights_look_different(report: Report) -> None:
    third = report.rows[report.rows["model"] == "tuned"].assign(model="third")
    strands = strands_of(pd.concat([report.rows, third]), report.legend)
    looks = [strand.look for strand in strands if strand.method == "eventful"]
    assert len(looks) == len(set(looks)) == 3


def test_a_stopped_training_ends_with_the_same_weights(
    whole: Path, init: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    shutil.copytree(whole, folder)
    for name in ("tuned.safetensors", "result.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "checkpoints" / "000000006")
    told = train(init, folder)
    assert "goes on after step 4" in told
    assert "features of" not in told
    assert all(torch.equal(tuned(folder)[name], value) for name, value in tuned(whole).items())


def test_a_kill_while_features_are_computed_loses_one_file(tmp_path: Path) -> None:
    made: list[int] = []

    def make(videos: range) -> Iterator[Tensor]:
        for index in videos:
            if len(made) == 6:
                made.append(-1)
                raise KeyboardInterrupt
            made.append(index)
            yield torch.full((2, 3), float(index))

    key = {"weights": "a"}
    with pytest.raises(KeyboardInterrupt):
        StoredFeatures(tmp_path, key, 10, (2, 3)).complete(make, lambda done, of: None)
    again = StoredFeatures(tmp_path, key, 10, (2, 3))
    heard: list[tuple[int, int]] = []
    again.complete(make, lambda done, of: heard.append((done, of)))
    assert made == [0, 1, 2, 3, 4, 5, -1, 4, 5, 6, 7, 8, 9]
    assert heard[0] == (5, 10)
    assert heard[-1] == (10, 10)
    assert [float(again.of(index)[0, 0]) for index in (9, 0, 5)] == [9.0, 0.0, 5.0]
    # Anything else that decides them is another folder.
    other = StoredFeatures(tmp_path, {"weights": "b"}, 10, (2, 3))
    other.complete(lambda videos: torch.zeros(len(videos), 2, 3), lambda done, of: None)
    assert float(other.of(9)[0, 0]) == 0.0
    assert len(list(tmp_path.iterdir())) == 2


def test_damaged_features_are_refused(whole: Path, init: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    (folder / "result.json").unlink()
    first = sorted((folder / "features").rglob("*.safetensors"))[0]
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    told = train(init, folder, code=3)
    assert "damaged (the checksum does not fit: something was changed)" in told
    assert f"remove the folder {first.parent.name}" in told
    listed = first.parent / "features.json"
    text = listed.read_text()
    listed.write_text(text.replace("eventful", "eventfuI"))
    with pytest.raises(DamagedTrainingError, match=r"features\.json: damaged"):
        StoredFeatures(first.parents[1], json.loads(text)["key"], 11, (2, 3, 16))
    shutil.rmtree(first.parent)
    assert "nothing to do" not in train(init, folder)


def test_another_setting_is_another_training(whole: Path, init: Path, tmp_path: Path) -> None:
    told = train(init, whole, "method.settings={r: 4}", code=2)
    assert "holds a training with another method.settings.r, spatial.params.r" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("method={name: svit}",), "svit "),
        (("method={name: maskvd}",), "maskvd "),
        (("method={name: random}",), "random "),
        (("method={name: eventful, frozen: false, settings: {r: 3}}",), r"method\.frozen is not"),
        (("augmentation.flip=0.5",), "augmentation beside method is not for vivit-tiny"),
        (("export=float16",), "export float16 would change embedding"),
        (("allow_missing=['backbone.*']",), None),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    changes: tuple[str, ...], message: str | None, init: Path, tmp_path: Path
) -> None:
    if message is None:
        tensors = read_tensors(init)
        del tensors["backbone.positions"]
        init, message = tmp_path / "part.safetensors", "backbone.positions of the spatial model"
        save(init, tensors, {})
    with pytest.raises(UsageError, match=message):
        prepared(init, *changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("method={name: eventfull}",), "unknown method 'eventfull'"),
        (("method.settings={q: 3}",), r"method\.settings\.q: unknown key"),
        (("method.settings={r: 0}",), r"method\.settings\.r: "),
        (("init=null",), "method needs init"),
    ],
)
def test_mistakes_in_the_recipe_are_told(changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_training(find_training("train-actions-temporal"), [*SHORT, *changes])


@pytest.mark.parametrize(
    ("name", "r", "rate"),
    [("train-actions-temporal", 36, 1e-4), ("train-epic-temporal", 100, 1e-5)],
)
def test_the_shipped_recipes_load(name: str, r: int, rate: float) -> None:
    recipe = load_training(find_training(name)).recipe
    assert recipe.method is not None
    assert recipe.method.settings["r"] == r
    assert (recipe.optimiser.learning_rate, recipe.optimiser.weight_decay) == (rate, 0.05)
    assert (recipe.schedule.length, recipe.schedule.unit, recipe.batch) == (5, "epochs", 8)
