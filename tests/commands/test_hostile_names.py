"""Whatever names files hold, each command shows them as text and writes where it was told to."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.core.shown import markdown_code, shown
from maskvd_cli.film.lettering import lettered, shortened, wrapped
from maskvd_cli.render.safe_console import SafeConsole
from maskvd_cli.store.runs import Run
from maskvd_cli.store.sealed import sealed_text
from maskvd_cli.watch.progress import Follower
from maskvd_cli.watch.text import live_table

from ..compare import compared_runs as made
from . import hostile
from .hostile import NASTY, NASTY_FILE

LABELS = ("dense", "maskvd period=8", "maskvd period=16")
# What result files say in words, with other words for it.
WORDS = (
    "maskvd", *LABELS[1:], "compared", "synthetic", "val", "kitti-ignore", "vitdet-ti", "windowed",
    "Car", "A CPU", "maskvd sweep", "so", "r.yaml", "[it] broke", "a note", "c0", "c1",
)  # fmt: skip
NAMES = {word: f"{NASTY}{number}" for number, word in enumerate(WORDS)}


def run(*words: object) -> Result:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    hostile.check_terminal(done.stderr)
    return done


def write(folder: Path, seed: int, names: dict[str, str]) -> Path:
    """Write a measured run, one of whose points failed, under these names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "CLIPS", 2)
        patch.setattr(made, "FRAMES", 2)
        spec = made.Spec(seed=seed)
        spec.times["maskvd period=32"] = (1.0, 1.0)
        spec.failing = ("maskvd period=32",)
        made.write_measured(folder, spec)
    for path in sorted(folder.rglob("*.json")):
        hostile.rename_in(path, names)
    truth = folder / "truth.json.gz"
    content = json.loads(gzip.decompress(truth.read_bytes()))
    truth.write_bytes(gzip.compress(sealed_text(hostile.renamed(content, names))))
    plan = json.loads((folder / "plan.json").read_text("utf-8"))
    plan |= {"notes": [names.get("a note", "a note")], "description": names.get("so", "so")}
    (folder / "plan.json").write_bytes(sealed_text(plan))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `nasty` and `other` with hostile names, in a folder with one, and `plain` without."""
    root = tmp_path_factory.mktemp("hostile") / NASTY_FILE
    root.mkdir()
    write(root / "nasty", 1, NAMES)
    write(root / "other", 2, NAMES)
    write(root / "plain", 1, {})
    return root


def listing(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root.parent)) for path in root.parent.rglob("*"))


CONSOLE: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "report": lambda root: ("report", root / "nasty"),
    "score": lambda root: ("score", root / "nasty", "--classes", "--ages"),
    "compare": lambda root: ("compare", root / "nasty", root / "other", "--all"),
    "fail-on": lambda root: ("compare", root / "nasty", root / "other", "--fail-on", "latency:0%"),
    "watch": lambda root: ("watch", root / "nasty"),
    "failures": lambda root: ("watch", root / "other"),
}


@pytest.mark.parametrize("name", CONSOLE)
def test_consoles_show_names_as_text(name: str, runs: Path) -> None:
    before = listing(runs)
    done = run(*CONSOLE[name](runs))
    assert done.exit_code in (0, 3, 4), done.output
    hostile.check_terminal(done.stdout)
    assert "[red]x[/red]" in "".join(done.output.split())
    assert r"\x1b]52;c;aGk=\x07\x9b2J\u202e" in "".join(done.output.split())
    assert listing(runs) == before


@pytest.mark.parametrize("width", [60, 200])
def test_a_live_table_shows_names_as_text(width: int, runs: Path) -> None:
    text = io.StringIO()
    console = SafeConsole(file=text, width=width, height=40, force_terminal=True, no_color=True)
    console.print(live_table(Follower(Run(runs / "nasty")).look(), console))
    plain = re.sub("\x1b\\[[0-9;]*m", "", text.getvalue())
    hostile.check_terminal(plain)
    assert "[red]" in plain
    assert max(map(len, plain.splitlines())) <= width


@pytest.mark.parametrize("suffix", ["md", "csv", "tex", "html", "json", "svg"])
def test_reports_in_files(suffix: str, runs: Path, tmp_path: Path) -> None:
    before, target = listing(runs), tmp_path / f"out.{suffix}"
    done = run("report", runs / "nasty", "-o", target)
    assert done.exit_code == 0, done.output
    text = target.read_text("utf-8")
    if suffix == "html":
        plain = run("report", runs / "plain", "-o", tmp_path / "plain.html")
        assert plain.exit_code == 0
        hostile.check_html(text, (tmp_path / "plain.html").read_text("utf-8"))
    elif suffix == "json":
        assert json.loads(text)["recipe"] == NAMES["compared"]
    elif suffix == "svg":
        # Letters are outlines there.
        assert list(hostile.texts_of(target))
    else:
        {"md": hostile.check_markdown, "csv": hostile.check_csv, "tex": hostile.check_latex}[
            suffix
        ](text)
    assert listing(runs) == before
    assert {path.name for path in tmp_path.iterdir()} <= {target.name, "plain.html"}


@pytest.mark.parametrize("suffix", ["md", "csv", "json"])
def test_comparisons_in_files(suffix: str, runs: Path, tmp_path: Path) -> None:
    target = tmp_path / f"out.{suffix}"
    done = run("compare", runs / "nasty", runs / "other", "-o", target)
    assert done.exit_code == 0, done.output
    text = target.read_text("utf-8")
    if suffix == "json":
        assert {row["label"] for row in json.loads(text)["rows"]} > {NAMES[LABELS[1]]}
    else:
        {"md": hostile.check_markdown, "csv": hostile.check_csv}[suffix](text)


@pytest.mark.parametrize(
    "words", [("report",), ("score",), ("report", "--format", "csv"), ("watch", "--json")]
)
def test_what_programs_read_is_one_json_or_csv(words: tuple[str, ...], runs: Path) -> None:
    command, *options = words
    done = run(command, runs / "nasty", *(options or ["--json"]))
    assert done.exit_code == (3 if command == "watch" else 0), done.output
    if "csv" in options:
        hostile.check_csv(done.stdout)
        return
    parts = done.stdout.splitlines() if command == "watch" else [done.stdout]
    texts = [json.dumps(json.loads(part)) for part in parts]
    name = NAMES["compared" if command == "watch" else LABELS[1]]
    assert any(json.dumps(name)[1:-1] in text for text in texts)
    assert done.stdout.isascii()


def test_figures(runs: Path, tmp_path: Path) -> None:
    done = run("report", runs / "nasty", "--figures", tmp_path / "figures")
    assert done.exit_code == 0, done.output
    drawn = sorted((tmp_path / "figures").glob("*.svg"))
    assert drawn
    texts = [text for path in drawn for text in hostile.texts_of(path)]
    assert any("[red]x[/red]" in text for text in texts)
    assert {path.name for path in tmp_path.iterdir()} == {"figures"}


def coco(root: Path, *, images: bool = False) -> Path:
    """Write a small video set whose videos, images and classes have hostile names."""
    entries = [
        {"id": 2 * video + frame + 1, "file_name": f"{NASTY}{video}{frame}.png", "width": 64,
         "height": 32, "video_id": video, "frame_id": frame}
        for video in (0, 1) for frame in (0, 1)
    ]  # fmt: skip
    boxes = [
        {"id": entry["id"], "image_id": entry["id"], "category_id": 1, "bbox": [4, 4, 20, 20]}
        for entry in entries
    ]
    content = {
        "images": entries, "annotations": boxes, "categories": [{"id": 1, "name": NASTY}],
        "videos": [{"id": video, "name": f"{NASTY}{video}"} for video in (0, 1)],
    }  # fmt: skip
    root.mkdir()
    for split in ("train", "val"):
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


RECIPE = {
    "schema": 1, "name": "small", "description": NASTY,
    "dataset": {"name": "coco-video", "root": "set"},
    "model": {"name": "vitdet-ti", "input": "64x128", "frame": "fit"},
    "methods": [{"name": "dense"}, {"name": "maskvd", "period": 2, "static_keep_rate": 0.5}],
}  # fmt: skip
SETS = ("--dataset", "coco-video", "--root", "set")


def word(name: str) -> Callable[[Path], tuple[object, ...]]:
    """Return a command over a recipe that changes one value to a hostile text."""
    return lambda folder: ("validate", folder / "r.yaml", "--set", f"{name}={json.dumps(NASTY)}")


READING: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "sweep": lambda folder: ("sweep", folder / "r.yaml", "--results", folder / NASTY_FILE),
    "dry run": lambda folder: ("sweep", folder / "r.yaml", "--dry-run"),
    "validate": lambda folder: ("validate", folder / "r.yaml"),
    "images": lambda folder: (
        "validate", folder / "r.yaml", "--set", "model.weights=random",
    ),
    "no recipe": lambda folder: ("sweep", folder / f"{NASTY_FILE}.yaml"),
    "no shipped recipe": lambda folder: ("sweep", NASTY_FILE),
    "name": word("name"),
    "weights": word("model.weights"),
    "model": word("model.name"),
    "split": word("dataset.split"),
    "method": word("methods.maskvd.mask"),
    "key": lambda folder: ("validate", folder / "r.yaml", "--set", f"{NASTY_FILE}=1"),
    "heatmap": lambda folder: ("heatmap", *SETS, "-o", folder / f"{NASTY_FILE}.npz"),
    "mask": lambda folder: (
        "mask", folder / "h.npz", "-o", folder / f"{NASTY_FILE}.npz", "--input", "64x128",
        "--frame", "32x64",
    ),
    "no heatmap": lambda folder: ("mask", folder / f"{NASTY_FILE}.npz"),
    "class": lambda folder: ("heatmap", *SETS, "--classes", NASTY),
    "film": lambda folder: (
        "film", folder / "r.yaml", "--set", "model.weights=random", "--clip", NASTY,
    ),
    "point": lambda folder: ("film", folder / "r.yaml", "--point", NASTY),
    "verify": lambda folder: ("verify", folder / "golden"),
    "convert": lambda folder: ("convert", folder / "names.npz", folder / "out.safetensors"),
    "no checkpoint": lambda folder: (
        "convert", folder / f"{NASTY_FILE}.pth", folder / "out.safetensors",
    ),
    "train": lambda folder: ("train", folder / f"{NASTY_FILE}.yaml", "-o", folder / "out"),
    "report": lambda folder: ("report", folder / NASTY_FILE),
    "ls": lambda folder: ("ls", NASTY_FILE),
    "doctor": lambda folder: ("doctor", "--no-noise"),
    "synth": lambda folder: (
        "synth", "-o", folder / NASTY_FILE, "--clips", 1, "--frames", 2, "--no-images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READING)
def test_data_and_options_are_shown_as_text(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MASKVD_COCO_VIDEO", str(folder / NASTY_FILE))
    coco(folder / "set")
    (folder / "r.yaml").write_text(json.dumps(RECIPE))
    (folder / "golden").mkdir()
    np.savez(folder / "golden" / "case.npz", metadata=json.dumps({"kind": NASTY, "method": NASTY}))
    (folder / "golden" / "case.npz").rename(folder / "golden" / f"{NASTY_FILE}.npz")
    named = {NASTY_FILE.replace("/", ""): np.zeros(2)}
    np.savez(folder / "names.npz", **named)  # pyright: ignore[reportArgumentType]
    heatmap = {"dataset": NASTY, "split": NASTY, "coordinates": "native", "canvas": "32x64",
               "image_size": "32x64"}  # fmt: skip
    np.savez(folder / "h.npz", heatmap=np.ones((32, 64)), metadata=json.dumps(heatmap))
    done = run(*READING[name](folder))
    assert done.exit_code in (0, 2, 3), done.output
    hostile.check_terminal(done.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    pages = [path for path in folder.rglob("*") if path.suffix in (".html", ".md", ".svg")]
    assert not pages


def test_letters_of_a_film_are_on_one_line() -> None:
    text, face = lettered(NASTY, 12)
    lines = [text, shortened(NASTY, 200, face), *wrapped(NASTY, 200, face, most=3)]
    for line in lines:
        assert line == shown(line)
        assert face.getlength(line) > 0


def test_spans_of_code_end_where_they_should() -> None:
    assert markdown_code("a`b|c\nd\x1b") == r"`a'b\|c d\x1b`"
