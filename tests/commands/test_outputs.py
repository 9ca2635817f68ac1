"""Where commands may write, and what happens when they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.data.synthetic import write_labels

from ..compare import compared_runs


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small set in KITTI's layout that the environment names, and a heatmap beside it."""
    root = tmp_path / "set"
    write_labels(root, 2, 8, 0)
    monkeypatch.setenv("MASKVD_KITTI", str(root))
    monkeypatch.chdir(tmp_path)
    assert run("heatmap", "-o", "heatmap.npz").exit_code == 0
    return root


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_no_command_writes_into_a_known_dataset(dataset: Path) -> None:
    before = contents(dataset)
    for words in (
        ("heatmap", "-o", dataset / "h.npz"),
        ("heatmap", "--root", dataset / "training", "-o", dataset / "h.npz"),
        ("mask", "heatmap.npz", "-o", dataset / "m.npz"),
        ("synth", "-o", dataset / "new"),
        ("synth", "-o", dataset / "training" / "new"),
    ):
        done = run(*words)
        assert done.exit_code == 2
        assert "never writes to" in done.output
    assert contents(dataset) == before


def test_the_folder_above_training_belongs_to_the_dataset(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKVD_KITTI", str(dataset / "training"))
    assert run("mask", "heatmap.npz", "-o", dataset / "m.npz").exit_code == 2


def test_a_pipe_is_not_replaced_by_a_file(dataset: Path, tmp_path: Path) -> None:
    del dataset
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    done = run("mask", "heatmap.npz", "-o", pipe)
    assert done.exit_code == 2
    assert "is no regular file" in done.output
    assert pipe.is_fifo()


def test_a_link_is_written_through(dataset: Path, tmp_path: Path) -> None:
    del dataset
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    target.write_bytes(b"old")
    link.symlink_to(target)
    assert run("mask", "heatmap.npz", "-o", link).exit_code == 2
    assert target.read_bytes() == b"old"
    assert run("mask", "heatmap.npz", "-o", link, "--force").exit_code == 0
    assert link.is_symlink()
    assert target.read_bytes() != b"old"


# Of each command that writes a file, words that end in `-o FILE`, and all that they write.
WRITERS = (
    (("heatmap", "-o", "out.npz"), ("out.npz", "out.png")),
    (("mask", "heatmap.npz", "-o", "out.npz"), ("out.npz", "out.png")),
    (("report", "run", "-o", "out.md"), ("out.md",)),
    (("report", "run", "-o", "out.html"), ("out.html",)),
    (("report", "run", "-o", "out.svg"), ("out.svg",)),
    (("compare", "run", "run", "-o", "out.csv"), ("out.csv",)),
)


@pytest.fixture
def measured(dataset: Path, tmp_path: Path) -> Path:
    """A small measured run in `run`, beside the dataset."""
    del dataset
    compared_runs.write_measured(tmp_path / "run", compared_runs.Spec(seed=1))
    return tmp_path


@pytest.mark.parametrize(("words", "files"), WRITERS, ids=[words[-1] for words, _ in WRITERS])
def test_an_output_that_is_there_is_overwritten_with_force_alone(
    measured: Path, words: tuple[str, ...], files: tuple[str, ...]
) -> None:
    for name in files:
        (measured / name).write_bytes(b"mine")
        done = run(*words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert f"{name}: exists; choose another name, or --force" in done.stderr
        assert [file for file in files if (measured / file).exists()] == [name]
        assert (measured / name).read_bytes() == b"mine"
        assert run(*words, "--force").exit_code == 0
        for file in files:
            assert (measured / file).read_bytes() != b"mine"
            (measured / file).unlink()
    assert run(*words).exit_code == 0


def test_figures_that_are_there_are_overwritten_with_force_alone(measured: Path) -> None:
    words = ("report", "run", "--figures", "drawn")
    assert run(*words).exit_code == 0
    drawn = sorted((measured / "drawn").iterdir())
    assert drawn
    for path in drawn:
        path.unlink()
    # What a run draws, and what it has no data for: either would stand for this run.
    for name in (drawn[-1].name, "heatmap-mask.png"):
        (measured / "drawn" / name).write_bytes(b"mine")
        done = run(*words, "-o", "both.md")
        assert (done.exit_code, done.stdout) == (2, "")
        assert f"drawn/{name}: exists; choose another name, or --force" in done.stderr
        assert [path.name for path in (measured / "drawn").iterdir()] == [name]
        assert (measured / "drawn" / name).read_bytes() == b"mine"
        assert not (measured / "both.md").exists()
        (measured / "drawn" / name).unlink()
    for path in drawn:
        path.write_bytes(b"mine")
    assert run(*words, "--force").exit_code == 0
    assert all(path.read_bytes() != b"mine" for path in drawn)


@pytest.mark.parametrize(
    "words",
    [("film", "-o", "out.mp4"), ("film", "-o", "out"), ("convert", "in.pth", "out.safetensors")],
)
def test_a_long_work_is_refused_before_it_begins(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for suffix in ("mp4", "safetensors"):
        (tmp_path / f"out.{suffix}").write_bytes(b"mine")
    done = run(*words)
    assert done.exit_code == 2
    assert "exists; choose another name, or --force" in done.stderr
    done = run(*words, "--force", *(("--point", "none") if words[0] == "film" else ()))
    assert done.exit_code == 2
    assert "exists" not in done.stderr


def test_every_command_that_writes_a_file_has_force() -> None:
    commands: Any = typer.main.get_command(app)
    writes, folders = set[str](), {"synth", "train"}
    for name, command in commands.commands.items():
        options = {option for one in command.params for option in one.opts}
        if "--output" in options or name == "convert":
            writes.add(name)
            assert ("--force" in options) == (name not in folders), name
    assert writes == {"compare", "convert", "film", "heatmap", "mask", "report", "tune"} | folders


def test_the_current_empty_folder_takes_a_synthetic_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASKVD_KITTI", raising=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    assert run("synth", "-o", ".", "--clips", 1, "--frames", 4).exit_code == 0
    assert (empty / "training" / "label_02" / "0000.txt").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ("heatmap", "--root", "x" * 300),
        ("heatmap", "-o", f"{'x' * 300}.npz"),
        ("report", "x" * 300),
        ("synth", "-o", "x" * 300, "--clips", 1),
    ],
)
def test_names_too_long_for_the_system_are_told_in_one_line(
    dataset: Path, words: tuple[object, ...]
) -> None:
    del dataset
    done = run(*words)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def maskvd(*words: str, stdout: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "maskvd_cli", *words],
        stdout=stdout, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = maskvd("schema", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="/dev/full is not here")
def test_a_full_disk_is_told_in_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = maskvd("schema", stdout=full.fileno())
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write output (No space left on device)")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [("convert", "x" * 300, "out.safetensors"), ("verify", "x" * 300), ("verify", "/dev/null")],
)
def test_paths_that_cannot_be_are_told_in_one_line(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_paths_that_are_no_utf_8_cost_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff\xfe \xe4"
    os.mkdir(folder)
    monkeypatch.chdir(os.fsdecode(folder))
    recipe, results = os.fsdecode(b"\xff.yaml"), os.fsdecode(b"\xffout")
    Path(recipe).write_text(
        "schema: 1\nname: odd\nmethods: [{name: dense}]\n"
        "dataset: {name: imagenet-vid, statistics: {clips: 3, frames: 30}}\n"
    )
    for words in (
        ("sweep", recipe, "--results", results), ("sweep", recipe, "--results", results),
        ("report", results), ("report", results, "--json"), ("watch", results, "--json"),
        ("compare", results, results), ("validate", recipe),
        *(("report", results, "-o", f"x.{kind}") for kind in ("html", "md", "json", "csv", "tex")),
    ):  # fmt: skip
        done = run(*words)
        assert done.exit_code == 0, (words, done.output)
    assert b"\\udcff.yaml" in next(Path(results).rglob("plan.json")).read_bytes()
