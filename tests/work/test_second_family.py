"""A sweep of a family and a method that maskvd knows nothing of but what they say themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maskvd_cli.core.errors import RecipeError
from maskvd_cli.families.registry import families
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe.load import LoadedRecipe, load_recipe
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import choose_run, prepare, run_sweep

from .measured_runs import write_kitti

RECIPE = """\
schema: 1
name: second
dataset: {{name: kitti, root: {root}, split: train}}
model: {{name: conv-4, input: 64x128, frame: 48x128, weights: random}}
methods:
  - name: skip
    every: [2, 3]
metrics: [latency]
latency: {{rounds: 2, frames: 4, warmup: 2}}
device: cpu
"""
FAMILY = "tests.families.second_family"
# Of 128 cells and 4 channels, in 1e9: two 3 x 3 convolutions; 8 x 8 stem and head of 3 classes.
BACKBONE, AROUND = 36864e-9, 99840e-9


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for registry in (families, methods):
        registry.names()
        monkeypatch.setattr(registry, "_targets", dict(registry._targets))
    families.register("conv", f"{FAMILY}:ConvFamily")
    methods.register("skip", f"{FAMILY}:Skip")
    yield


def loaded(tmp_path: Path, *assignments: str) -> LoadedRecipe:
    root = tmp_path / "kitti"
    if not root.is_dir():
        write_kitti(root, clips=1, frames=4)
    recipe = tmp_path / "second.yaml"
    recipe.write_text(RECIPE.format(root=root))
    return load_recipe(recipe, catalog(), assignments)


def test_it_is_swept_counted_and_measured(second: None, tmp_path: Path) -> None:
    sweep = prepare(loaded(tmp_path))
    run, _ = choose_run(sweep, tmp_path / "results", fresh=False)
    done = run_sweep(sweep, run)
    assert [record.failure for record in done.ran] == [None] * 3
    assert [record.label for record in done.ran] == [
        "dense input=64x128", "skip input=64x128", "skip every=3 input=64x128",
    ]  # fmt: skip
    metrics = [record.metrics for record in done.ran]
    # Four frames, of which the skipping method runs two: 0 and 2, 0 and 3.
    shares = (1.0, 0.5, 0.5)
    for found, share in zip(metrics, shares, strict=True):
        assert found is not None
        assert found.gmacs == pytest.approx(share * BACKBONE)
        assert found.gmacs_detector == pytest.approx(share * (BACKBONE + AROUND))
        assert found.full_frame_share == found.keep_rate == share
        assert found.gmacs_published is None
    assert [record.status for record in done.measured] == ["ok"] * 3


def test_without_a_model_it_is_refused_as_it_is_planned(second: None, tmp_path: Path) -> None:
    reason = "skip has no closed form of its cost on conv-4, so it must run to be counted; give a"
    with pytest.raises(RecipeError, match=reason):
        prepare(loaded(tmp_path, "model.weights=null", "metrics=null"))


def test_a_method_for_tokens_is_refused_with_the_models_that_fit(
    second: None, tmp_path: Path
) -> None:
    with pytest.raises(
        RecipeError,
        match="maskvd needs tokens, which conv-4 has not; use lwdetr-tiny or lwdetr-small or "
        r"lwdetr-medium or one of \d+ more ones$",
    ):
        prepare(loaded(tmp_path, "methods=[{name: maskvd}]"))
