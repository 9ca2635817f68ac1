"""Trainings of what methods bring: steps, files, the detector frozen or learning, going on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.errors import RecipeError, UsageError
from maskvd_cli.families.blocks.own_weights import read_own_weights
from maskvd_cli.families.checkpoints import read_metadata, read_tensors, save, sha256_of
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.methods.svit import SViT, SViTParams
from maskvd_cli.methods.vpp import VPP, VPPParams
from maskvd_cli.training.folder import TrainingFolder
from maskvd_cli.training.frames import training_frames
from maskvd_cli.training.geometry import TrainingInput, new_detector
from maskvd_cli.training.load import load_training
from maskvd_cli.training.loading import (
    PlacedFrames,
    PlacedSequences,
    TrainingFrames,
    TrainingSequences,
)
from maskvd_cli.training.runner import FinishedTraining, run_training
from maskvd_cli.training.setup import Training, prepare

from .test_runner import Silent
from .trainings import write_kitti, write_recipe

BASE = ("model.name=tiny-global", "init=tiny-global.safetensors", "schedule.length=4",
        "evaluation.limit=3", "checkpoint_every=2")  # fmt: skip
SVIT = "method={name: svit, settings: {blocks: [1], targets: [0.5]}}"
VPP_SETTINGS = "{map_block: 0, deep_block: 0, blocks: [1], targets: [0.4], keep_rate: 0.6}"
MAPPED = f"method={{name: vpp, settings: {VPP_SETTINGS}}}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_kitti(folder / "kitti", frames=12)
    write_recipe(folder)
    recipe = load_training(folder / "tiny.yaml", ["model.name=tiny-global"]).recipe
    detector = new_detector(recipe, 3)
    save(folder / "tiny-global.safetensors", detector.state_dict(), {"contains": "detector"})
    return folder


@pytest.fixture(autouse=True)
def one_thread(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(home)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(home: Path, *assignments: str) -> Training:
    return prepare(load_training(home / "tiny.yaml", (*BASE, *assignments)), resolve_device("cpu"))


def run(
    home: Path, output: Path, *assignments: str, watcher: Silent | None = None
) -> FinishedTraining:
    training = made(home, *assignments)
    return run_training(training, TrainingFolder(output), watcher or Silent())


def weights(folder: Path, name: str = "tiny") -> dict[str, Tensor]:
    return read_tensors(folder / f"{name}.safetensors")


@pytest.mark.parametrize(
    ("method", "shares"), [(SVIT, {"block 1"}), (MAPPED, {"block 0", "block 1"})]
)
def test_what_a_training_beside_a_frozen_detector_leaves(
    method: str, shares: set[str], home: Path, tmp_path: Path
) -> None:
    watcher = Silent()
    before = sha256_of(home / "tiny-global.safetensors")
    outcome = run(home, tmp_path, method, "evaluation.every=2", watcher=watcher)
    assert sha256_of(home / "tiny-global.safetensors") == before
    stored, facts = weights(tmp_path), read_metadata(tmp_path / "tiny.safetensors")
    assert not any("backbone" in name for name in stored)
    assert (facts["contains"], facts["arch"]) == ("module", "tiny-global")
    assert facts["detector"] == facts["init_sha256"] == before
    assert facts["init"] == "tiny-global.safetensors"
    assert json.loads(facts["settings"])["blocks"] == [1]
    steps = [entry for entry in watcher.entries if entry["kind"] == "steps"]
    assert [set(entry["kept"]) for entry in steps] == [shares] * 4
    assert all(entry["kept_shares"] >= 0 and entry["gradient_norm"] > 0 for entry in steps)
    (evaluation,) = [entry for entry in watcher.entries if entry["kind"] == "evaluation"]
    assert len(evaluation["kept"]) == len(outcome.result["kept"]) == 2
    assert outcome.result["baseline"]["frames"] == 3
    card = (tmp_path / "tiny.md").read_text()
    assert "chooses them" in card and f"frozen, sha256 `{before}`" in card
    assert not (tmp_path / "tiny-detector.safetensors").exists()


def test_what_was_learnt_runs_as_the_method(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path, SVIT)
    training = made(home, SVIT)
    file = str(tmp_path / "tiny.safetensors")
    method = SViT(SViTParams(selector=file, blocks=(1,)), training.detector.backbone)
    for name, value in method.module.state_dict().items():
        assert torch.equal(value, weights(tmp_path)[name]), name
    other = VPPParams(selector=file, map_block=0, deep_block=0, blocks=(1,))
    with pytest.raises(Exception, match="was made for the method svit, not vpp"):
        VPP(other, training.detector.backbone)


def test_the_weights_move_and_the_frozen_detector_does_not(home: Path, tmp_path: Path) -> None:
    fresh = made(home, SVIT)
    began = {name: value.clone() for name, value in fresh.own.state_dict().items()}
    run(home, tmp_path, SVIT)
    moved = weights(tmp_path)
    assert set(moved) == set(began)
    assert all(not torch.equal(moved[name], value) for name, value in began.items())
    assert not any(p.requires_grad for p in fresh.detector.parameters())
    assert set(fresh.optimiser.param_groups[0]["params"]) <= set(fresh.own.parameters())


def test_a_detector_that_learns_too_is_exported_beside(home: Path, tmp_path: Path) -> None:
    method = SVIT.replace("name: svit", "name: svit, frozen: false, detector_rate: 0.25")
    outcome = run(home, tmp_path, method)
    learnt = weights(tmp_path, "tiny-detector")
    init = weights(home, "tiny-global")
    assert set(learnt) == set(init)
    assert any(not torch.equal(learnt[name], init[name]) for name in init)
    beside = outcome.result["detector"]
    assert beside["sha256"] == sha256_of(tmp_path / "tiny-detector.safetensors")
    facts = read_metadata(tmp_path / "tiny.safetensors")
    assert facts["detector"] == beside["sha256"]
    beside_facts = read_metadata(tmp_path / "tiny-detector.safetensors")
    assert beside_facts["contains"] == "detector"
    assert beside_facts["init_sha256"] == sha256_of(home / "tiny-global.safetensors")
    assert beside_facts["init_sha256"] in (tmp_path / "tiny.md").read_text()
    training = made(home, method)
    rates = {group.get("share", 1.0) for group in training.optimiser.param_groups}
    assert rates == {1.0, 0.25}
    own = {id(p) for p in training.own.parameters()}
    for group in training.optimiser.param_groups:
        assert {id(p) in own for p in group["params"]} == {"share" not in group}
    again = run(home, tmp_path, method)
    assert again.was_finished
    (tmp_path / "tiny-detector.safetensors").unlink()
    assert not run(home, tmp_path, method).was_finished
    assert sha256_of(tmp_path / "tiny-detector.safetensors") == beside["sha256"]


@pytest.mark.parametrize("method", [SVIT, MAPPED])
def test_a_training_that_was_stopped_ends_the_same(method: str, home: Path, tmp_path: Path) -> None:
    run(home, tmp_path / "whole", method)
    with pytest.raises(KeyboardInterrupt):
        run(home, tmp_path / "cut", method, watcher=Silent(stop_after=3))
    run(home, tmp_path / "cut", method)
    whole, cut = (sha256_of(tmp_path / name / "tiny.safetensors") for name in ("whole", "cut"))
    assert whole == cut


def test_sequences_are_of_one_clip_in_order_and_changed_alike(home: Path) -> None:
    training = made(home, MAPPED)
    listed, recipe = training.learnt, training.recipe
    single = TrainingFrames(listed, training.geometry, recipe)
    sequences = TrainingSequences(single, 3, 5)
    for position in range(6):
        sequence = sequences.made(position)
        assert len(sequence) == 3
        last, targets = single.made(position)
        assert torch.equal(sequence[-1][0], last)
        assert torch.equal(sequence[-1][1].xyxy, targets.xyxy)
        assert {pixels.shape for pixels, _ in sequence} == {last.shape}
        again = sequences.made(position)
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(sequence, again, strict=True))


def test_frames_before_stay_in_their_clip(home: Path) -> None:
    recipe = load_training(home / "tiny.yaml", ["dataset.stride=4"]).recipe
    listed = training_frames(recipe)
    starts = [index for index, (_, place) in enumerate(listed.places) if place == 0]
    assert len(starts) > 1
    for index, frame in enumerate(listed.frames):
        clip, place = listed.places[index]
        assert listed.before(index, 0) == frame
        assert listed.before(index, 1) == listed.clips[clip][max(place - 1, 0)]
        assert listed.before(index, 99) == listed.clips[clip][0]
    placed = PlacedFrames(listed, TrainingInput.of(recipe))
    sequence = PlacedSequences(placed, 3).made(1)
    assert torch.equal(sequence[-1], placed.made(1))
    assert torch.equal(sequence[0], placed.placed(listed.before(1, 2)))


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("{name: svti}", "method.name: unknown method 'svti' (did you mean 'svit'?)"),
        ("{name: dense}", "dense has no weights of its own; these have: svit, vpp"),
        ("{name: svit, settings: {bloks: [1]}}", "method.settings.bloks: unknown key"),
        ("{name: svit, settings: {blocks: [1]}}", "9 targets for 1 blocks"),
    ],
)
def test_mistakes_are_placed(method: str, text: str, home: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_training(home / "tiny.yaml", [*BASE, f"method={method}"])
    assert text in str(caught.value)


def test_a_method_needs_a_detector_and_chooses_alone(home: Path) -> None:
    for changes, text in (
        ([SVIT], "method needs init"),
        ([*BASE, SVIT, "mask={static_keep_rate: 0.5}"], "mask and method: each leaves tokens out"),
    ):
        with pytest.raises(RecipeError, match=text):
            load_training(home / "tiny.yaml", changes)


def test_windows_are_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="the windows of tiny need all of them"):
        made(home, SVIT, "model.name=tiny")


def test_settings_that_were_not_said_are_written_out(home: Path) -> None:
    training = made(home, SVIT)
    assert training.recipe.method is not None
    assert training.recipe.method.settings["weight"] == 4.0
    assert training.identity()["recipe"]["method"]["settings"]["temperature"] == 1.0


def test_own_weights_are_read_again_where_they_change(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path, SVIT)
    file = tmp_path / "tiny.safetensors"
    first = read_own_weights(file)
    tensors = {name: value + 1 for name, value in first.tensors.items()}
    save(file, tensors, read_metadata(file))
    second = read_own_weights(file)
    assert second.digest == sha256_of(file) != first.digest


def test_the_command_tells_what_the_method_computes(home: Path, tmp_path: Path) -> None:
    words = [part for change in (*BASE, SVIT) for part in ("--set", change)]
    done = CliRunner().invoke(app, ["train", "tiny.yaml", "-o", str(tmp_path), *words])
    assert done.exit_code == 0, done.output
    assert "mAP50 with every token" in done.stdout
    assert "tokens computed by block, %" in done.stdout
    assert "kept shares" in done.stderr
