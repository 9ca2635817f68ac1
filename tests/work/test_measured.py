"""Measured sweeps over small frames: equalities, resumption, subsets, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from maskvd_cli.core.errors import MaskvdError, RecipeError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.checkpoints import save
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.family import ViTDet
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.vitdet.head_costs import embedding_macs, head_macs
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.judge.rows import read_report
from maskvd_cli.metrics.accuracy import Accuracy
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.render.formats import to_markdown
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.tasks.detections import Detections
from maskvd_cli.tasks.stored import StoredTruth
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.runner import Sweep, SweepOutcome, choose_run, prepare, run_sweep
from maskvd_cli.work.scoring import baseline_key, scored

from .measured_runs import write_recipe, write_weights

# A full frame and two masked ones of each clip, where no test counts them.
FEW = "limit.frames=3"
TIMED = (FEW, "metrics=[latency]", "detections=labels")


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("measured"))


def prepared(path: Path, *assignments: str) -> Sweep:
    return prepare(load_recipe(path, catalog(), assignments))


def sweep_once(path: Path, results: Path, *assignments: str, **options: Any) -> SweepOutcome:
    sweep = prepared(path, *assignments)
    run, earlier = choose_run(sweep, results, fresh=False)
    return run_sweep(sweep, run, earlier, **options)


@pytest.fixture(scope="module")
def outcome(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepOutcome:
    return sweep_once(recipe_file, tmp_path_factory.mktemp("results"))


def measured(run: Run, of: Any, key: str) -> MeasuredRecord:
    record = run.measured(of, key)
    assert record is not None
    assert record.status == "ok", record.failure
    return record


def session_of(record: MeasuredRecord) -> str:
    session = record.known_details.session
    assert session is not None
    return session


def test_dense_is_added_and_every_point_has_every_pass(outcome: SweepOutcome) -> None:
    plan = outcome.run.plan()
    assert [point.method for point in plan.points] == ["dense", "maskvd", "maskvd"]
    assert plan.detections == "model"
    assert len(outcome.measured) == 9
    assert not outcome.unmeasured
    for point in plan.points:
        assert baseline_key(plan, point) == plan.points[0].key
        for of in ("accuracy", "latency", "memory"):
            measured(outcome.run, of, point.key)


def test_each_model_is_compared_with_its_own_dense(recipe_file: Path, tmp_path: Path) -> None:
    root, text = recipe_file.parent, recipe_file.read_text()
    line = next(line for line in text.splitlines() if line.startswith("model:"))
    one = line.removeprefix("model: ")
    plain = write_weights(tmp_path / "global.safetensors", name="vitdet-ti-global")
    other = one.replace("vitdet-ti", "vitdet-ti-global").replace(
        str(root / "tiny.safetensors"), str(plain)
    )
    entry = "methods:\n  - {name: evit, keep_rate: 0.5, model: vitdet-ti-global}"
    path = tmp_path / "two.yaml"
    path.write_text(
        text.replace(line, f"model:\n  - {one}\n  - {other}").replace("methods:", entry, 1)
        + "metrics: [accuracy, latency]\n"
    )
    made = sweep_once(path, tmp_path / "results", "methods.maskvd.model=vitdet-ti")
    plan = made.run.plan()
    assert [(p.method, p.model) for p in plan.points] == [
        ("dense", "vitdet-ti"), ("dense", "vitdet-ti-global"), ("maskvd", "vitdet-ti"),
        ("maskvd", "vitdet-ti"), ("evit", "vitdet-ti-global"),
    ]  # fmt: skip
    assert [baseline_key(plan, p) for p in plan.points] == [
        plan.points[i].key for i in (0, 1, 0, 0, 1)
    ]
    assert "model=vitdet-ti-global" in plan.points[4].label
    assert "model" not in plan.points[2].label
    assert not made.unmeasured
    sessions = {
        p.model: record.known_details.session
        for p in plan.points
        if (record := measured(made.run, "latency", p.key)).status == "ok"
    }
    assert len(set(sessions.values())) == 2
    table = to_markdown(read_report(made.run))
    assert table.count("| vitdet-ti-global |") == 2
    assert table.count("weights sha256") == 2


def test_counts_come_from_the_frames_that_ran(outcome: SweepOutcome) -> None:
    dense, half, few = outcome.ran
    assert dense.metrics is not None
    assert half.metrics is not None
    assert few.metrics is not None
    assert dense.metrics.tokens == 32
    # Every third frame of six is full; the others keep the static mask's tokens.
    assert half.metrics.tokens == pytest.approx((2 * 32 + 4 * 16) / 6)
    assert few.metrics.tokens == pytest.approx((2 * 32 + 4 * 6) / 6)
    assert few.metrics.gmacs < half.metrics.gmacs < dense.metrics.gmacs
    assert dense.metrics.state_bytes == 0
    assert half.metrics.state_bytes == (12 * 3 + 1) * 32 * 128 * 4
    samples = pd.read_parquet(outcome.run.folder / "samples" / f"{half.key}.parquet")
    assert samples["proposals"].between(1, 300).all()
    assert samples["is_full"].tolist() == [True, False, False] * 4


def test_proposals_of_each_frame_decide_the_detectors_macs(outcome: SweepOutcome) -> None:
    record = outcome.ran[1]
    assert record.metrics is not None
    samples = pd.read_parquet(outcome.run.folder / "samples" / f"{record.key}.parquet")
    arch, heads = get_arch("vitdet-ti"), HeadArch(classes=3, channels=16, hidden=32)
    grid = Size(4, 8)
    around = [
        embedding_macs(arch, grid) + head_macs(arch, heads, grid, count)
        for count in samples["proposals"].tolist()
    ]
    expected = record.metrics.gmacs + sum(around) / len(around) / 1e9
    assert record.metrics.gmacs_detector == pytest.approx(expected, rel=1e-12)


def test_dense_does_not_change_against_itself(outcome: SweepOutcome) -> None:
    key = outcome.run.plan().points[0].key
    accuracy = measured(outcome.run, "accuracy", key)
    latency = measured(outcome.run, "latency", key)
    assert accuracy.value("map50_change") == 0
    assert [age.first for age in accuracy.known_details.by_age] == [0]
    assert latency.value("speedup") == 1
    assert latency.value("latency_masked_ms") is None
    assert latency.known_details.masked is None
    assert latency.known_details.control is not None


def test_latency_is_summarised_from_the_samples_that_are_kept(outcome: SweepOutcome) -> None:
    keys = [point.key for point in outcome.run.plan().points]
    latency = measured(outcome.run, "latency", keys[1])
    spreads = latency.known_details
    assert spreads.parts and spreads.full and spreads.masked
    samples = outcome.run.session(session_of(latency))
    assert set(samples["series"]) == {"baseline", "control", keys[1], keys[2]}
    of_series = samples.sort_values(["round", "frame"]).groupby("series")
    own = of_series.get_group(keys[1]).reset_index(drop=True)
    dense = of_series.get_group("baseline").reset_index(drop=True)
    assert len(own) == len(dense) == 2 * 4
    assert spreads.parts["total"].median == pytest.approx(own["total_ms"].median())
    # Full frames stand for their share of all frames, not of the few that were timed.
    record = outcome.run.point(keys[1])
    assert record is not None
    assert record.metrics is not None
    share, full = record.metrics.full_frame_share, own["is_full"]
    assert share != full.mean()

    def expected(total: Any) -> float:
        return share * total[full].mean() + (1 - share) * total[~full].mean()

    assert latency.value("latency_mean_ms") == pytest.approx(expected(own["total_ms"]))
    for part in ("mask", "embed", "backbone", "head"):
        assert latency.value(f"{part}_ms") == pytest.approx(expected(own[f"{part}_ms"]))
    rows = read_report(outcome.run).rows
    (backbone_ms,) = rows.loc[rows["key"] == keys[1], "backbone_ms"].astype(float).tolist()
    assert backbone_ms == latency.value("backbone_ms")
    assert backbone_ms != spreads.parts["backbone"].mean
    ratio = expected(dense["total_ms"]) / expected(own["total_ms"])
    assert latency.value("speedup") == pytest.approx(ratio)
    assert (spreads.full.samples, spreads.masked.samples) == (4, 4)


def test_a_second_sweep_measures_nothing(recipe_file: Path, outcome: SweepOutcome) -> None:
    results = outcome.run.folder.parent.parent
    before = {path: path.read_bytes() for path in outcome.run.folder.rglob("*.json*")}
    again = sweep_once(recipe_file, results)
    assert again.run == outcome.run
    assert (again.ran, list(again.measured)) == ([], [])
    assert {path: path.read_bytes() for path in outcome.run.folder.rglob("*.json*")} == before


def test_scores_from_the_files_are_the_stored_ones(outcome: SweepOutcome) -> None:
    plan = outcome.run.plan()
    keys = [point.key for point in plan.points]
    found = list(scored(outcome.run, Accuracy, keys, keys[0]))
    assert [finding.key for finding in found] == keys
    for finding in found:
        stored = measured(outcome.run, "accuracy", finding.key)
        values = {name: StoredEstimate(**asdict(value)) for name, value in finding.values.items()}
        assert values == stored.values
        assert finding.details == stored.details


def test_missing_latencies_are_measured_anew_beside_dense(
    recipe_file: Path, tmp_path: Path
) -> None:
    first = sweep_once(recipe_file, tmp_path, *TIMED)
    keys = [point.key for point in first.run.plan().points]
    kept = measured(first.run, "latency", keys[1])
    (first.run.folder / "measured" / "latency" / f"{keys[2]}.json").unlink()
    again = sweep_once(recipe_file, tmp_path, *TIMED)
    assert [record.key for record in again.measured] == [keys[2]]
    assert measured(first.run, "latency", keys[1]) == kept
    session = session_of(measured(first.run, "latency", keys[2]))
    assert session != session_of(kept)
    assert set(first.run.session(session)["series"]) == {"baseline", "control", keys[2]}
    assert "2 sessions" in to_markdown(read_report(first.run))


def test_a_grown_grid_takes_over_what_was_measured(
    recipe_file: Path, outcome: SweepOutcome
) -> None:
    results = outcome.run.folder.parent.parent
    grown = sweep_once(recipe_file, results, "methods.maskvd.static_keep_rate=[0.5, 0.2, 0.8]")
    assert grown.run != outcome.run
    assert [record.params["static_keep_rate"] for record in grown.ran] == [0.8]
    assert {record.key for record in grown.measured} == {grown.ran[0].key}
    key = outcome.ran[1].key
    for name in (f"measured/latency/{key}.json", f"pieces/{key}/00001.npz"):
        assert (grown.run.folder / name).read_bytes() == (outcome.run.folder / name).read_bytes()
    assert len(grown.run.session(session_of(measured(grown.run, "latency", key))))


def test_a_pass_asked_for_later_keeps_points_and_predictions(
    recipe_file: Path, tmp_path: Path
) -> None:
    first = sweep_once(recipe_file, tmp_path, FEW, "metrics=[accuracy]")
    assert {record.of for record in first.measured} == {"accuracy"}
    then = sweep_once(recipe_file, tmp_path, FEW, "metrics=[accuracy, memory]")
    assert then.ran == []
    assert {record.of for record in then.measured} == {"memory"}


def test_keep_everything_scores_exactly_as_dense(recipe_file: Path, tmp_path: Path) -> None:
    made = sweep_once(
        recipe_file, tmp_path, "metrics=[accuracy]", "methods.maskvd.static_keep_rate=[1.0]"
    )
    dense, full = (measured(made.run, "accuracy", r.key) for r in made.ran)
    assert all(full.value(name) == dense.value(name) for name in ("map50", "map"))
    assert full.known_details.detections == dense.known_details.detections
    assert full.value("map50_change") == 0


class Perfect(Detector):
    """Detects what the test tells it, whatever the pixels are."""

    answers: list[Detections]

    def finish(self, features: torch.Tensor) -> list[Detections]:
        return [self.answers.pop(0)]


@pytest.mark.parametrize("protocol", ["maskvd-paper", "kitti-ignore"])
def test_a_perfect_detector_scores_100(recipe_file: Path, tmp_path: Path, protocol: str) -> None:
    sweep = prepared(recipe_file, "metrics=[accuracy]", f"dataset.protocol={protocol}")
    scene = sweep.scene
    detector = scene.measured.model(scene.geometry)
    answers: list[Detections] = []
    for clip, view in zip(scene.source.clips, scene.views(with_scores=False), strict=True):  # type: ignore[attr-defined]
        assert view.boxes is not None
        for position, frame in enumerate(clip.frames):
            boxes = view.boxes[view.frame_of == position].float()
            labels = torch.from_numpy(frame.boxes.labels[~frame.boxes.ignore])
            order = torch.arange(len(boxes), 0, -1) / 10
            answers.append(Detections(boxes, order, labels))
    detector.__class__ = Perfect
    detector.answers = answers * len(sweep.points)  # type: ignore[assignment]
    run, _ = choose_run(sweep, tmp_path, fresh=False)
    done = run_sweep(sweep, run)
    for record in done.ran:
        accuracy = measured(run, "accuracy", record.key)
        assert accuracy.value("map50") == pytest.approx(100)
        assert accuracy.value("map") == pytest.approx(100)
        assert accuracy.known_details.objects == 24
    ignored = sum(int(arrays["ignore"].sum()) for arrays in StoredTruth.of(run).arrays)
    # A region in each of 12 frames.
    assert ignored == (12 if protocol == "kitti-ignore" else 0)


def test_smoke_and_limit_are_marked_in_files_and_reports(recipe_file: Path, tmp_path: Path) -> None:
    made = sweep_once(recipe_file, tmp_path, "smoke=true", "metrics=[accuracy, latency]")
    assert made.ran[0].setting["subset"] == {"clips": 2, "frames": 4, "smoke": True}
    assert made.ran[0].metrics is not None
    assert made.ran[0].metrics.frames == 8
    text = to_markdown(read_report(made.run))
    assert "SUBSET (smoke: first 2 clips, first 4 frames of each clip)" in text
    limited = prepared(recipe_file, "limit.frames=3", "limit.clips=1")
    assert [len(clip) for clip in limited.scene.source.clips] == [3]  # type: ignore[attr-defined]
    whole = {point.key for point in prepared(recipe_file).points}
    assert not whole & {point.key for point in limited.points}


def narrow_heads(arch: ViTArch, classes: int) -> HeadArch:
    return HeadArch.for_patch(arch.patch, classes=classes, channels=16, hidden=32)


def test_random_weights_measure_cost_alone_on_noise(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Heads of ViTDet-B's size would take a second a frame.
    monkeypatch.setattr(ViTDet, "random_shape", narrow_heads)
    made = sweep_once(
        recipe_file, tmp_path, "model.weights=random", "dataset.pixels=noise", "limit.frames=4",
        "memory.frames=1",
    )  # fmt: skip
    assert made.run.plan().detections == "labels"
    assert {record.of for record in made.measured} == {"latency", "memory"}
    assert not made.unmeasured
    assert not made.run.has_truth()
    row = read_report(made.run).rows.iloc[1]
    assert pd.isna(row["map50"])
    assert row["latency_ms"] > 0
    assert row["peak_mib"] > row["state_mb"] > 0
    assert "Accuracy was not measured" in to_markdown(read_report(made.run))


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["model.weights=random", "metrics=[accuracy]"], "have no accuracy"),
        (["model.weights=random", "detections=model"], "random weights detect nothing"),
        (["model.weights=null", "metrics=[latency]"], "need a model"),
        (["model.weights=null", "detections=model"], "model.weights is not given"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    recipe_file: Path, assignments: list[str], message: str
) -> None:
    if "model.weights=null" in assignments:
        text = "\n".join(
            line.replace(", weights: ", ", frame: 48x128} #") if line.startswith("model:") else line
            for line in recipe_file.read_text().splitlines()
        ).replace(", frame: 48x128, frame", ", frame")
        recipe_file = recipe_file.with_name("planned.yaml")
        recipe_file.write_text(text)
        assignments = assignments[1:]
    with pytest.raises(RecipeError, match=message):
        prepared(recipe_file, *assignments)


def test_weights_of_other_classes_need_their_names(recipe_file: Path, tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "four.safetensors", classes=4)
    given = f"model.weights={weights}"
    with pytest.raises(UsageError, match="the weights have 4 classes, not 3"):
        prepared(recipe_file, given)
    with pytest.raises(UsageError, match="unknown class 'cra'"):
        prepared(recipe_file, given, "model.classes=[null, pedestrian, cra, cyclist]")
    named = prepared(recipe_file, given, "model.classes=[null, pedestrian, car, cyclist]")
    assert named.scene.measured.label_of == (None, 0, 1, 2)


def test_damaged_and_foreign_weights_are_refused(recipe_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(MaskvdError, match="no detector of maskvd"):
        prepared(recipe_file, f"model.weights={path}")


def test_what_disturbed_a_session_is_kept_and_told(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskvd_cli.machine import device

    monkeypatch.setattr(device, "gpu_reasons", lambda device: 0x4)  # type: ignore[misc]
    made = sweep_once(recipe_file, tmp_path, *TIMED)
    for record in made.measured:
        assert "the GPU was slowed down: power limit" in record.known_details.disturbances
    report = read_report(made.run)
    assert len(report.disturbed) == 1
    assert "Latency was disturbed: the GPU was slowed down: power limit" in to_markdown(report)


def test_a_failing_method_costs_only_its_own_latency(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskvd_cli.methods.maskvd import MaskVD

    choose = MaskVD.choose

    def broken(self: MaskVD, frame: Any) -> Any:
        if self.params.static_keep_rate == 0.2:
            raise ZeroDivisionError("a bug")
        return choose(self, frame)

    monkeypatch.setattr(MaskVD, "choose", broken)
    made = sweep_once(recipe_file, tmp_path, *TIMED)
    assert [(r.status, r.failure and r.failure.kind) for r in made.measured] == [
        ("ok", None), ("ok", None), ("failed", "ZeroDivisionError"),
    ]  # fmt: skip
    assert len(made.unmeasured) == 1
    row = read_report(made.run).rows.iloc[2]
    assert row["error"] == "latency: a bug"
    monkeypatch.undo()
    again = sweep_once(recipe_file, tmp_path, *TIMED, retry_failed=True)
    assert [record.status for record in again.measured] == ["ok"]


def test_a_killed_sweep_goes_on_where_it_was(recipe_file: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    command = [sys.executable, "-m", "maskvd_cli", "sweep", str(recipe_file), "--results",
               str(results), "--quiet", "--set", "metrics=[accuracy, memory]",
               "--set", FEW]  # fmt: skip
    killed = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not list(results.glob("*/*/points/*.json")):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (run,) = [Run(path.parent) for path in results.glob("*/*/plan.json")]
    before = {path: path.read_bytes() for path in run.folder.rglob("points/*.json")}
    assert before
    done = sweep_once(recipe_file, results, "metrics=[accuracy, memory]", FEW)
    assert done.run == run
    assert len(before) + len(done.ran) == 3
    assert all(path.read_bytes() == content for path, content in before.items())
    assert len(read_report(run).rows["map50"].dropna()) == 3
    assert json.loads((run.folder / "plan.json").read_text())["measure"]["metrics"]


def test_heads_and_classes_are_what_the_weights_say(recipe_file: Path, tmp_path: Path) -> None:
    heads = HeadArch(
        classes=2, channels=16, hidden=32, anchor_sizes=(8.0, 16.0, 32.0, 64.0, 128.0),
        score_floor=0.2,
    )  # fmt: skip
    detector = Detector(get_arch("vitdet-ti"), heads, Size(64, 128))
    said = {"heads": json.dumps(asdict(heads)), "classes": json.dumps(["cyclist", "car"])}
    path = tmp_path / "w.safetensors"
    save(path, detector.state_dict(), said)
    weights = prepared(recipe_file, f"model.weights={path}").scene.measured
    assert weights.shape == heads
    assert weights.label_of == (2, 1)
