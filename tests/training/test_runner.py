"""Trainings as a whole: they learn, they go on after a kill as if there had been none."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError, ResultError
from maskvd_cli.families.checkpoints import load_into, read_metadata, read_tensors, sha256_of
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.store.sealed import unsealed
from maskvd_cli.training.checkpoint import Progress
from maskvd_cli.training.evaluation import evaluate
from maskvd_cli.training.folder import TrainingFolder
from maskvd_cli.training.load import load_training
from maskvd_cli.training.loading import TrainingFrames
from maskvd_cli.training.optimiser import decays
from maskvd_cli.training.runner import FinishedTraining, run_training
from maskvd_cli.training.setup import Training, prepare
from maskvd_cli.training.steps import run_step

from . import trainings
from .trainings import write_kitti, write_recipe

PLAIN = [
    "augmentation={flip: 0.5}",
    "ema=0.95",
    "batch=8",
    "evaluation.limit=40",
    "checkpoint_every=500",
]


class Silent:
    """A watcher that keeps what it hears, and may stop the training as a kill would."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.entries: list[dict[str, Any]] = []
        self.began: int | None = None
        self.stop_after = stop_after

    def begins(self, training: Training, step: int) -> None:
        self.began = step

    def computed(self, done: int, videos: int) -> None: ...

    def stepped(self, step: int) -> None:
        if step == self.stop_after:
            raise KeyboardInterrupt

    def logged(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_kitti(folder / "kitti", frames=60)
    write_recipe(folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(home: Path, *assignments: str) -> Training:
    return prepare(load_training(home / "tiny.yaml", assignments), resolve_device("cpu"))


def run(
    home: Path, output: Path, *assignments: str, watcher: Silent | None = None, **options: bool
) -> FinishedTraining:
    training = made(home, *assignments)
    return run_training(training, TrainingFolder(output), watcher or Silent(), **options)


def weights(output: Path) -> dict[str, Tensor]:
    return read_tensors(output / "tiny.safetensors")


def same(first: Path, second: Path) -> bool:
    return sha256_of(first / "tiny.safetensors") == sha256_of(second / "tiny.safetensors")


def lines(output: Path) -> list[dict[str, Any]]:
    """Return the entries of the log, whose checksums are compared."""
    entries = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert all("sha256" in entry for entry in entries)
    return [unsealed(entry) for entry in entries]


def test_a_short_training_learns(tmp_path: Path) -> None:
    write_kitti(tmp_path / "kitti", frames=100)
    write_recipe(tmp_path)
    changes = ["optimiser.learning_rate=1e-3", "schedule.length=300", "schedule.warmup=20"]
    outcome = run(tmp_path, tmp_path / "out", *PLAIN, *changes)
    assert outcome.result["accuracy"]["map50"] > 80
    assert set(outcome.result["accuracy"]["map50_by_class"]) == {"pedestrian", "car", "cyclist"}


def test_what_a_training_leaves(home: Path, tmp_path: Path) -> None:
    watcher = Silent()
    changes = ["export=float16", "evaluation.every=4", "licence=CC0"]
    outcome = run(home, tmp_path, *changes, watcher=watcher)
    stored = weights(tmp_path)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    facts = read_metadata(tmp_path / "tiny.safetensors")
    assert facts["arch"] == "tiny" and json.loads(facts["heads"])["channels"] == 24
    assert json.loads(facts["classes"]) == ["pedestrian", "car", "cyclist"]
    assert not {"init", "init_sha256"} & set(facts)
    card = (tmp_path / "tiny.md").read_text()
    for text in (outcome.result["sha256"], "Licence: CC0", "| seed | 3 |", "8 of 2 frames"):
        assert text in card
    assert [entry["kind"] for entry in lines(tmp_path)] == [
        *["steps"] * 4, "evaluation", *["steps"] * 4, "result",
    ]  # fmt: skip
    assert lines(tmp_path)[:-1] == watcher.entries
    last = watcher.entries[-1]
    assert last["step"] == 8 and last["seconds_left"] == 0 and last["images_per_s"] > 0
    parts = ("rpn_objectness", "rpn_deltas", "box_classes", "box_deltas")
    assert last["loss"] == pytest.approx(sum(last[name] for name in parts), abs=1e-5)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_the_accuracy_is_that_of_the_stored_weights(home: Path, tmp_path: Path) -> None:
    changes = [*PLAIN, "schedule.length=150", "optimiser.learning_rate=1e-3", "export=float16"]
    told = run(home, tmp_path, *changes).result["accuracy"]
    training = made(home, *changes)
    load_into(training.detector, weights(tmp_path), "test")
    found = evaluate(
        training.detector, training.task, training.evaluated, training.geometry, batch=5
    )
    assert found.content()["map50"] == told["map50"] > 0
    assert set(found.content()) == set(told)
    assert found.values["map50"] >= found.values["map"] > 0


@pytest.mark.parametrize("changes", [(), ("accumulate=2", "mask.static_keep_rate=0.5", "ema=0")])
def test_an_interrupted_training_ends_with_the_same_weights(
    home: Path, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    run(home, tmp_path / "whole", *changes)
    for stop in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            run(home, tmp_path / "cut", *changes, watcher=Silent(stop))
    watcher = Silent()
    run(home, tmp_path / "cut", *changes, watcher=watcher)
    assert watcher.began == 6
    assert same(tmp_path / "whole", tmp_path / "cut")
    speed = {"images_per_s", "seconds", "seconds_left"}
    whole, cut = (
        [{key: entry[key] for key in entry if key not in speed} for entry in lines(folder)]
        for folder in (tmp_path / "whole", tmp_path / "cut")
    )
    assert whole == cut


def test_a_killed_training_ends_with_the_same_weights(home: Path, tmp_path: Path) -> None:
    changes = ["--set", "schedule.length=40", "--set", "workers=1"]
    command = [sys.executable, trainings.__file__, str(home / "tiny.yaml"), *changes, "-o"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(whole)], check=True, capture_output=True, env=environment)
    steps = random.Random(os.urandom(4)).uniform(2, 36)
    log = cut / "log.jsonl"
    process = subprocess.Popen(
        [*command, str(cut)], stderr=subprocess.PIPE, env=environment, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") >= steps):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (cut / "result.json").exists()
    done = subprocess.run(
        [*command, str(cut), "--resume"],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert "goes on after step" in done.stderr
    assert same(whole, cut), f"killed after {steps:.0f} steps"
    again = subprocess.run(
        [*command, str(cut)], check=True, capture_output=True, text=True, env=environment
    )
    assert "this training is finished after 40 steps" in again.stderr


def test_a_half_written_checkpoint_is_no_checkpoint(home: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(home, tmp_path, watcher=Silent(3))
    half = tmp_path / "checkpoints" / ".maskvd-0000.part"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"kind": "ste')
    watcher = Silent()
    run(home, tmp_path, watcher=watcher)
    assert watcher.began == 2
    assert not half.exists()
    assert [entry["step"] for entry in lines(tmp_path)] == [*range(1, 9), 8]


def test_a_damaged_checkpoint_is_told(home: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(home, tmp_path, watcher=Silent(5))
    (tmp_path / "checkpoints" / "000000004" / "state.pt").write_bytes(b"x")
    with pytest.raises(ResultError, match="remove 000000004 to go on from the checkpoint before"):
        run(home, tmp_path)


def test_a_finished_training_is_not_run_again(home: Path, tmp_path: Path) -> None:
    assert not run(home, tmp_path).was_finished
    watcher = Silent()
    again = run(home, tmp_path, "workers=1", watcher=watcher)
    assert again.was_finished and watcher.began is None


def test_folders_of_others_are_refused(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path / "out")
    with pytest.raises(ResultError, match=r"another batch, optimiser\.learning_rate;"):
        run(home, tmp_path / "out", "batch=4", "optimiser.learning_rate=1e-3")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ResultError, match="holds no training"):
        run(home, tmp_path / "mine")
    with pytest.raises(ResultError, match="no checkpoint to go on with"):
        run(home, tmp_path / "new", must_continue=True)
    folder = TrainingFolder(tmp_path / "out")
    with folder.locked(), pytest.raises(ResultError, match="another training is writing here"):
        run(home, tmp_path / "out")


def test_other_annotations_are_another_training(tmp_path: Path) -> None:
    write_kitti(tmp_path / "kitti", frames=8)
    write_recipe(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, tmp_path / "out", watcher=Silent(3))
    labels = tmp_path / "kitti" / "training" / "label_02" / "0000.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(ResultError, match="another annotations"):
        run(tmp_path, tmp_path / "out")


def test_gradients_that_are_not_finite_stop_it(home: Path, tmp_path: Path) -> None:
    training = made(home)
    training.detector.get_parameter("box_head.fc.weight").register_hook(
        lambda gradient: gradient * math.inf
    )
    with pytest.raises(MaskvdError, match="gradients are not finite at step 1; lower optimiser"):
        run_training(training, TrainingFolder(tmp_path), Silent())


def test_bfloat16_learns_too(home: Path, tmp_path: Path) -> None:
    watcher = Silent()
    run(home, tmp_path, "precision=bfloat16", watcher=watcher)
    plain = Silent()
    run(home, tmp_path / "plain", watcher=plain)
    first, second = watcher.entries[0], plain.entries[0]
    assert first["loss"] == pytest.approx(second["loss"], rel=0.05)
    assert first["loss"] != second["loss"]
    assert {value.dtype for value in weights(tmp_path).values()} == {torch.float32}


def test_accumulated_batches_make_one_step(home: Path) -> None:
    training = made(home, "accumulate=3", "batch=1", "optimiser.clip=null")
    assert training.schedule.steps_per_epoch == len(training.learnt) / 3
    frames = TrainingFrames(training.learnt, training.geometry, training.recipe)
    loaded = [[frames.made(position)] for position in range(3)]
    report = run_step(training, iter(loaded), 0)
    summed = [p.grad.clone() for p in training.detector.parameters() if p.grad is not None]
    alone = made(home, "batch=1", "optimiser.clip=null")
    norms = [run_step(alone, iter([batch]), 0).gradient_norm for batch in loaded]
    assert report.gradient_norm < sum(norms)
    total = torch.stack([gradient.pow(2).sum() for gradient in summed]).sum().sqrt()
    assert report.gradient_norm == pytest.approx(float(total), rel=1e-5)


def test_what_decays(home: Path) -> None:
    training = made(home)
    free = {n for n, p in training.detector.named_parameters() if not decays(n, p)}
    for name in ("backbone.positions", "backbone.blocks.0.relative.rows", "backbone.blocks.0."
                 "norm1.weight", "box_head.fc.bias", "box_head.norms.0.weight"):  # fmt: skip
        assert name in free
    for name in ("embedding.conv.weight", "backbone.blocks.0.qkv.weight", "box_head.fc.weight"):
        assert name not in free
    groups = training.optimiser.param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    assert len(groups[1]["params"]) == len(free)


def test_starting_from_a_checkpoint(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path)
    file = tmp_path / "tiny.safetensors"
    begun = made(home, f"init={file}", "seed=9")
    assert all(torch.equal(v, begun.detector.state_dict()[n]) for n, v in weights(tmp_path).items())
    other = [f"init={file}", "dataset.protocol=raw", "seed=9"]
    with pytest.raises(CheckpointError, match=r"box_head.classes.weight is 4x32, expected 11x32"):
        prepare(_raw(home, other), resolve_device("cpu"))
    allowed = "allow_missing=[box_head.classes.*, box_head.deltas.*]"
    fresh = prepare(_raw(home, [*other, allowed]), resolve_device("cpu"))
    assert len(fresh.fresh) == 4
    kept = "backbone.blocks.0.qkv.weight"
    assert torch.equal(fresh.detector.state_dict()[kept], weights(tmp_path)[kept])
    with pytest.raises(CheckpointError, match="matches no parameter"):
        made(home, f"init={file}", "allow_missing=[box.*]")


def _raw(home: Path, assignments: list[str]) -> Any:
    """Load the recipe with the raw protocol, which a recipe itself cannot ask for."""
    others = [text for text in assignments if not text.startswith("dataset.protocol")]
    loaded = load_training(home / "tiny.yaml", others)
    dataset = loaded.recipe.dataset.model_copy(update={"protocol": "raw"})
    recipe = loaded.recipe.model_copy(update={"dataset": dataset})
    return type(loaded)(loaded.path, recipe, loaded.source, loaded.assignments)


def test_progress_is_what_a_checkpoint_tells(home: Path, tmp_path: Path) -> None:
    training, folder = made(home), TrainingFolder(tmp_path)
    assert folder.restore(training) == Progress()
    folder.store(training, Progress(3, 1.5))
    assert folder.restore(training) == Progress(3, 1.5)
