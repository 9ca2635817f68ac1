"""The whole command on a tiny detector: clips, videos, what is chosen, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.commands.film import sign_of_life
from maskvd_cli.film.choice import choose_clip
from maskvd_cli.film.opening import open_film
from maskvd_cli.film.shots import Shot, shots
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.work.catalog import catalog

from ..work import measured_runs

SPARSE = "static_keep_rate=0.2"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured_runs.write_recipe(tmp_path_factory.mktemp("film"))


def film(*words: object) -> Result:
    return CliRunner().invoke(app, ["film", *map(str, words)])


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def shots_of(recipe: Path, *, video: Path | None = None, frames: int = 6) -> list[Shot]:
    loaded = load_recipe(recipe, catalog(), [])
    made = open_film(loaded, SPARSE, clip=None, video=video, frames=frames)
    return list(shots(made.task, made.scene, made.footage, 0.0))


def test_a_film_shows_kept_tokens_bright(recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "clip.mp4"
    done = film(recipe, "--point", SPARSE, "-o", output, "--frames", 4, "--score", 1)
    assert done.exit_code == 0, done.output
    frames = decoded(output)
    assert len(frames) == 4
    rows, cols, _ = frames[0].shape
    assert cols == 1242
    assert rows > 376
    assert rows % 2 == 0
    with av.open(str(output)) as container:
        assert container.streams.video[0].average_rate == 10
    share = shots_of(recipe, frames=2)[1].kept.share
    assert share.shape == (4, 8)
    # Noise is as bright everywhere; what is dropped is dark on masked frames, and not on full ones.
    tokens = [frame[:375].astype(float).mean(-1) for frame in frames]
    bright, dark = [], []
    for row in range(3):
        for col in range(8):
            inside = np.s_[row * 125 + 9 : row * 125 + 116, col * 155 + 9 : col * 155 + 146]
            (bright if share[row, col] else dark).append(inside)
    assert bright
    assert dark
    full, masked = ([frame[part].mean() for part in dark] for frame in tokens[:2])
    assert max(masked) < 0.7 * min(full)
    kept = [tokens[1][part].mean() for part in bright]
    assert min(kept) > 1.4 * max(masked)
    assert not list(tmp_path.rglob("*.part"))


def test_costs_and_tokens_are_those_of_a_sweep(recipe: Path) -> None:
    made = shots_of(recipe)
    assert [shot.trace.full for shot in made] == [True, False, False] * 2
    assert [shot.tokens_so_far[-1] for shot in made] == [32, 6, 6] * 2
    first, second = made[0].cost, made[1].cost
    assert first.gmacs == pytest.approx(first.baseline_gmacs)
    assert second.gmacs < 0.7 * first.gmacs
    assert second.mean_gmacs == pytest.approx((first.gmacs + second.gmacs) / 2)
    assert second.baseline_gmacs == pytest.approx(first.baseline_gmacs)
    # One car and one pedestrian a frame; the region to ignore is no object.
    assert [len(shot.objects) for shot in made] == [2] * 6
    assert made[-1].met == 12


def test_dense_has_nothing_that_it_misses_by_skipping(recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "d.gif"
    words = ("--point", "dense", "-o", output, "--frames", 3, "--width", 320, "--fps", 20)
    done = film(recipe, *words, "--clip", 2, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["point"], told["film"], told["frames"]) == (
        "dense input=64x128",
        str(output),
        3,
    )
    assert (told["missed"], told["of"]) == (0, 6)
    assert told["gmacs"] == told["baseline_gmacs"] > 0
    assert "on 0001, 3 frames" in done.output
    with Pillow.open(output) as made:
        assert made.size[0] == 320
        assert getattr(made, "n_frames", 1) == 3
        assert made.info["duration"] == 50


def write_video(path: Path, frames: int) -> Path:
    drawn = np.random.default_rng(1).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 50, "yuv420p"
        for number in range(frames):
            picture = np.roll(drawn, number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_users_video_is_driven_by_the_detector(recipe: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "own.mp4", 7)
    output = tmp_path / "film.mp4"
    done = film(recipe, "--point", SPARSE, "--video", video, "-o", output, "--frames", 5)
    assert done.exit_code == 0, done.output
    frames = decoded(output)
    assert len(frames) == 5
    assert frames[0].shape[1] == 640
    with av.open(str(output)) as container:
        assert container.streams.video[0].average_rate == 25
    made = shots_of(recipe, video=video, frames=3)
    # There is no truth: the objects are what dense detects, so dense misses none.
    assert len(made[0].objects) == len(made[0].found) > 0
    assert made[0].missed == 0
    assert made[0].image.shape == (50, 90, 3)


def test_random_weights_need_to_be_asked_for(recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "r.mp4"
    words = ("--point", SPARSE, "-o", output, "--frames", 1)
    refused = film(recipe, *words, "--set", "model.weights=null", "--set", "metrics=null")
    assert refused.exit_code == 2
    assert "no weights" in refused.output
    assert "model.weights=FILE" in refused.output
    done = film(recipe, *words, "--set", "model.weights=random")
    assert done.exit_code == 0, done.output
    assert "annotated boxes" in done.output
    assert output.is_file()


def test_a_point_is_chosen_by_words_that_fit_it_alone(recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "p.mp4"
    for words, told in (
        ((), "--point is missing"),
        (("--point", "maskvd"), "fits 2 points"),
        (("--point", "maskvd static_keep_rate=0.3"), "none of the recipe's points"),
        (("--point", ""), "none of the recipe's points"),
    ):
        done = film(recipe, *words, "-o", output)
        assert done.exit_code == 2
        assert told in done.output
        labels = [line for line in done.output.splitlines() if line.startswith("  maskvd ")]
        assert len(labels) == 2
    assert not output.exists()


def test_other_mistakes_are_told_in_one_line(recipe: Path, tmp_path: Path) -> None:
    point = ("--point", SPARSE)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    inside = recipe.parent / "kitti" / "film.mp4"
    for words, told in (
        (("-o", tmp_path / "a.avi"), ".mp4 or .gif"),
        (("-o", inside), "never writes to"),
        (("--clip", 3), "1..2"),
        (("--clip", "001"), "did you mean"),
        (("--video", text, "-o", tmp_path / "a.mp4"), "ffmpeg"),
        (("--video", text, "--clip", 1), "do not go together"),
        (("--set", "dataset.pixels=noise", "--set", "metrics=[latency]"), "noise"),
    ):
        out = () if "-o" in words else ("-o", tmp_path / "a.mp4")
        done = film(recipe, *point, *words, *out, "--frames", 1)
        assert done.exit_code == 2, done.output
        errors = [line for line in done.output.splitlines() if line.startswith("error: ")]
        assert told in errors[0]
    assert not inside.exists()
    assert not (tmp_path / "a.mp4").exists()


def test_clips_are_named_or_numbered() -> None:
    assert choose_clip(["0000", "0001"], None) == 0
    assert choose_clip(["0000", "0001"], "0001") == 1
    assert choose_clip(["0000", "0001"], "1") == 0
    assert choose_clip(["2", "1"], "2") == 0


def test_an_interrupted_film_leaves_nothing(recipe: Path, tmp_path: Path) -> None:
    """A second film has the same point but so many frames that it is never done in time."""
    video = write_video(tmp_path / "own.mp4", 300)
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "maskvd_cli", "film", recipe, "--point", SPARSE, "--video",
               video, "--frames", "300", "-o", folder / "film.mp4"]  # fmt: skip
    running = subprocess.Popen(
        [str(word) for word in command], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(folder.glob(".maskvd-*")) and time.monotonic() < deadline:
        assert running.poll() is None
        time.sleep(0.05)
    assert list(folder.glob(".maskvd-*"))
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert not list(folder.iterdir())


def test_a_long_work_gives_signs_of_life_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with sign_of_life("drawing", every=0.05):
        time.sleep(0.4)
    with sign_of_life("nothing", every=5):
        pass
    said = capsys.readouterr().err.splitlines()
    assert len(said) >= 2
    assert all(line.startswith("drawing: ") and line.endswith("s so far") for line in said)
