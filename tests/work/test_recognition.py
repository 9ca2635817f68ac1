"""A recogniser runs end to end on video files: looks, gates, scores, reports."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.looks import Looks, LookStep, looked_at
from maskvd_cli.core.size import Size
from maskvd_cli.data.crops import step_pixels
from maskvd_cli.data.kinetics import Kinetics400
from maskvd_cli.families.checkpoints import save
from maskvd_cli.families.vivit.archs import ARCHS, vivit
from maskvd_cli.families.vivit.model import ViViT
from maskvd_cli.families.vivit.shape import ClassifierShape
from maskvd_cli.methods import library
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.clips import ClipInput, run_clip
from maskvd_cli.methods.counting import MacWatch
from maskvd_cli.methods.fit import unlike
from maskvd_cli.methods.registry import methods
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.recipe.shipped import find_recipe
from maskvd_cli.store.runs import Run
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import prepare, run_sweep

from ..data.drawn_videos import write_frames

ARCH = vivit(
    "vivit-tiny", "", dim=24, heads=3, depth=3, temporal_depth=1, patch=16, table=Size(6, 6),
    looks=Looks(frames=16, tubelet=2, stride=2, along=2),
)  # fmt: skip
SIZE = Size(96, 96)
LABELS = ("falling", "rising", "falling")
RECIPE = """\
schema: 1
name: looked
dataset: {{name: kinetics-400, root: {root}}}
model: {{name: vivit-tiny, input: 96x96, weights: {weights}}}
methods:
  - name: dense
  - name: eventful
    r: [37, 10]
    update: [full, tokenwise]
  - name: stgt
    r: 10
  - {{name: rgtp, keep_rate: 0.3, foreground: 0.5, background: 0.09, reset: 1in4, period: 4}}
  - {{name: ats, fraction: 0.8}}
  - {{name: eventful+ats, policy: top_fraction, fraction: 0.5, ats_fraction: 0.9}}
  - {{name: evit, keep_rate: 0.7, drop_blocks: [[1, 2]]}}
  - {{name: tome, r: 4}}
metrics: [{metrics}]
latency: {{rounds: 2, frames: 8, warmup: 2}}
device: cpu
"""


@pytest.fixture(autouse=True, scope="module")
def _tiny_architecture() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHS, ARCH.name, ARCH)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of a square that moves over noise; the last is shorter than a look."""
    made = tmp_path_factory.mktemp("set")
    rows = [f"{label},v{number},0,10,val,0\n" for number, label in enumerate(LABELS)]
    (made / "val.csv").write_text(
        "label,youtube_id,time_start,time_end,split,is_cc\n" + "".join(rows)
    )
    drawn = np.random.default_rng(0)
    for number, label in enumerate(LABELS):
        ground = drawn.integers(60, 120, (96, 128, 3), dtype=np.uint8)
        images = []
        for frame in range(40 if number < 2 else 20):
            image = ground.copy()
            top = 2 * frame if label == "falling" else 78 - 2 * min(frame, 39)
            image[max(top, 0) : top + 16, 50:66] = 250
            images.append(image)
        write_frames(made / "val" / f"v{number}_000000_000010.mp4", images)
    return made


@pytest.fixture(scope="module")
def model() -> ViViT:
    made = ViViT(ARCH, ClassifierShape(2), SIZE, seed=5).requires_grad_(False).eval()
    with torch.no_grad():
        # Larger than drawn, so that logits of videos differ.
        made.classifier.weight.mul_(50)
    return made


@pytest.fixture(scope="module")
def recipe(root: Path, model: ViViT, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    save(folder / "w.safetensors", model.state_dict(), {"arch": ARCH.name})
    text = RECIPE.format(root=root, weights="w.safetensors", metrics="accuracy, latency, memory")
    (folder / "looked.yaml").write_text(text)
    return folder / "looked.yaml"


@pytest.fixture(scope="module")
def run(recipe: Path) -> Run:
    made = Run(recipe.parent / "run")
    outcome = run_sweep(prepare(load_recipe(recipe, catalog())), made)
    assert not outcome.failed
    assert not outcome.unmeasured
    return made


def maskvd(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "220"})
    assert done.exit_code == code, done.output
    return done.stdout


def rows_of(run: Run) -> dict[str, dict[str, str]]:
    table = maskvd("report", run.folder, "--format", "csv")
    rows = csv.DictReader(io.StringIO(table))
    return {row["label"].removesuffix(" input=96x96"): row for row in rows}


def logits_by_hand(root: Path, model: ViViT) -> list[torch.Tensor]:
    """Return the mean logits of each video, from the frames themselves."""
    dataset, means = Kinetics400(root), []
    for clip in dataset.clips():
        found = []
        for start in ARCH.looks.starts(len(clip)):
            frames = [clip.frames[at] for at in ARCH.looks.positions(len(clip), start)]
            steps = [
                step_pixels([dataset.image(f) for f in frames[at : at + 2]], ARCH.looks, 0, SIZE)
                for at in range(0, 16, 2)
            ]
            with torch.inference_mode():
                features = torch.cat([
                    model.backbone(model.embed(list(step)), model.grid) for step in steps
                ])  # fmt: skip
                found.append(model.logits(features.transpose(0, 1))[0])
        means.append(torch.stack(found).mean(0))
    return means


def test_stored_outputs_are_the_models(run: Run, root: Path, model: ViViT) -> None:
    plan = run.plan()
    dense = next(point.key for point in plan.points if point.method == "dense")
    expected = logits_by_hand(root, model)
    for video, mean in enumerate(expected):
        pieces = [run.piece(dense, 2 * video + look).outputs for look in (0, 1)]
        found = torch.from_numpy(np.mean([piece["logit"] for piece in pieces], axis=0))
        assert torch.allclose(found, mean, atol=1e-4)
    right = [int(mean.argmax()) == (label == "rising") for mean, label in
             zip(expected, LABELS, strict=True)]  # fmt: skip
    assert float(rows_of(run)["dense"]["top1"]) == pytest.approx(100 * sum(right) / 3)


def test_reports_tell_of_videos(run: Run) -> None:
    rows = rows_of(run)
    dense, gated = rows["dense"], rows["eventful r=10"]
    assert dense["status"] == gated["status"] == "ok"
    assert (dense["clips"], dense["frames"]) == ("6", "48")
    assert float(rows["eventful r=37"]["top1_change"]) == 0.0
    assert float(gated["tmacs_video"]) < float(dense["tmacs_video"])
    assert float(gated["full_frame_share"]) == 1 / 8
    assert float(gated["speedup"]) > 0
    assert float(gated["state_mb"]) > float(rows["stgt r=10"]["state_mb"]) > 0
    # Two looks of eight steps, both counters by hand: n tokens of width d, L blocks.
    n, d = 37, 24
    step = 3 * (12 * n * d**2 + 2 * n**2 * d + 9 * n * d + 2 * n * d) + n * d
    m = 9
    end = 12 * m * d**2 + 2 * m**2 * d + 11 * m * d + m * d + 2 * d + 2
    assert float(dense["tmacs_video"]) == pytest.approx(2 * (8 * step + end) / 1e12)
    told = maskvd("report", run.folder)
    assert "top-1" in told
    assert "mAP" not in told
    maskvd("report", run.folder, "--format", "html", "-o", run.folder.parent / "page.html")
    assert "TMACs/video" in maskvd("report", run.folder, "--format", "markdown")
    assert maskvd("score", run.folder)
    assert maskvd("compare", run.folder, run.folder)


def fitting() -> set[str]:
    """Return the methods and combinations that run on a recogniser."""
    every = [*methods.names(), *methods.pairs()]
    return {name for name in every if unlike(methods.load(name), ARCH) is None}


def test_all_methods_that_fit_are_ranked(run: Run) -> None:
    rows = rows_of(run).values()
    assert {row["method"] for row in rows} == fitting()
    for row in rows:
        assert row["status"] == "ok"
        assert float(row["latency_mean_ms"]) > 0
        assert 0 <= float(row["top1"]) <= 100
        assert row["on_front"] in ("True", "False")
        if row["method"] != "dense":
            assert float(row["top1_change"]) >= -100
    told = maskvd("report", run.folder)
    assert all(f"{method} " in told for method in fitting())


def test_the_shipped_recipe_has_each_of_them() -> None:
    points = load_recipe(find_recipe("actions"), catalog()).points
    assert {point.method for point in points} == fitting()


def test_whole_costs_hold_the_share_of_what_concludes(run: Run) -> None:
    row = rows_of(run)["dense"]
    embedding = 36 * 3 * 2 * 256 * 24
    end = 12 * 9 * 24**2 + 2 * 81 * 24 + 2 * 24
    around = (embedding + end / 8) / 1e9
    assert float(row["gmacs_detector"]) == pytest.approx(float(row["gmacs"]) + around)


def test_planned_and_measured_costs_agree(recipe: Path, run: Run) -> None:
    assignments = ["model.weights=null", "metrics=null", "name=planned"]
    planned = Run(recipe.parent / "planned")
    assert not run_sweep(prepare(load_recipe(recipe, catalog(), assignments)), planned).failed
    ours, theirs = rows_of(run), rows_of(planned)
    assert set(ours) == set(theirs)
    for label, row in ours.items():
        for name in ("tokens", "gmacs", "gmacs_published", "tmacs_video", "gmacs_detector"):
            assert float(row[name]) == pytest.approx(float(theirs[label][name])), (label, name)


def test_random_weights_and_noise_are_timed(root: Path, tmp_path: Path) -> None:
    text = RECIPE.format(root=root, weights="random", metrics="latency")
    (tmp_path / "noise.yaml").write_text(text.replace("looked", "noise"))
    words = ("dataset.pixels=noise", "methods=[{name: dense}, {name: eventful, r: 10}]")
    sweep = prepare(load_recipe(tmp_path / "noise.yaml", catalog(), list(words)))
    made = Run(tmp_path / "run")
    assert not run_sweep(sweep, made).unmeasured
    assert float(rows_of(made)["eventful r=10"]["speedup"]) > 0


def test_validate_reads_videos_and_weights(recipe: Path) -> None:
    told = maskvd("validate", recipe)
    assert "3 clips, 100 frames" in told
    assert "100 frames; first and last of every clip can be read" in told


def test_smoke_runs_on_the_first_frames_of_videos(recipe: Path) -> None:
    few = "methods=[{name: dense}, {name: eventful, r: 10}]"
    maskvd("sweep", recipe, "--smoke", "--set", few, "--results", recipe.parent / "smoke", "-q")
    (folder,) = (recipe.parent / "smoke" / "looked").iterdir()
    row = rows_of(Run(folder))["dense"]
    assert (row["clips"], row["frames"]) == ("4", "32")


def test_a_film_shows_detectors(recipe: Path) -> None:
    done = CliRunner().invoke(
        app, ["film", str(recipe), "--point", "dense", "-o", str(recipe.parent / "f.mp4")]
    )
    assert done.exit_code == 2
    assert (
        "a film shows what a detector finds, and vivit-tiny is asked for recognition" in done.output
    )


def test_the_library_looks_at_videos_as_sweeps_do(root: Path, model: ViViT) -> None:
    dataset = Kinetics400(root)
    frames = [dataset.image(frame) for frame in next(dataset.clips()).frames]
    for video, mean in zip(dataset.clips(), logits_by_hand(root, model), strict=True):
        frames = [dataset.image(frame) for frame in video.frames]
        outputs = list(library.run(model, "dense")(frames))
        found = torch.stack([output.logits for output in outputs]).mean(0)
        assert torch.allclose(found, mean, atol=1e-4)
    assert len(list(library.run(model, "eventful", r=10)(frames))) == ARCH.looks.count
    with pytest.raises(UsageError, match="frames of 2 sizes"):
        list(library.run(model, "dense")([frames[0], frames[0][:90]]))


def clip_of(root: Path, number: int) -> ClipInput:
    dataset = Kinetics400(root)
    video = list(dataset.clips())[number]
    look = next(looked_at(video, ARCH.looks))
    images = []
    for step in look.frames:
        assert isinstance(step, LookStep)
        images.append(step_pixels([dataset.image(p) for p in step.parts], step.looks, 0, SIZE))
    return ClipInput(look.name, images, ClipView(len(look), SIZE, ARCH.patch), SIZE, False)


def test_only_the_last_step_of_a_look_concludes_it(root: Path, model: ViViT) -> None:
    dense = methods.load("dense")
    method = dense(dense.params_type(), model.backbone)
    results = list(run_clip(model, method, clip_of(root, 0), watch=MacWatch()))
    assert [result.output.logits is not None for result in results] == [*[False] * 7, True]
    costs: list[Any] = [result.times["head_macs"] for result in results]
    assert costs[:7] == [0] * 7
    assert costs[7] == model.stages[1].macs(results[-1].output)  # pyright: ignore
    # A part of a look is never concluded.
    part = list(run_clip(model, method, clip_of(root, 0), frames=3))
    assert [result.output.logits for result in part] == [None] * 3


def test_a_skipped_step_stands_for_the_one_before(root: Path, model: ViViT) -> None:
    from maskvd_cli.methods.base import FrameTrace, Stages
    from maskvd_cli.methods.dense import Dense, DenseParams

    class Skipping(Dense):
        def run(self, images: Any, frame: Any, stages: Stages) -> Any:
            if frame.index % 2 == 0:
                return super().run(images, frame, stages)
            self.trace = FrameTrace(0, full=False)
            return stages.last

    clip = clip_of(root, 0)
    results = list(run_clip(model, Skipping(DenseParams(), model.backbone), clip))
    kept = [results[at - at % 2].output.features for at in range(8)]
    with torch.inference_mode():
        expected = model.logits(torch.stack(kept)[None])[0]
    assert results[-1].output.logits is not None
    assert torch.allclose(results[-1].output.logits, expected, atol=1e-5)


def test_looks_are_named_after_their_video() -> None:
    from maskvd_cli.core.types import NO_BOXES, Clip, Frame

    frames = tuple(Frame(index, None, Size(20, 40), NO_BOXES) for index in range(5))
    made = list(looked_at(Clip("v", frames, "long", 3), Looks(4, tubelet=2, along=2, across=3)))
    assert [look.name for look in made] == [f"v#{number}" for number in range(6)]
    assert {(look.video, look.label, look.whole) for look in made} == {("long", 3, "v")}
    places = [look.frames[0] for look in made]
    assert [step.place for step in places if isinstance(step, LookStep)] == [0, 0, 1, 1, 2, 2]
    last = made[1].frames[1:][0]
    assert isinstance(last, LookStep)
    assert [part.index for part in last.parts] == [3, 4]
