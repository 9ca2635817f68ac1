"""One installed plug-in of each kind runs through sweep, report, compare and ls."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import HERE, Command

RECIPE = """\
schema: 1
name: plugged
dataset: {name: dots}
model: {name: MODEL, input: 32x48, weights: WEIGHTS}
methods:
  - name: dense
  - name: alternate
metrics: METRICS
latency: {rounds: 2, frames: 4, warmup: 2}
detections: DETECTIONS
device: cpu
"""
PLUGINS = sorted(
    path for path in HERE.glob("*.py") if not path.stem.startswith(("conftest", "test_"))
)


def write(folder: Path, **values: str) -> Path:
    text = RECIPE
    for name, value in values.items():
        text = text.replace(name, value)
    (folder / "plugged.yaml").write_text(text)
    return folder / "plugged.yaml"


def rows_of(maskvd: Command, run: Path) -> dict[str, dict[str, str]]:
    table = maskvd("report", run, "--format", "csv").stdout
    return {row["method"]: row for row in csv.DictReader(io.StringIO(table))}


def sweep(maskvd: Command, recipe: Path, results: Path, *more: str) -> Path:
    maskvd("sweep", recipe, "--results", results, "-q", *more)
    (run,) = (results / "plugged").iterdir()
    return run


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_a_plug_in_is_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 80


def test_ls_lists_every_kind(maskvd: Command) -> None:
    for kind, name in (
        ("datasets", "dots"), ("models", "tinyconv"), ("methods", "alternate"),
        ("tasks", "frame-label"), ("metrics", "parameters"), ("executors", "backwards"),
        ("families", "brightness"),
    ):  # fmt: skip
        assert name in maskvd("ls", kind).stdout


@pytest.fixture(scope="module")
def measured(maskvd: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the plug-in family, dataset, method and metric, by the plug-in executor."""
    folder = tmp_path_factory.mktemp("measured")
    recipe = write(
        folder, MODEL="tinyconv", WEIGHTS="random", METRICS="[latency, parameters]",
        DETECTIONS="labels",
    )  # fmt: skip
    return sweep(maskvd, recipe, folder / "results", "--executor", "backwards")


def test_the_method_that_skips_costs_half(maskvd: Command, measured: Path) -> None:
    rows = rows_of(maskvd, measured)
    dense, skipping = rows["dense"], rows["alternate"]
    assert dense["status"] == skipping["status"] == "ok"
    assert float(skipping["tokens"]) == float(dense["tokens"]) / 2 == 12
    # 4 x 4 x 3 x 3 products in each of 24 cells, counted from the executed operations.
    assert float(dense["gmacs"]) == pytest.approx(144 * 24 / 1e9)
    assert float(skipping["gmacs"]) == pytest.approx(float(dense["gmacs"]) / 2)
    assert float(skipping["speedup"]) > 0


def test_the_metric_has_a_column_everywhere(maskvd: Command, measured: Path) -> None:
    # Stem 3 x 4 x 64 + 4, backbone 4 x 4 x 9 + 4, head 4 x 2 + 2.
    expected = (3 * 4 * 64 + 4 + 4 * 4 * 9 + 4 + 4 * 2 + 2) / 1e3
    assert float(rows_of(maskvd, measured)["dense"]["parameters_k"]) == expected
    for form in ("markdown", "latex"):
        assert "parameters k" in maskvd("report", measured, "--format", form).stdout
    told = maskvd("report", measured).stdout
    assert "parameters k" in told
    assert f"{expected:.2f}" in told


def test_roles_and_styles_come_from_the_method(measured: Path) -> None:
    plan: dict[str, Any] = json.loads((measured / "plan.json").read_text("utf-8"))
    assert plan["methods"]["alternate"]["role"] == "control"
    assert plan["methods"]["alternate"]["colour"] == "#117733"
    assert plan["methods"]["dense"]["role"] == "baseline"


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_the_executor_changes_no_count(
    executor: str, maskvd: Command, measured: Path, tmp_path: Path
) -> None:
    recipe = write(
        tmp_path, MODEL="tinyconv", WEIGHTS="random", METRICS="[latency, parameters]",
        DETECTIONS="labels",
    )  # fmt: skip
    other = sweep(maskvd, recipe, tmp_path / "results", "--executor", executor)
    told = maskvd("compare", measured, other, "--json").stdout
    assert '"tokens"' in told
    ours, theirs = rows_of(maskvd, measured), rows_of(maskvd, other)
    for name in ("tokens", "gmacs", "gmacs_detector", "parameters_k", "key"):
        assert [row[name] for row in ours.values()] == [row[name] for row in theirs.values()]


def brightness(folder: Path) -> Path:
    """Return a recipe of the plug-in task; the model's weights lie beside it."""
    import sys

    from safetensors.torch import save_file

    sys.path.insert(0, str(HERE))
    try:
        from brightness import BrightnessFamily
        from tinyconv import ConvArch, ConvShape

        from maskvd_cli.core.size import Size

        arch = ConvArch("brightness")
        model = BrightnessFamily.build(arch, ConvShape(2), Size(32, 48), seed=0)
        save_file(model.state_dict(), folder / "brightness.safetensors")
    finally:
        sys.path.remove(str(HERE))
    return write(
        folder, MODEL="brightness", WEIGHTS="brightness.safetensors", METRICS="[accuracy]",
        DETECTIONS="auto",
    )  # fmt: skip


def test_another_task_has_its_own_headline(maskvd: Command, tmp_path: Path) -> None:
    run = sweep(maskvd, brightness(tmp_path), tmp_path / "results")
    rows = rows_of(maskvd, run)
    assert float(rows["dense"]["top1"]) == float(rows["alternate"]["top1"]) == 100.0
    assert float(rows["alternate"]["top1_change"]) == 0.0
    told = maskvd("report", run).stdout
    assert "top-1" in told
    assert "mAP" not in told
    again = maskvd("score", run).stdout
    assert "100.0" in again


def test_another_task_can_be_tuned(maskvd: Command, tmp_path: Path) -> None:
    """Each clip has one class, so that the rarest frames lose nothing and cost least."""
    recipe = brightness(tmp_path)
    words = ("tune", recipe, "--method", "alternate", "--results", tmp_path / "results", "--json")
    done = maskvd(*words, "--objective", "gmacs", "--trials", "5")
    found = json.loads(done.stdout)
    assert found["headline"]["name"] == "top1"
    assert found["ended"] == "all 3 points of the space were tried"
    assert found["baseline"]["label"] == "dense input=32x48"
    assert found["chosen"]["params"] == {"every": 6}
    assert found["chosen"]["gmacs"] == pytest.approx(found["baseline"]["gmacs"] / 6)
    assert (found["chosen"]["quality"], found["chosen"]["change"]["value"]) == (100.0, 0.0)
    assert found["in_the_mean_only"] is False
    assert "The limit holds with the whole 95 % interval: top-1 +0.0" in " ".join(found["verdict"])
    assert "trial 3/5: alternate" in done.stderr and ": top-1 100.0 (+0.0" in done.stderr
    assert Path(found["picture"]).is_file()
    assert "mAP" not in done.stdout + done.stderr
    # What a plug-in metric yields can be made small, too.
    other = json.loads(maskvd(*words, "--objective", "parameters_k", "--trials", "1").stdout)
    assert other["chosen"]["cost"]["value"] == other["baseline"]["cost"]["value"] > 0
    assert "parameters k" in other["verdict"][0]
