"""Weights that a method brings decide its point: by content, wherever the file lies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.core.point import Point
from maskvd_cli.families.checkpoints import save, sha256_of
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.judge.rows import read_report
from maskvd_cli.judge.spread import spreads
from maskvd_cli.methods.learned import RANDOM
from maskvd_cli.methods.selectors import drawn
from maskvd_cli.methods.svit import SViT, SViTParams
from maskvd_cli.recipe import shipped
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.layers import feature_selectivity_of, layers_of
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.legend import plan_of
from maskvd_cli.work.runner import choose_run, prepare, run_sweep

from .measured_runs import write_kitti, write_weights

RECIPE = """\
schema: 1
name: own
dataset: {{name: kitti, root: kitti, split: train}}
model: {{name: vitdet-ti-global, input: 64x128, frame: 48x128, weights: tiny.safetensors}}
methods:
  - {{name: svit, {entry}}}
metrics: [accuracy]
device: cpu
"""
ARCH = get_arch("vitdet-ti-global")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    write_kitti(folder / "kitti", frames=3)
    write_weights(folder / "tiny.safetensors", name="vitdet-ti-global")
    write_selectors(folder / "one" / "mine.safetensors", 1)
    write_selectors(folder / "two" / "mine.safetensors", 2)
    (folder / "three").mkdir()
    shutil.copy(folder / "one" / "mine.safetensors", folder / "three" / "mine.safetensors")
    return folder


def write_selectors(path: Path, seed: int, **changes: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    params = SViTParams(selector=RANDOM)
    module = drawn(lambda: SViT.new_module(params, ARCH), seed)
    facts = {"contains": "module", "method": "svit", "arch": ARCH.name, **changes}
    save(path, module.state_dict(), facts)
    return path


def points(home: Path, entry: str) -> list[Point]:
    path = home / "own.yaml"
    path.write_text(RECIPE.format(entry=entry))
    return [p for p in prepare(load_recipe(path, catalog(), ())).points if p.method == "svit"]


def test_the_content_decides_and_the_folder_does_not(home: Path) -> None:
    one, two = points(home, "selector: [one/mine.safetensors, two/mine.safetensors]")
    (three,) = points(home, "selector: three/mine.safetensors")
    assert one.key == three.key != two.key
    digest = sha256_of(home / "one" / "mine.safetensors")
    assert one.setting["own_weights"] == {"selector": digest}
    assert one.params["selector"] == "mine.safetensors"
    assert one.label.startswith("svit selector=mine.safetensors")
    assert str(home) not in repr(one)


def test_random_selectors_are_told_by_their_seed(home: Path) -> None:
    first, second = points(home, "selector: random, seed: [0, 1]")
    assert first.setting["own_weights"] == {"selector": "random"}
    assert first.key != second.key


def test_points_of_other_methods_keep_their_keys(home: Path) -> None:
    path = home / "own.yaml"
    path.write_text(RECIPE.format(entry="selector: random"))
    (dense,) = [p for p in prepare(load_recipe(path, catalog(), ())).points if p.method == "dense"]
    assert "own_weights" not in dense.setting


def test_the_shipped_ones_are_found_by_name_and_by_default(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeError, match="no selectors of svit called nothing come with maskvd"):
        points(home, "selector: nothing")
    write_selectors(home / "weights" / "svit-vitdet-ti-global.safetensors", 5)
    monkeypatch.setattr(shipped, "_FOLDERS", (home,))
    by_default, by_name = points(home, "selector: [null, svit-vitdet-ti-global]")
    digest = sha256_of(home / "weights" / "svit-vitdet-ti-global.safetensors")
    assert by_default.setting["own_weights"] == by_name.setting["own_weights"]
    assert by_default.setting["own_weights"] == {"selector": digest}
    assert "selector" not in by_default.label


@pytest.mark.parametrize(
    ("changes", "entry", "text"),
    [
        ({"method": "vpp"}, "", "was made for the method vpp, not svit"),
        ({"arch": "vitdet-b-global"}, "", "was made for the arch vitdet-b-global, not"),
        ({"contains": "detector"}, "", "does not say that it holds what svit brings"),
        ({}, ", blocks: [3, 4]", "does not fit these parameters of svit: 42 unexpected: 10."),
        ({}, ", hidden: 7", "of another shape: 3.mlp_in.weight is 32x128, expected 7x128"),
    ],
)
def test_what_does_not_fit_is_told_as_the_recipe_is_planned(
    changes: dict[str, str], entry: str, text: str, home: Path
) -> None:
    write_selectors(home / "bad" / "bad.safetensors", 1, **changes)
    with pytest.raises(RecipeError) as caught:
        points(home, f"selector: bad/bad.safetensors{entry}")
    assert text in str(caught.value)
    assert "own.yaml:6:" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("absent.safetensors", None, "no such checkpoint"),
        ("damaged.safetensors", b"\0" * 64, "cannot be read as .safetensors"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: bytes | None, text: str, home: Path) -> None:
    if content is not None:
        (home / name).write_bytes(content)
    with pytest.raises(RecipeError, match=text):
        points(home, f"selector: {name}")


def test_other_kinds_of_files_are_words(home: Path) -> None:
    """A .pth is never opened: it is no name that comes with maskvd."""
    torch.save({}, home / "some.pth")
    with pytest.raises(RecipeError, match=r"no selectors of svit called some.pth"):
        points(home, "selector: some.pth")


def test_a_sweep_records_what_blocks_compute_and_how_well_they_choose(
    home: Path, tmp_path: Path
) -> None:
    path = home / "own.yaml"
    path.write_text(RECIPE.format(entry="selector: one/mine.safetensors, bias: 0.05"))
    sweep = prepare(load_recipe(path, catalog(), ()))
    run, earlier = choose_run(sweep, tmp_path, fresh=False)
    outcome = run_sweep(sweep, run, earlier)
    assert not outcome.failed
    dense, svit = (record for record in outcome.ran)
    samples: Any = pd.read_parquet(run.folder / "samples" / f"{svit.key}.parquet")
    blocks = [f"count_block_{number:02d}" for number in range(12)]
    assert samples["tokens"].tolist() == pytest.approx(samples[blocks].mean(axis=1).tolist())
    assert (samples[blocks[:3]] == 32).all(axis=None)
    found = layers_of(samples)
    assert found is not None
    assert len(found.tokens) == 12
    assert svit.metrics is not None
    assert found.tokens.mean() == pytest.approx(svit.metrics.tokens)
    told = [not pd.isna(value) for value in found.selectivity]
    assert told == [False] * 3 + [True] * 9
    assert all(0 <= value <= 1 for value in found.selectivity[3:])
    assert layers_of(run.samples(dense.key)) is None
    # What could be told from every depth stands beside it, by the features of the baseline.
    features = feature_selectivity_of(run.samples(dense.key))
    assert features is not None
    assert len(features) == 12
    assert all(0 <= value <= 1 for value in features)
    assert feature_selectivity_of(samples) is None


def test_noise_by_several_seeds_is_reported_with_its_spread(home: Path, tmp_path: Path) -> None:
    """A list of seeds is a grid as of any parameter; each draws other tokens."""
    path = home / "noisy.yaml"
    path.write_text(
        RECIPE.format(entry="selector: one/mine.safetensors, noise: true, seed: [1, 2, 3]")
    )
    sweep = prepare(load_recipe(path, catalog(), ()))
    run, earlier = choose_run(sweep, tmp_path, fresh=False)
    assert not run_sweep(sweep, run, earlier).failed
    found = {one.quantity: one for one in spreads(read_report(run))}
    assert found["tokens"].seeds == (1, 2, 3)
    assert found["tokens"].low < found["tokens"].mean < found["tokens"].high
    assert found["gmacs"].deviation > 0


def test_selectors_beside_another_model_than_they_were_learnt_with_are_told(home: Path) -> None:
    here = sha256_of(home / "tiny.safetensors")
    write_selectors(home / "own" / "fitting.safetensors", 3, detector=here)
    write_selectors(home / "own" / "strange.safetensors", 4, detector="0123456789ab" + "c" * 52)
    names = "own/fitting.safetensors, own/strange.safetensors, one/mine.safetensors, random"
    path = home / "own.yaml"
    path.write_text(RECIPE.format(entry=f"selector: [{names}]"))
    sweep = prepare(load_recipe(path, catalog(), ()))
    told = [note for note in sweep.notes() if "selectors" in note]
    assert told == [
        "The selectors strange.safetensors of svit were learnt beside the weights with sha256 "
        f"0123456789ab, and run beside others ({here[:12]})."
    ]
    assert told[0] in plan_of(sweep).notes
