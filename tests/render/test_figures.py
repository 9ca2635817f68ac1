"""The papers' kinds of figures, from the files of a small measured run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import defusedxml.ElementTree as ET
import pytest
from matplotlib.lines import Line2D
from PIL import Image
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.errors import ResultError
from maskvd_cli.judge.rows import read_report
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.render.chart.lines import strands_of
from maskvd_cli.render.plots.catalogue import FigureOutcome, write_figures
from maskvd_cli.render.plots.page import column, legend, page_style
from maskvd_cli.store.illustration import HEATMAP, ILLUSTRATION
from maskvd_cli.store.runs import Run
from maskvd_cli.store.sealed import sealed_text
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import choose_run, prepare, run_sweep

from ..work.measured_runs import write_recipe, write_weights

METHODS = """\
methods:
  - {name: maskvd, period: [3, 2], static_keep_rate: 0.3, score_threshold: 0.2608, model: vitdet-ti}
  - {name: eventful, r: [4, 16], model: vitdet-ti}
  - {name: stgt, r: 8, model: vitdet-ti}
  - {name: evit, keep_rate: [0.5, 0.8], model: vitdet-ti-global}
  - {name: maskvd, period: 3, static_keep_rate: 0.1, model: vitdet-ti-global}
  - {name: svit, selector: random, blocks: [3, 6], model: vitdet-ti-global}
  - {name: vpp, selector: random, keep_rate: [0.4, 0.6], model: vitdet-ti-global}
latency: {rounds: 1, frames: 2, warmup: 2}
memory: {frames: 2}
device: cpu
limit: {frames: 4}
"""
EXPECTED = {
    "map50-latency": ("mAP50 (%)", "mean latency per frame (ms)", "maskvd", "eventful", "evit"),
    "map50-gmacs": ("mAP50 (%)", "backbone GMACs per frame", "dense", "maskvd", "svit"),
    "map50-loss": ("change of mAP50", "pruned tokens (share of all)", "maskvd", "vpp", "dense"),
    "heatmap-mask": ("boxes on a pixel", "score of a region", "static keep rate 0.3"),
    "masks": ("(a) static", "(b) dynamic", "(c) combined", "not recomputed"),
    "comparison": ("GMACs per frame", "peak memory (MiB)", "recomputed tokens (share)", "stgt"),
    "evit": ("mAP50 (%)", "recomputed tokens (share of all)", "evit", "maskvd", "vitdet-ti-global"),
    "gates": ("backbone GMACs per frame", "eventful", "stgt", "dense", "r = 16"),
    "learned": ("backbone GMACs per frame", "svit", "vpp", "dense"),
    "layers": (
        "tokens computed (share)",
        "foreground selectivity",
        "block",
        "svit",
        "vpp",
        "dense, vitdet-ti-global: its features",
        "chance",
    ),
    "frame-age": ("frames since the last full frame", "maskvd", "dense", "(all frames)"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("figures")
    path = write_recipe(folder)
    head = path.read_text().partition("methods:")[0]
    line = next(line for line in head.splitlines() if line.startswith("model:"))
    one = line.removeprefix("model: ")
    plain = write_weights(folder / "global.safetensors", name="vitdet-ti-global")
    other = one.replace("vitdet-ti,", "vitdet-ti-global,")
    other = other.replace(str(folder / "tiny.safetensors"), str(plain))
    path.write_text(head.replace(line, f"model:\n  - {one}\n  - {other}") + METHODS)
    sweep = prepare(load_recipe(path, catalog(), ()))
    made, earlier = choose_run(sweep, folder / "results", fresh=False)
    outcome = run_sweep(sweep, made, earlier)
    assert not outcome.failed
    assert not outcome.unmeasured
    return made


@pytest.fixture(scope="module")
def drawn(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    outcomes = write_figures(read_report(run), folder)
    assert [outcome.left_out for outcome in outcomes] == [None] * len(EXPECTED)
    return folder


def by_name(outcomes: list[FigureOutcome]) -> dict[str, FigureOutcome]:
    return {outcome.name: outcome for outcome in outcomes}


def texts(path: Path) -> str:
    root = ET.parse(path).getroot()
    assert root is not None
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return "\n".join(
        "".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_svg_says_what_it_shows_as_text(drawn: Path, name: str) -> None:
    found = texts(drawn / f"{name}.svg")
    for text in (*EXPECTED[name], "measured: kitti train", "SUBSET: first 4 frames of each clip"):
        assert text in found, text


@pytest.mark.parametrize("name", EXPECTED)
def test_png_is_one_column_wide_at_300_dots_an_inch(drawn: Path, name: str) -> None:
    with Image.open(drawn / f"{name}.png") as image:
        assert image.format == "PNG"
        assert image.width == 1050
        assert image.height > 600
        assert image.getextrema() != ((255, 255),) * 4


def test_only_points_of_the_shown_model_are_in_evit_and_gates(drawn: Path) -> None:
    assert "eventful" not in texts(drawn / "evit.svg")
    assert "evit" not in texts(drawn / "gates.svg")
    assert "vitdet-ti-global" not in texts(drawn / "gates.svg")


@pytest.mark.parametrize(("label", "columns"), [("eventful", 2), ("W" * 30, 1)])
def test_no_legend_is_cut_off(label: str, columns: int) -> None:
    figure = column(2.0)
    figure.subplots()
    handles = [Line2D([], [], label=label) for _ in range(6)]
    with page_style():
        legend(figure, handles)
        figure.canvas.draw()
    (drawn,) = figure.legends
    box = drawn.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert len({text.get_window_extent().x0 for text in drawn.get_texts()}) == columns
    assert figure.axes[0].get_window_extent().height > 1.5 * figure.dpi


def test_lines_of_two_models_look_different_in_all_figures(run: Run) -> None:
    report = read_report(run)
    rows, legend = report.rows, report.legend
    looks = [line.look for line in strands_of(rows[rows["method"] == "maskvd"], legend)]
    assert len(looks) == 3
    assert len(set(looks)) == len(looks)
    windowed, plain = (
        {line.look.hollow for line in strands_of(rows, legend) if line.first is first}
        for first in (True, False)
    )
    assert plain == {True}
    assert windowed == {False}


def test_equal_runs_give_equal_bytes(run: Run, drawn: Path, tmp_path: Path) -> None:
    write_figures(read_report(run), tmp_path)
    for path in sorted(drawn.iterdir()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    shutil.copytree(run.folder, tmp_path / "run")
    return Run(tmp_path / "run")


def test_what_a_run_does_not_hold_is_left_out_with_the_reason(copied: Run, tmp_path: Path) -> None:
    (copied.folder / HEATMAP).unlink()
    (copied.folder / ILLUSTRATION).write_bytes(b"broken")
    shutil.rmtree(copied.folder / "measured" / "latency")
    for path in copied.folder.glob("points/e*.json"):
        path.unlink()
    for path in copied.folder.glob("points/stgt*.json"):
        path.unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "masks.svg").write_text("of yesterday")
    found = by_name(write_figures(read_report(copied), tmp_path / "out"))
    reasons = {name: outcome.left_out for name, outcome in found.items() if outcome.left_out}
    assert set(reasons) == {"map50-latency", "heatmap-mask", "masks", "evit", "gates"}
    assert "no point has mAP50 and mean latency" in str(reasons["map50-latency"])
    assert "holds no heatmap.npz" in str(reasons["heatmap-mask"])
    assert "damaged result file" in str(reasons["masks"])
    assert reasons["evit"] == "no evit point with mAP50"
    assert "no eventful or stgt point" in str(reasons["gates"])
    assert found["masks"].stale == (tmp_path / "out" / "masks.svg",)
    written = {path.stem for path in (tmp_path / "out").iterdir()} - {"masks"}
    assert written == {
        "comparison", "frame-age", "layers", "learned", "map50-gmacs", "map50-loss",
    }  # fmt: skip
    assert "latency" not in texts(tmp_path / "out" / "comparison.svg")


def test_a_run_without_any_data_is_an_error(copied: Run, tmp_path: Path) -> None:
    for path in [*copied.folder.glob("points/*"), *copied.folder.glob("*.npz")]:
        path.unlink()
    with pytest.raises(ResultError, match="has data for no figure"):
        write_figures(read_report(copied), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(
        app, ["report", str(copied.folder), "--figures", str(tmp_path / "out")]
    )
    assert done.exit_code == 2
    assert "has data for no figure" in done.stderr


def test_names_with_a_dollar_are_no_formula(copied: Run, tmp_path: Path) -> None:
    plan = json.loads((copied.folder / "plan.json").read_text())
    (copied.folder / "plan.json").write_bytes(sealed_text({**plan, "recipe": "a_$^{_<b>$"}))
    write_figures(read_report(copied), tmp_path / "out")
    assert "a_$^{_<b>$" in texts(tmp_path / "out" / "gates.svg")


def test_the_command_tells_what_it_wrote_and_prints_no_table(copied: Run, tmp_path: Path) -> None:
    (copied.folder / HEATMAP).unlink()
    arguments = ["report", str(copied.folder), "--figures", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert not done.stdout
    assert "gates drawn to gates.svg, gates.png" in done.stderr
    assert "heatmap-mask left out: the run holds no heatmap.npz" in done.stderr
    table = CliRunner().invoke(app, [*arguments, "--force", "--format", "csv"])
    assert table.stdout.startswith("method,")


def test_datasets_are_never_written_to(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKVD_KITTI", str(tmp_path))
    done = CliRunner().invoke(app, ["report", str(run.folder), "--figures", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "never writes to" in done.stderr
    assert not list(tmp_path.iterdir())
