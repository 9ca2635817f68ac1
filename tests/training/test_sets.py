"""Training of a set-based detector: where it begins, what of it is exported, how it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from maskvd_cli.core.errors import MaskvdError, RecipeError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import WeightsFile
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.checkpoints import load_into, read_metadata, read_tensors, save
from maskvd_cli.families.rfdetr import family, library
from maskvd_cli.families.rfdetr.archs import ARCHS, QueryArch
from maskvd_cli.families.rfdetr.family import GROUPS, RFDETRFamily
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.machine.device import resolve_device
from maskvd_cli.training.evaluation import evaluate
from maskvd_cli.training.folder import TrainingFolder
from maskvd_cli.training.load import load_training
from maskvd_cli.training.runner import run_training
from maskvd_cli.training.setup import Training, prepare

from ..families.test_rfdetr import needs_library
from .test_runner import Silent, lines, same
from .trainings import TINY_GLOBAL, write_kitti

# Its backbone is that of TINY_GLOBAL in windows.
TINY_SET = QueryArch(
    name="tiny-set", description="", dim=32, heads=2, depth=2, patch=16, global_blocks=(1,),
    window=Size(2, 3), position_table=Size(4, 6), relative_table=None, final_norm=True,
    read_after=(1, 2), channels=32, bottlenecks=1, decoder_layers=2, self_heads=2, cross_heads=2,
    hidden=32, queries=7,
)  # fmt: skip
RECIPE = """
schema: 1
kind: training
name: tiny
dataset: {name: kitti, root: kitti}
model: {name: tiny-set, input: 64x96, frame: 64x96, groups: 3}
init: start.safetensors
leave: [pyramid.*, rpn.*, box_head.*]
allow_missing: [queries.*]
optimiser: {learning_rate: 2e-3, clip: 1.0, rates: {backbone.: 0.5}}
schedule: {length: 4, warmup: 1}
batch: 2
ema: 0.9
evaluation: {every: 1000, limit: 4}
checkpoint_every: 2
log_every: 1
workers: 0
export: float16
"""


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHS, TINY_SET.name, TINY_SET)
        yield


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_kitti(folder / "kitti", frames=6)
    (folder / "tiny.yaml").write_text(RECIPE)
    heads = HeadArch.for_patch(16, classes=3, channels=16, hidden=16)
    start = Detector(TINY_GLOBAL, heads, Size(64, 96), seed=1)
    save(folder / "start.safetensors", start.state_dict(), {"contains": "detector"})
    return folder


def made(home: Path, *assignments: str) -> Training:
    return prepare(load_training(home / "tiny.yaml", assignments), resolve_device("cpu"))


def run(home: Path, output: Path, watcher: Silent | None = None) -> dict[str, Any]:
    return run_training(made(home), TrainingFolder(output), watcher or Silent()).result


@needs_library
def test_the_backbone_begins_where_another_model_ended(home: Path) -> None:
    training, start = made(home), read_tensors(home / "start.safetensors")
    own = training.detector.state_dict()
    assert {name.split(".")[0] for name in training.taken.left} == {"pyramid", "rpn", "box_head"}
    assert all(name.startswith("queries.") for name in training.fresh)
    taken = own.keys() - set(training.fresh)
    assert taken == start.keys() - set(training.taken.left)
    assert all(torch.equal(own[name], start[name]) for name in taken)


@needs_library
def test_parts_learn_at_rates_of_their_own(home: Path) -> None:
    training = made(home)
    found = [(group.get("share", 1), len(group["params"]))
             for group in training.optimiser.param_groups]  # fmt: skip
    backbone = sum(1 for _ in training.detector.backbone.parameters())
    assert [share for share, _ in found] == [0.5, 0.5, 1, 1]
    assert sum(number for share, number in found if share == 0.5) == backbone
    assert sum(number for _, number in found) == len(list(training.detector.parameters()))
    with pytest.raises(UsageError, match=r"no parameter's name begins with 'neck\.'"):
        made(home, "optimiser.rates={neck.: 0.1}")


@needs_library
def test_what_is_exported_is_the_first_group_and_scores_as_told(home: Path, tmp_path: Path) -> None:
    told = run(home, tmp_path)
    path = tmp_path / "tiny.safetensors"
    file = WeightsFile(path, read_tensors(path), read_metadata(path))
    shape = RFDETRFamily.shape_of(TINY_SET, file)
    assert shape == QueryShape(3, 7)
    assert RFDETRFamily.class_names(shape, file) == ["pedestrian", "car", "cyclist"]
    told_heads = json.loads(file.metadata["heads"])
    assert (told_heads["classes"], told_heads["queries"], told_heads["groups"]) == (3, 7, 1)
    assert {value.dtype for value in file.tensors.values()} == {torch.float16}
    assert told["parameters"] == sum(value.numel() for value in file.tensors.values())
    model = RFDETRFamily.build(TINY_SET, shape, Size(64, 96), seed=5)
    load_into(model, file.tensors, path)
    training = made(home)
    found = evaluate(model, training.task, training.evaluated, training.geometry)
    assert found.content() == told["accuracy"]
    card = (tmp_path / "tiny.md").read_text()
    assert "| heads | 7 queries |" in card
    assert "new: queries.\\*; left: pyramid.\\*, rpn.\\*, box\\_head.\\*" in card
    steps = [entry for entry in lines(tmp_path) if entry["kind"] == "steps"]
    parts = ("classes", "boxes", "overlaps")
    assert steps[0]["loss"] == pytest.approx(sum(steps[0][name] for name in parts), abs=1e-5)


@needs_library
def test_an_interrupted_training_ends_with_the_same_weights(home: Path, tmp_path: Path) -> None:
    run(home, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(home, tmp_path / "cut", Silent(3))
    watcher = Silent()
    run(home, tmp_path / "cut", watcher)
    assert watcher.began == 2
    assert same(tmp_path / "whole", tmp_path / "cut")


@needs_library
@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("model.anchor_ratios=[1]", "model.anchor_ratios is not for tiny-set, .* family rfdetr"),
        ("mask={static_keep_rate: 0.5}", "mask is not for tiny-set"),
        ("leave=[neck.*]", r"start.safetensors: has no parameter that 'neck\.\*' of leave matches"),
        ("leave=[rpn.*]", "does not fit tiny-set: .* unexpected: "),
        ("init=null", "allow_missing needs init"),
        ("optimiser.rates={backbone.: 0}", "optimiser.rates"),
    ],
)
def test_what_does_not_fit_is_told(home: Path, assignment: str, problem: str) -> None:
    with pytest.raises((MaskvdError, RecipeError), match=problem):
        made(home, assignment)


def test_words_of_sets_are_not_for_others(home: Path) -> None:
    others = ["model.name=vitdet-ti", "model.input=192x640", "model.frame=192x640"]
    with pytest.raises(UsageError, match=r"model\.groups is not for vitdet-ti"):
        made(home, *others)
    with pytest.raises(UsageError, match="family yolos, which cannot be trained here"):
        made(home, "model.name=yolos-tiny", "model.groups=null")


def test_without_the_library_the_remedy_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "installed", lambda: None)
    monkeypatch.setattr(family, "find_spec", lambda name: object())
    with pytest.raises(UsageError, match=r"needs transformers; pip install 'maskvd\[hf\]'"):
        made(home)


def test_without_the_matcher_the_remedy_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"of tiny-set match .* with scipy; pip install scipy"):
        made(home)


@needs_library
def test_as_many_groups_learn_as_are_told() -> None:
    words = {"queries": None, "groups": None}
    assert RFDETRFamily.trained_shape(TINY_SET, 3, words) == QueryShape(3, 7, groups=GROUPS)
    told = {"queries": 4, "groups": 2}
    assert RFDETRFamily.trained_shape(TINY_SET, 3, told) == QueryShape(3, 4, groups=2)


def test_what_is_not_said_is_the_training_of_before(home: Path) -> None:
    others = ["model={name: vitdet-ti, input: 192x640, frame: 192x640}", "init=null", "leave=[]",
              "allow_missing=[]", "optimiser.rates={}"]  # fmt: skip
    identity = made(home, *others).identity()["recipe"]
    assert "leave" not in identity and "rates" not in identity["optimiser"]
    assert not {"queries", "groups"} & set(identity["model"])


def test_the_backbone_of_the_small_one_is_that_of_the_plain_one() -> None:
    from maskvd_cli.families.vitdet.archs import ARCHS as PLAIN

    ti: ViTArch = ARCHS["rfdetr-ti"]
    plain = PLAIN["vitdet-ti-global"]
    for field in ("dim", "heads", "depth", "patch", "mlp_ratio", "position_table", "final_norm"):
        assert getattr(ti, field) == getattr(plain, field)
