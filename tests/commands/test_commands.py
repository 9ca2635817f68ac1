"""The commands as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import maskvd_cli
from maskvd_cli.app import app
from maskvd_cli.data.synthetic import write_labels
from maskvd_cli.methods.registry import methods

COMMANDS = ("heatmap", "mask", "sweep", "report", "schema", "synth")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "kitti"
    write_labels(folder, clips=3, frames=20, seed=1)
    return folder


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MASKVD_KITTI", raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_version_and_help() -> None:
    assert run("--version").stdout == f"maskvd {maskvd_cli.__version__}\n"
    for command in COMMANDS:
        assert command in run("--help").stdout
        assert "Example" in run(command, "--help").stdout


def test_heatmap_writes_array_metadata_and_picture(labels: Path) -> None:
    before = listing(labels)
    done = run("heatmap", "--root", labels, "--split", "train-half", "--canvas", "384x1280")
    assert done.exit_code == 0, done.output
    with np.load("heatmap.npz", allow_pickle=False) as file:
        heatmap, metadata = file["heatmap"], json.loads(str(file["metadata"]))
    assert heatmap.shape == (384, 1280)
    assert heatmap.dtype == np.float64
    assert f"{int(heatmap.sum()):,}" in done.stdout
    assert metadata["dataset"] == "kitti"
    assert metadata["split"] == "train-half"
    assert metadata["classes"] == "all"
    assert metadata["frames"] == 30
    assert metadata["canvas"] == "384x1280"
    assert metadata["tool_version"] == maskvd_cli.__version__
    assert metadata["boxes"] > 0
    with Image.open("heatmap.png") as picture:
        assert picture.width > 800
    assert listing(labels) == before


def test_the_kitti_heatmap_of_the_paper(kitti_root: Path) -> None:
    done = run(
        "heatmap", "--dataset", "kitti", "--root", kitti_root, "--split", "train-half",
        "--classes", "all", "--canvas", "384x1280", "-o", "h.npz",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    with np.load("h.npz", allow_pickle=False) as file:
        assert (file["heatmap"].sum(), file["heatmap"].max()) == (300_769_680, 3659)
    assert "300,769,680" in done.stdout
    assert "3659" in done.stdout


def test_mask_keeps_int_keep_rate_times_n_tokens(labels: Path) -> None:
    assert run("heatmap", "--root", labels).exit_code == 0
    done = run(
        "mask", "heatmap.npz", "--keep-rate", 0.3, "--frame", "370x672", "--input", "672x672",
        "-o", "mask.npz",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    with np.load("mask.npz", allow_pickle=False) as file:
        mask, scores, indices = file["mask"], file["scores"], file["indices"]
        metadata = json.loads(str(file["metadata"]))
    assert mask.shape == scores.shape == (42, 42)
    assert mask.sum() == metadata["tokens"] == 529
    assert indices.tolist() == np.flatnonzero(mask).tolist()
    assert scores[mask].min() >= scores[~mask].max()
    assert metadata["heatmap"]["dataset"] == "kitti"
    assert Path("mask.png").is_file()
    assert "529" in done.stdout


def test_mask_of_a_heatmap_on_the_input_needs_the_same_input(labels: Path) -> None:
    assert run("heatmap", "--root", labels, "--canvas", "input").exit_code == 0
    assert run("mask", "heatmap.npz").exit_code == 0
    refused = run("mask", "heatmap.npz", "--input", "320x320", "--frame", "160x320", "--force")
    assert refused.exit_code == 2
    assert "use --input 672x672" in refused.stderr


def test_mask_of_a_heatmap_on_the_input_knows_its_frame(labels: Path) -> None:
    run("heatmap", "--root", labels, "--canvas", "input")
    done = run("mask", "heatmap.npz", "--keep-rate", 0.3)
    assert "of 1008 (frame 370x672)" in done.stdout
    assert done.stdout.split("in padding")[1].split()[0] == "0"


def test_a_heatmap_on_the_input_takes_another_frame(labels: Path) -> None:
    done = run(
        "heatmap", "--root", labels, "--canvas", "input", "--input", "192x640", "--frame", "192x640"
    )
    assert done.exit_code == 0, done.output
    with np.load("heatmap.npz", allow_pickle=False) as file:
        assert file["heatmap"].shape == (192, 640)
        assert json.loads(str(file["metadata"]))["frame"] == "192x640"


def test_a_heatmap_of_the_first_clips_says_so(labels: Path) -> None:
    whole = json.loads(run("heatmap", "--root", labels, "--json").stdout)
    part = json.loads(run("heatmap", "--root", labels, "--json", "--clips", 1, "--force").stdout)
    assert "subset" not in whole
    assert (part["subset"], part["clips"]) == ("first 1 clip", 1)
    assert part["boxes"] < whole["boxes"]
    set_to = ["--set", "methods.maskvd.period=8", "--set", "methods.maskvd.static_keep_rate=0.3"]
    sweep = ["sweep", "--dataset", "kitti", "--root", labels, *set_to]
    keys: list[str] = []
    for more in ([], ["--set", "heatmap.clips=1"]):
        keys += [row["key"] for row in json.loads(run(*sweep, *more, "--json").stdout)["rows"]]
    assert len(set(keys)) > len(keys) // 2
    report = run("report").stdout
    origin = "Heatmap from training/label_02 (kitti, split train-half): {}, {} frames, all boxes."
    assert origin.format("the first 1 clip", part["frames"]) in " ".join(report.split())
    assert "are evaluated, so static masks" not in report


@pytest.mark.parametrize("key", ["image_size", "frame"])
def test_mask_of_a_heatmap_with_odd_metadata(key: str) -> None:
    metadata = {"coordinates": "input" if key == "frame" else "native", key: "foo"}
    np.savez("odd.npz", heatmap=np.ones((672, 672)), metadata=json.dumps(metadata))
    done = run("mask", "odd.npz", "--align", "image")
    assert done.exit_code == 2
    assert f"odd.npz: metadata has no usable {key}; make the heatmap again" in done.stderr


def test_alignment_by_image_moves_the_mask(labels: Path) -> None:
    run("heatmap", "--root", labels)
    run("mask", "heatmap.npz", "-o", "canvas.npz")
    run("mask", "heatmap.npz", "--align", "image", "-o", "image.npz")
    masks = [np.load(name, allow_pickle=False)["mask"] for name in ("canvas.npz", "image.npz")]
    assert (masks[0] != masks[1]).any()


def test_a_sweep_without_words_is_the_demo() -> None:
    done = run("sweep", "--set", "nonsense=1")
    assert done.exit_code == 2
    assert "this is the demo" in done.stderr
    assert "nonsense: unknown key" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["heatmap"], "name it with --root DIR (in a recipe: dataset.root), or set the"),
        (["heatmap", "--root", "nowhere"], "nowhere: no such folder"),
        (["heatmap", "--dataset", "kity"], "did you mean 'kitti'"),
        (["heatmap", "--root", "LABELS", "--split", "vall-half"], "did you mean 'val-half'"),
        (["heatmap", "--root", "LABELS", "--classes", "Cars"], "did you mean 'Car'"),
        (["heatmap", "--root", "LABELS", "--classes", "Tram"], "no box of classes 'Tram'"),
        (["heatmap", "--root", "LABELS", "--canvas", "384"], "rows x columns"),
        (["heatmap", "--root", "LABELS", "--accumulate", "max"], "choose sum or union"),
        (
            [
                "heatmap",
                "--root",
                "LABELS",
                "--canvas",
                "input",
                "--input",
                "320x320",
                "--frame",
                "370x672",
            ],
            "frame 370x672 does not fit into input 320x320",
        ),
        (["heatmap", "--root", "nowhere", "-o", "h.png"], "name it with .npz"),
        (["heatmap", "--root", "LABELS", "-o", "LABELS/h.npz"], "never writes to"),
        (["heatmap", "--root", "LABELS", "-o", "h.png"], "name it with .npz"),
        (["mask", "absent.npz"], "absent.npz: no such heatmap file"),
        (["mask", "absent.npz", "--frame", "1"], "rows x columns"),
        (["sweep", "kitti-tabel1"], "did you mean 'kitti-table1'"),
        (["sweep", "--dataset", "kitti"], "or set the environment variable MASKVD_KITTI"),
        (["sweep", "--dataset", "kity"], "did you mean 'kitti'"),
        (["sweep", "demo", "--set", "methods.maskvd.perio=3"], "did you mean 'period'"),
        (["report"], "results: no such folder"),
        (["report", ".", "--format", "pdf"], "choose console, markdown, csv, json, latex"),
        (["synth", "-o", "LABELS"], "LABELS"),
    ],
)
def test_bad_input_is_told_in_a_line_with_exit_code_2(
    arguments: list[str], told: str, labels: Path
) -> None:
    done = run(*(text.replace("LABELS", str(labels)) for text in arguments))
    assert done.exit_code == 2, done.output
    assert told.replace("LABELS", str(labels)) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_sweep_then_report_in_every_format(labels: Path) -> None:
    done = run("sweep", "--dataset", "kitti", "--root", labels)
    assert done.exit_code == 0, done.output
    assert "19 points run" in done.stderr
    assert "maskvd report" in done.stderr
    assert "model.weights is not given" in done.stderr
    (folder,) = Path("results/kitti-table1").iterdir()
    table = run("report", "--format", "csv", "-o", "-")
    assert table.exit_code == 0
    found = rows(table.stdout)
    assert [row["method"] for row in found] == ["dense"] + ["maskvd"] * 18
    assert {row["version"] for row in found[1:]} == {"C", "T", "H"}
    assert {row["backbone"] for row in found} == {"windowed"}
    assert table.stderr == ""
    for name, start in (
        ("t.md", "# kitti-table1"),
        ("t.csv", "method,version"),
        ("t.json", "{"),
        ("t.tex", "% recipe"),
    ):
        assert run("report", folder, "-o", name).exit_code == 0
        assert Path(name).read_text().startswith(start)
    assert run("report", "results").stdout == run("report", folder).stdout


def test_a_table_is_of_its_model_and_others_get_the_grid(labels: Path) -> None:
    ours = "model.name=rfdetr-nano"
    done = run("sweep", "--dataset", "kitti", "--root", labels, "--set", ours, "--json")
    assert done.exit_code == 0, done.output
    assert "12 points run" in done.stderr
    assert "keep their aspect" not in done.stderr
    assert {path.name for path in Path("results").iterdir()} == {"kitti-grid"}
    found = json.loads(done.stdout)
    assert found["facts"]["model"] == (
        "rfdetr-nano (windowed), input 384x384, frame 384x384 (rows x columns)"
    )
    # The same model as the table's, named again, leaves the table.
    same = run("sweep", "--dataset", "kitti", "--root", labels, "--set", "model.name=vitdet-b",
               "--dry-run")  # fmt: skip
    assert "19 points" in same.stderr


def test_a_second_sweep_says_that_there_is_nothing_to_do(labels: Path) -> None:
    run("sweep", "--dataset", "kitti", "--root", labels, "--quiet")
    before = listing(Path("results"))
    again = run("sweep", "--dataset", "kitti", "--root", labels)
    assert again.exit_code == 0
    assert "nothing to run: all 19 points of this recipe are in results/" in again.stderr
    after = listing(Path("results"))
    assert {key: after[key] for key in before if ".lock" not in key} == {
        key: before[key] for key in before if ".lock" not in key
    }


def test_the_environment_variable_names_the_dataset(
    labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKVD_KITTI", str(labels))
    assert run("sweep", "maskvd-grid", "--dry-run").stdout.count("\n") == 12


def test_dry_run_lists_points_and_writes_nothing(labels: Path) -> None:
    with_data = run("sweep", "kitti-table1", "--root", labels, "--dry-run")
    assert with_data.exit_code == 0
    assert len(with_data.stdout.splitlines()) == 19
    without = run("sweep", "kitti-table1", "--dry-run")
    assert without.exit_code == 0
    assert len(without.stdout.splitlines()) == 19
    assert "the sweep itself cannot start yet" in without.stderr
    assert os.listdir() == []


def test_set_changes_the_grid(labels: Path) -> None:
    done = run(
        "sweep", "kitti-table1", "--set", f"dataset.root={labels}", "--results", "OUT",
        "--set", "methods.maskvd.period=[4]", "--set", "methods.maskvd.version=C", "--quiet",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = rows(run("report", "OUT", "--format", "csv").stdout)
    assert [(row["period"], row["static_keep_rate"]) for row in found] == [
        ("", ""), ("4", "0.5"), ("4", "0.3"), ("4", "0.1"),
    ]  # fmt: skip


def test_any_dataset_gets_a_grid_without_a_recipe(tmp_path: Path) -> None:
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": 1280, "height": 720, "video_id": 1,
         "frame_id": i}
        for i in range(20)
    ]  # fmt: skip
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [10 * i, 100, 200, 150]}
        for i in range(20)
    ]
    content = {
        "images": images, "annotations": boxes, "categories": [{"id": 1, "name": "thing"}],
    }  # fmt: skip
    root = tmp_path / "data"
    root.mkdir()
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps(content))
    done = run("sweep", "--dataset", "coco-video", "--root", root)
    assert done.exit_code == 0, done.output
    assert "12 points run" in done.stderr


def test_failed_points_give_exit_code_3_and_a_reason(labels: Path) -> None:
    from maskvd_cli.methods.maskvd import MaskVD

    def broken(cls: object, *arguments: object) -> None:
        raise ZeroDivisionError("broken on purpose")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskVD, "planned_state_bytes", classmethod(broken))
        done = run("sweep", "kitti-table2-masks", "--root", labels)
    assert done.exit_code == 3
    assert "3 of 3 points failed" in done.stderr
    assert "broken on purpose" in done.stdout
    again = run("sweep", "kitti-table2-masks", "--root", labels)
    assert again.exit_code == 3
    assert "nothing to run" in again.stderr
    assert "--retry-failed runs them again" in again.stderr
    assert run("sweep", "kitti-table2-masks", "--root", labels, "--retry-failed").exit_code == 0


def test_damaged_results_give_exit_code_3_and_are_named(labels: Path) -> None:
    run("sweep", "kitti-table2-masks", "--root", labels, "--quiet")
    damaged = sorted(Path("results").glob("*/*/points/*.json"))[0]
    damaged.write_text("{}")
    done = run("report")
    assert done.exit_code == 3
    assert f"warning: {damaged}: damaged result file" in done.stderr


def test_schema_is_json_with_every_method() -> None:
    schema = json.loads(run("schema").stdout)
    names = [
        entry["properties"]["name"]["const"]
        for entry in schema["properties"]["methods"]["items"]["anyOf"]
    ]
    assert names == [*methods.names(), *methods.pairs()]
    assert {"dense", "maskvd", "eventful"} <= set(names)


def test_synth_makes_a_set_that_can_be_swept() -> None:
    assert run("synth", "-o", "made", "--clips", 2, "--frames", 12, "--seed", 3).exit_code == 0
    done = run("sweep", "demo-labels", "--root", "made", "--quiet")
    assert done.exit_code == 0, done.output
    assert len(rows(run("report", "--format", "csv").stdout)) == 7


def test_the_real_table_1_in_the_report(kitti_root: Path) -> None:
    done = run("sweep", "--dataset", "kitti", "--root", kitti_root, "--quiet")
    assert done.exit_code == 0, done.output
    found = [row for row in rows(run("report", "--format", "csv").stdout) if row["version"] == "C"]
    assert len(found) == 6
    for row in found:
        assert abs(float(row["tokens_deviation_percent"])) < 3
        assert abs(float(row["gmacs_deviation_percent"])) < 2.5
        assert float(row["state_mb"]) == pytest.approx(200.503296)


def test_the_real_non_windowed_rows_at_the_papers_tokens(kitti_root: Path) -> None:
    done = run("sweep", "kitti-table1-nonwindowed", "--root", kitti_root, "--quiet")
    assert done.exit_code == 0, done.output
    found = rows(run("report", "--format", "csv").stdout)
    assert len(found) == 5
    for row in found:
        assert row["version"] == ""
        assert row["backbone"] == "non-windowed"
        at_papers_tokens, paper = float(row["gmacs_at_paper_tokens"]), float(row["paper_gmacs"])
        assert abs(at_papers_tokens - paper) < 0.01
