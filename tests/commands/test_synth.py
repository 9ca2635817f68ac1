"""`maskvd synth`: drawn clips, labels alone, and real labels acted again."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.data.synthetic import write_labels


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MASKVD_KITTI", raising=False)


def contents(folder: str) -> dict[str, bytes]:
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_images_and_labels_by_default() -> None:
    done = run("synth", "-o", "made", "--clips", 1, "--frames", 2, "--camera", "static")
    assert done.exit_code == 0, done.output
    assert "frames  2" in done.stdout
    assert sorted(contents("made")) == [
        "training/evaluate_tracking.seqmap.training",
        "training/image_02/0000/000000.png",
        "training/image_02/0000/000001.png",
        "training/label_02/0000.txt",
    ]


def test_without_images_the_labels_are_those_of_before() -> None:
    done = run("synth", "-o", "made", "--no-images", "--clips", 2, "--frames", 5, "--seed", 4)
    assert done.exit_code == 0, done.output
    write_labels(Path("expected"), 2, 5, 4)
    assert contents("made") == contents("expected")


def test_real_labels_acted_again() -> None:
    write_labels(Path("source"), 2, 4, 1)
    done = run("synth", "-o", "made", "--from-labels", "source")
    assert done.exit_code == 0, done.output
    made = contents("made")
    assert len([name for name in made if name.endswith(".png")]) == 8
    for name, data in contents("source").items():
        assert made[name] == data


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--camera", "drone"], "unknown camera 'drone'"),
        (["--camera", "static", "--no-images"], "does not go with --camera"),
        (["--from-labels", "source", "--camera", "static"], "does not go with --camera"),
        (["--from-labels", "source", "--no-images"], "does not go with --no-images"),
        (["--from-labels", "absent"], "absent: no such folder"),
    ],
)
def test_bad_options_are_told_in_a_line(options: list[str], told: str) -> None:
    write_labels(Path("source"), 1, 2, 1)
    done = run("synth", "-o", "made", "--frames", 2, "--clips", 1, *options)
    assert done.exit_code == 2, done.output
    assert told in done.stderr
    assert not Path("made").exists()


def test_nothing_is_written_into_the_source() -> None:
    write_labels(Path("source"), 1, 2, 1)
    before = contents("source")
    done = run("synth", "-o", "source/acted", "--from-labels", "source")
    assert done.exit_code == 2
    assert "never writes to" in done.stderr
    assert contents("source") == before
