"""What a sweep stores for pictures: true masks of a frame that ran, made without the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from maskvd_cli.core.errors import ResultError
from maskvd_cli.core.size import Size
from maskvd_cli.masks.dynamic import dynamic_mask
from maskvd_cli.masks.static import static_mask
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.arrays import save_arrays
from maskvd_cli.store.illustration import (
    HEATMAP,
    ILLUSTRATION,
    Illustration,
    StoredHeatmap,
    read_heatmap,
    read_illustration,
)
from maskvd_cli.store.runs import NewerResultError, Run
from maskvd_cli.tasks.stored import StoredTruth
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import SweepOutcome, choose_run, prepare, run_sweep

from .measured_runs import write_recipe

CHANGES = ("methods.maskvd.mask=combined", "methods.maskvd.score_threshold=0.2608")


def sweep_once(path: Path, results: Path, *assignments: str) -> SweepOutcome:
    sweep = prepare(load_recipe(path, catalog(), assignments))
    run, earlier = choose_run(sweep, results, fresh=False)
    return run_sweep(sweep, run, earlier)


def illustration_of(run: Run) -> Illustration:
    found = read_illustration(run)
    assert found is not None
    return found


def heatmap_of(run: Run) -> StoredHeatmap:
    found = read_heatmap(run)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_recipe(tmp_path_factory.mktemp("illustrated"), "metrics: [accuracy]\n")
    path.write_text(path.read_text().replace("[0.5, 0.2]", "[0.5, 0.25]"))
    return path


@pytest.fixture(scope="module")
def outcome(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepOutcome:
    return sweep_once(recipe_file, tmp_path_factory.mktemp("results"), *CHANGES)


def dynamic_of(made: Illustration) -> np.ndarray:
    shown = made.shown
    mask = dynamic_mask(
        torch.from_numpy(made.boxes), Size.parse(shown.input), shown.patch, margin=shown.margin
    )
    return mask.view(*shown.grid).numpy()


def test_masks_are_those_of_the_stored_boxes_and_scores(outcome: SweepOutcome) -> None:
    made, heatmap = illustration_of(outcome.run), heatmap_of(outcome.run)
    assert len(made.boxes)
    assert (made.dynamic == dynamic_of(made)).all()
    static = static_mask(torch.from_numpy(heatmap.scores).flatten(), made.shown.static_keep_rate)
    assert (made.static.flatten() == static.numpy()).all()
    assert (heatmap.static == made.static).all()
    assert (made.combined == (made.static | made.dynamic)).all()


def test_the_frame_is_masked_and_holds_the_tokens_that_the_point_counted(
    outcome: SweepOutcome,
) -> None:
    made = illustration_of(outcome.run)
    shown = made.shown
    assert shown.static_keep_rate == 0.25, "nearest to the papers' 0.3"
    assert shown.position % shown.period
    samples = outcome.run.samples(shown.key)
    row = samples[(samples["clip"] == shown.clip) & (samples["frame"] == shown.frame)].iloc[0]
    assert not row["is_full"]
    assert row["tokens"] == made.combined.sum()


def test_no_masked_frame_of_the_clip_has_more_boxes_before_it(outcome: SweepOutcome) -> None:
    run, made = outcome.run, illustration_of(outcome.run)
    shown = made.shown
    truth = StoredTruth.of(run)
    outputs = list(truth.outputs(shown.key))[list(truth.clips).index(shown.clip)].arrays
    above = outputs["score"] > shown.score_threshold
    counts = dict(enumerate(np.bincount(outputs["frame"][above], minlength=6).tolist()))
    masked = [t for t in range(1, 6) if t % shown.period]
    assert shown.position == max(masked, key=lambda t: counts[t - 1])
    assert len(made.boxes) == counts[shown.position - 1]


def test_the_image_is_the_frame_as_the_model_saw_it(
    recipe_file: Path, outcome: SweepOutcome
) -> None:
    made = illustration_of(outcome.run)
    sweep = prepare(load_recipe(recipe_file, catalog(), CHANGES))
    clips = sweep.scene.feed.clips(sweep.scene.views(with_scores=False))
    clip = next(clip for clip in clips if clip.name == made.shown.clip)
    assert made.image is not None
    expected = clip.images[made.shown.position].permute(1, 2, 0).numpy()
    assert (made.image == expected).all()
    assert (outcome.run.folder / ILLUSTRATION).stat().st_size < 1_000_000


def test_missing_and_damaged_files_are_written_again_and_equal(
    recipe_file: Path, outcome: SweepOutcome
) -> None:
    folder = outcome.run.folder
    before = {name: (folder / name).read_bytes() for name in (HEATMAP, ILLUSTRATION)}
    (folder / HEATMAP).unlink()
    (folder / ILLUSTRATION).write_bytes(before[ILLUSTRATION][:200])
    with pytest.raises(ResultError, match="damaged result file"):
        read_illustration(outcome.run)
    again = sweep_once(recipe_file, folder.parent.parent, *CHANGES)
    assert again.run == outcome.run
    assert not again.ran, "the model does not run for pictures"
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_run_that_takes_points_over_has_its_own(recipe_file: Path, outcome: SweepOutcome) -> None:
    grown = sweep_once(
        recipe_file, outcome.run.folder.parent.parent, *CHANGES, "methods.maskvd.period=[3, 2]"
    )
    assert grown.run != outcome.run
    assert len(grown.present) == 3
    assert illustration_of(grown.run).shown == illustration_of(outcome.run).shown


def test_a_planned_sweep_has_masks_of_annotated_boxes_and_no_image(
    recipe_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "planned.yaml"
    lines = recipe_file.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("metrics", "latency", "memory"))]
    weights = recipe_file.parent / "tiny.safetensors"
    path.write_text("\n".join(kept).replace(f", weights: {weights}", ""))
    run = sweep_once(path, tmp_path / "results", *CHANGES).run
    made = illustration_of(run)
    assert made.image is None
    assert made.shown.no_image == "the sweep read no images"
    assert made.shown.boxes_from == "labels"
    assert (made.dynamic == dynamic_of(made)).all()
    assert len(made.boxes) == 2


def test_without_combined_masks_there_is_a_heatmap_only(recipe_file: Path, tmp_path: Path) -> None:
    run = sweep_once(recipe_file, tmp_path, "methods.maskvd.static_keep_rate=0.5").run
    assert read_illustration(run) is None
    assert heatmap_of(run).shown.static_keep_rate == 0.5


def test_damaged_outputs_are_made_anew_and_the_picture_with_them(
    recipe_file: Path, tmp_path: Path
) -> None:
    run = sweep_once(recipe_file, tmp_path, *CHANGES).run
    drawn = read_illustration(run)
    assert drawn is not None
    (run.folder / ILLUSTRATION).unlink()
    for path in (run.folder / "pieces").rglob("*.npz"):
        path.write_bytes(b"no archive")
    outcome = run_sweep(prepare(load_recipe(recipe_file, catalog(), CHANGES)), run)
    assert {record.status for record in outcome.ran} == {"ok"}
    again = read_illustration(run)
    assert again is not None
    assert (again.boxes == drawn.boxes).all() and (again.image == drawn.image).all()


def test_damaged_samples_are_made_anew_from_the_pieces(recipe_file: Path, tmp_path: Path) -> None:
    run = sweep_once(recipe_file, tmp_path, *CHANGES).run
    samples = {path: path.read_bytes() for path in (run.folder / "samples").iterdir()}
    pieces = {path: path.stat().st_mtime_ns for path in (run.folder / "pieces").rglob("*.npz")}
    for path in samples:
        path.write_bytes(b"no parquet")
    again = sweep_once(recipe_file, tmp_path, *CHANGES)
    assert len(again.ran) == len(samples)
    assert {path: path.read_bytes() for path in samples} == samples
    assert {path: path.stat().st_mtime_ns for path in pieces} == pieces


def test_files_of_a_newer_maskvd_are_kept(recipe_file: Path, tmp_path: Path) -> None:
    run = sweep_once(recipe_file, tmp_path, *CHANGES).run
    save_arrays(run.folder / ILLUSTRATION, {"boxes": np.zeros((0, 4))}, {"illustration": 99})
    newer = (run.folder / ILLUSTRATION).read_bytes()
    with pytest.raises(NewerResultError, match="version 99"):
        read_illustration(run)
    sweep_once(recipe_file, tmp_path, *CHANGES)
    assert (run.folder / ILLUSTRATION).read_bytes() == newer
