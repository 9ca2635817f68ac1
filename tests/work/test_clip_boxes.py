"""`dataset.clip_boxes`: detections end at the frame, in what is stored, hinted, keyed and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from maskvd_cli.app import app
from maskvd_cli.core.errors import UsageError
from maskvd_cli.methods.clips import run_clip
from maskvd_cli.methods.registry import baseline
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.store.runs import Run, find_run
from maskvd_cli.tasks.boxes import output_rows
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.prepare import prepare

from .measured_runs import NATIVE, write_recipe

CUT = "dataset.clip_boxes=true"
FIRST = ("--set", "methods.maskvd.static_keep_rate=0.5")
# Half a pixel of the resized frame, whose size is rounded, in native ones.
SLACK = 0.5 * NATIVE.cols / 128


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The same recipe as it is, and with boxes cut at the frame."""
    folder = tmp_path_factory.mktemp("clip")
    recipe = write_recipe(folder)
    runs: list[Run] = []
    for number, more in enumerate(((), ("--set", CUT))):
        results = folder / f"results{number}"
        asked = ("--set", "metrics=[accuracy]", "--set", "limit.clips=1", *FIRST, *more)
        done = run("sweep", recipe, "--results", results, "--quiet", *asked)
        assert done.exit_code == 0, done.output
        runs.append(find_run(results))
    return runs[0], runs[1]


def corners(run: Run, key: str) -> np.ndarray:
    """Return all boxes (n, 4) of the first clip, xyxy in native pixels."""
    rows, _ = output_rows(run.piece(key, 0).outputs)
    return np.concatenate([rows.box[:, :2], rows.box[:, :2] + rows.box[:, 2:]], axis=1)


def test_stored_boxes_end_at_the_frame(swept: tuple[Run, Run]) -> None:
    plain, cut = swept
    for old, new in zip(plain.plan().points, cut.plan().points, strict=True):
        assert (old.label, old.key != new.key) == (new.label, True)
        before, after = corners(plain, old.key), corners(cut, new.key)
        assert before[:, 3].max() > NATIVE.rows + 50, "nothing lay in the padding"
        assert after[:, 3].max() <= NATIVE.rows + SLACK
        assert after[:, 2].max() <= NATIVE.cols + SLACK
        assert after.min() >= 0
        assert (after[:, 2:] > after[:, :2]).all()
    # Of dense, whose boxes depend on no box before: the same boxes, cut.
    known, found = (corners(one, one.plan().points[0].key) for one in swept)
    known[:, 3] = known[:, 3].clip(max=NATIVE.rows)
    known = known[known[:, 3] > known[:, 1]]
    np.testing.assert_allclose(found, known, atol=1e-2)


def test_the_next_frame_hears_of_cut_boxes_alone(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    lowest: list[float] = []
    for given in ([], [CUT]):
        scene = prepare(load_recipe(recipe, catalog(), given)).scene
        model = scene.measured.model(scene.geometry)
        method = baseline()(baseline().params_type(), model.backbone)
        clip = scene.feed.clips(scene.views(with_scores=False))[0]
        assert clip.content.rows == 48 < model.input_size.rows
        first, second = run_clip(model, method, clip, frames=2)
        hints = Detection().hints(first.output)
        assert len(hints.boxes) == len(hints.scores) > 0
        assert first.output.proposals == second.output.proposals
        lowest.append(float(hints.boxes[:, 3].max()))
    assert lowest[0] > 48
    assert lowest[1] == 48


def test_it_is_told_and_not_compared_in_silence(swept: tuple[Run, Run]) -> None:
    plain, cut = (run("report", each.folder, "--format", "markdown") for each in swept)
    assert "boxes cut at the frame" not in plain.stdout
    assert "float32, boxes cut at the frame" in cut.stdout
    words = ("compare", swept[0].folder, swept[1].folder)
    done = run(*words)
    assert done.exit_code == 2
    assert "protocol differs: measured.clip_boxes is absent in A and true in B" in done.stderr
    assert run(*words, "--allow", "protocol").exit_code == 0
    assert run("score", swept[1].folder).exit_code == 0


def keys(folder: Path, *assignments: str) -> list[str]:
    recipe = folder / "measured.yaml"
    return [point.key for point in prepare(load_recipe(recipe, catalog(), assignments)).points]


def test_keys_of_before_stay(tmp_path: Path) -> None:
    write_recipe(tmp_path)
    measured, planned = keys(tmp_path), keys(tmp_path, "model.weights=null", "metrics=null")
    assert keys(tmp_path, "dataset.clip_boxes=false") == measured
    assert not set(keys(tmp_path, CUT)) & set(measured)
    # Without a model there are no boxes to cut.
    assert keys(tmp_path, CUT, "model.weights=null", "metrics=null") == planned


def test_a_task_without_boxes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(tmp_path)
    monkeypatch.setattr(Detection, "has_boxes", False)
    with pytest.raises(UsageError, match=r"dataset\.clip_boxes: outputs of the task detection"):
        keys(tmp_path, CUT)
