"""Two runs compared: planted changes are found, chance is not, what cannot be compared is said."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from maskvd_cli.compare.changes import Change, Limit, Verdict
from maskvd_cli.compare.comparison import Comparison, compare, open_pairs
from maskvd_cli.compare.conditions import KINDS
from maskvd_cli.compare.table import print_comparison, summary
from maskvd_cli.compare.text import COLUMNS, to_csv, to_json, to_markdown
from maskvd_cli.core.errors import UsageError
from maskvd_cli.store.measured import StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.sealed import sealed_text

from . import compared_runs as made

FAST, SLOW = "maskvd period=16", "maskvd period=8"
TIMES = {"dense": (100.0, 100.0), SLOW: (105.0, 40.0), FAST: (105.0, 30.0)}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made.write_measured(tmp_path_factory.mktemp("old") / "a", made.Spec())


def limit(text: str) -> Limit:
    """Read a limit of runs of which every plan has today's quantities."""
    return Limit.parse(text, [made.plan_of(made.Spec())])


def against(old: Run, tmp_path: Path, **changes: Any) -> Comparison:
    changes = {"seed": 1, **changes}
    return compare(open_pairs(old, made.write_measured(tmp_path / "b", made.Spec(**changes))))


def change(comparison: Comparison, label: str, metric: str) -> Change:
    (row,) = [row for row in comparison.rows if row.label == label]
    return next(change for change in row.changes if change.metric.name == metric)


def verdicts(comparison: Comparison) -> set[Verdict]:
    return {change.verdict for row in comparison.rows for change in row.changes}


def test_a_run_against_itself_is_all_noise(old: Run) -> None:
    comparison = compare(open_pairs(old, old))
    assert verdicts(comparison) == {Verdict.SAME, Verdict.NOISE}
    assert change(comparison, FAST, "latency").ratio == 1.0
    assert not comparison.damaged


def test_the_same_measured_again_is_noise(old: Run, tmp_path: Path) -> None:
    comparison = against(old, tmp_path)
    assert verdicts(comparison) == {Verdict.SAME, Verdict.NOISE}
    found = change(comparison, FAST, "latency")
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1.0 < found.high


def test_a_point_that_is_20_percent_slower_is_found_and_no_other(old: Run, tmp_path: Path) -> None:
    times = {**TIMES, FAST: (126.0, 36.0)}
    comparison = against(old, tmp_path, times=times)
    found = change(comparison, FAST, "latency")
    assert found.verdict is Verdict.REGRESSION
    assert found.percent == pytest.approx(20, abs=3)
    assert found.low is not None
    assert found.high is not None
    assert 1.1 < found.low < found.high < 1.3
    assert change(comparison, FAST, "latency_mean_ms").verdict is Verdict.REGRESSION
    assert change(comparison, SLOW, "latency").verdict is Verdict.NOISE


def test_full_and_masked_frames_weigh_as_in_all_of_the_data(old: Run, tmp_path: Path) -> None:
    comparison = against(old, tmp_path, times={**TIMES, FAST: (210.0, 30.0)})
    mean = change(comparison, FAST, "latency_mean_ms")
    assert mean.new == pytest.approx(0.125 * 210 + 0.875 * 30, rel=0.03)
    assert mean.low is not None
    assert mean.high is not None
    assert mean.ratio is not None
    assert mean.low < mean.ratio < mean.high


def test_drift_of_the_machine_is_no_regression_of_points(old: Run, tmp_path: Path) -> None:
    comparison = against(old, tmp_path, drift=1.3)
    assert change(comparison, FAST, "latency").verdict is Verdict.NOISE
    raw = change(comparison, FAST, "latency_mean_ms")
    assert raw.verdict is Verdict.REGRESSION
    assert raw.percent == pytest.approx(30, abs=3)
    (note,) = [note for note in comparison.notes if note.startswith("dense: raw times")]
    assert "latency_ms" in note
    assert not comparison.exceeding([limit("latency:5%")])
    labels = {row.label for row, _, _ in comparison.exceeding([limit("latency_ms:5%")])}
    assert labels == set(TIMES)


def test_a_change_below_what_dense_showed_against_itself_is_noise(old: Run, tmp_path: Path) -> None:
    times = {**TIMES, FAST: (111.3, 31.8)}
    assert change(against(old, tmp_path, times=times), FAST, "latency").verdict is (
        Verdict.REGRESSION
    )
    run = Run(tmp_path / "b")
    for path in run.folder.glob("measured/latency/*.json"):
        stored = json.loads(path.read_text())
        stored["details"]["control"] = {"value": 0.97, "low": 0.9, "high": 1.01}
        path.write_bytes(sealed_text(stored))
    comparison = compare(open_pairs(old, run))
    assert change(comparison, FAST, "latency").verdict is Verdict.NOISE
    assert any("up to 11.1 %" in note for note in comparison.notes)


def test_what_disturbed_a_run_is_told(old: Run, tmp_path: Path) -> None:
    against(old, tmp_path)
    run = Run(tmp_path / "b")
    for path in run.folder.glob("measured/latency/*.json"):
        stored = json.loads(path.read_text())
        stored["details"]["disturbances"] = ["other work took 20% of the processors' time"]
        path.write_bytes(sealed_text(stored))
    told = [note for note in compare(open_pairs(old, run)).notes if "disturbed" in note]
    assert told == ["Latency of B was disturbed: other work took 20% of the processors' time."]


def test_a_loss_of_map50_is_found_with_a_paired_interval(old: Run, tmp_path: Path) -> None:
    comparison = against(old, tmp_path, found={FAST: 0.7})
    found = change(comparison, FAST, "map50")
    assert found.verdict is Verdict.REGRESSION
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.difference < found.high < -5
    assert found.difference == pytest.approx(-20, abs=6)
    assert change(comparison, SLOW, "map50").verdict is Verdict.SAME


def test_a_change_of_map50_on_one_clip_alone_is_noise(old: Run, tmp_path: Path) -> None:
    run = made.write_measured(tmp_path / "b", made.Spec(seed=1))
    key = f"{FAST.replace(' ', '-')}-k"
    stored = run.predictions(key)
    kept = [row for row in stored["results"] if row["image_id"] != 1]
    record, accuracy = run.point(key), run.measured("accuracy", key)
    assert record
    assert accuracy
    run.write_point(record, None, {**stored, "results": kept})
    lower = StoredEstimate(value=accuracy.values["map50"].value - 1.0)
    changed = {
        "values": {**accuracy.values, "map50": lower},
        "details": {**accuracy.details, "left_out": []},
    }
    run.write_measured(accuracy.model_copy(update=changed))
    assert change(compare(open_pairs(old, run)), FAST, "map50").verdict is Verdict.NOISE


def test_without_predictions_map50_has_no_interval_and_cannot_fail(
    old: Run, tmp_path: Path
) -> None:
    made.write_measured(tmp_path / "b", made.Spec(found={FAST: 0.7}))
    shutil.rmtree(tmp_path / "b" / "predictions")
    comparison = compare(open_pairs(old, Run(tmp_path / "b")))
    found = change(comparison, FAST, "map50")
    assert found.verdict is Verdict.NO_INTERVAL
    assert found.difference < -10
    assert not comparison.exceeding([limit("map50:0.5")])
    assert comparison.unjudged(limit("map50:0.5")) == 1


def test_counts_and_memory_have_no_noise(old: Run, tmp_path: Path) -> None:
    comparison = against(
        old, tmp_path, peak={FAST: 50.5},
        metrics={FAST: {"gmacs": 1.5 * (1 + 1e-12), "tokens": 101.0, "state_bytes": 1_000_000}},
    )  # fmt: skip
    assert change(comparison, FAST, "gmacs").verdict is Verdict.SAME
    assert change(comparison, FAST, "tokens").verdict is Verdict.REGRESSION
    assert change(comparison, FAST, "tokens").percent == pytest.approx(1.0)
    assert change(comparison, FAST, "state_mb").verdict is Verdict.IMPROVEMENT
    assert change(comparison, FAST, "peak_mib").difference == pytest.approx(0.5)


def test_points_are_paired_by_name_though_their_keys_differ(old: Run, tmp_path: Path) -> None:
    comparison = against(
        old, tmp_path, suffix="other", revision=2, setting={"measured": {"weights": "b" * 64}}
    )
    assert [row.state for row in comparison.rows] == ["both"] * 3
    notes = "\n".join(comparison.notes)
    assert "Measured.weights is aaaaaaaaaaaa in A and bbbbbbbbbbbb in B (3 points)." in notes
    assert "Revision of maskvd is 1 in A and 2 in B (2 points)." in notes
    assert "3 points have other keys in B" in notes


def test_points_whose_labels_name_other_parameters_are_paired_by_parameters(
    old: Run, tmp_path: Path
) -> None:
    run = made.write_measured(tmp_path / "b", made.Spec(seed=1))
    plan = json.loads((run.folder / "plan.json").read_text())
    plan["points"][2]["label"] = "maskvd"
    plan["points"][2]["key"] = "maskvd-k"
    (run.folder / "plan.json").write_bytes(sealed_text(plan))
    rows = compare(open_pairs(old, run)).rows
    assert [row.label for row in rows] == ["dense", SLOW, "maskvd"]
    assert rows[2].pair.a is not None
    assert rows[2].pair.a.planned.label == FAST


def test_points_of_one_run_alone_failed_and_pending_ones_are_rows(old: Run, tmp_path: Path) -> None:
    times = {"dense": (100.0, 100.0), SLOW: (105.0, 40.0), "maskvd period=4": (105.0, 50.0)}
    comparison = against(old, tmp_path, times=times, failing=(SLOW,), pending=("dense",))
    states = {row.label: row.state for row in comparison.rows}
    assert states == {
        "dense": "pending in B", SLOW: "failed in B", FAST: "only in A",
        "maskvd period=4": "only in B",
    }  # fmt: skip
    assert [row.label for row in comparison.newly_failed()] == [SLOW]
    assert summary(comparison).startswith("no point compared; 1 pending in B")
    assert "\\[it\\] broke" not in to_markdown(comparison)
    assert "\\[it] broke" in to_markdown(comparison)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("dataset", {"setting": {"dataset": {"split": "train"}}}),
        ("dataset", {"setting": {"dataset": {"fingerprint": "1" * 64}}}),
        ("protocol", {"setting": {"dataset": {"protocol": "maskvd-paper"}}}),
        ("subset", {"setting": {"subset": {"clips": 2, "frames": None, "smoke": False}}}),
        ("detections", {"setting": {"detections": "labels"}}),
        ("precision", {"setting": {"measured": {"precision": "float16"}}}),
        ("precision", {"environment": {"float32_products": "high"}}),
        ("hardware", {"environment": {"processor": "Another CPU"}}),
        ("hardware", {"environment": {"threads": 2}}),
        ("hardware", {"environment": {"gpu": "A GPU"}}),
        ("hardware", {"setting": {"measured": {"device": "cuda"}}}),
    ],
)
def test_what_forbids_to_compare(
    kind: str, changes: dict[str, Any], old: Run, tmp_path: Path
) -> None:
    opened = open_pairs(old, made.write_measured(tmp_path / "b", made.Spec(seed=1, **changes)))
    assert [reason.kind for reason in opened.forbidding(())] == [kind]
    assert [reason.kind for reason in opened.forbidding(set(KINDS) - {kind})] == [kind]
    assert opened.forbidding((kind,)) == []


def test_on_other_hardware_latency_has_no_verdict(old: Run, tmp_path: Path) -> None:
    times = {**TIMES, FAST: (210.0, 60.0)}
    comparison = against(old, tmp_path, times=times, environment={"cores": 64})
    for metric in ("latency", "latency_mean_ms", "latency_median_ms"):
        assert change(comparison, FAST, metric).verdict is Verdict.NOT_COMPARABLE
    assert not comparison.exceeding([limit("latency:5%"), limit("latency_ms:5%")])
    assert any("different hardware" in note for note in comparison.notes)


def test_other_software_is_a_note(old: Run, tmp_path: Path) -> None:
    comparison = against(old, tmp_path, environment={"packages": {"torch": "2.16.0"}})
    assert "Software differs (A -> B): torch 2.15.0 -> 2.16.0." in comparison.notes


@pytest.mark.parametrize("damage", [b"PAR1 and then nothing", b""])
def test_damaged_samples_leave_the_stored_speedups(damage: bytes, old: Run, tmp_path: Path) -> None:
    made.write_measured(tmp_path / "b", made.Spec(seed=1, times={**TIMES, FAST: (150.0, 45.0)}))
    (tmp_path / "b" / "measured" / "latency" / f"session-{1:012x}.parquet").write_bytes(damage)
    comparison = compare(open_pairs(old, Run(tmp_path / "b")))
    (problem,) = comparison.damaged
    assert "session-000000000001.parquet" in problem
    found = change(comparison, FAST, "latency")
    assert found.verdict is Verdict.REGRESSION
    assert "no raw samples" in found.basis
    assert change(comparison, FAST, "latency_mean_ms").verdict is Verdict.NO_INTERVAL


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("points/maskvd-period=16-k.json", b'{"schema": 4'),
        ("measured/latency/maskvd-period=16-k.json", b"[]"),
        ("predictions/maskvd-period=16-k.json.gz", b"no gzip"),
        ("truth.json.gz", b"no gzip"),
    ],
)
def test_damaged_files_are_named_and_the_rest_is_compared(
    name: str, damage: bytes, old: Run, tmp_path: Path
) -> None:
    made.write_measured(tmp_path / "b", made.Spec(seed=1, found={FAST: 0.8}))
    for path in (tmp_path / "b" / "measured" / "accuracy").iterdir():
        # Then the stored outputs are needed.
        content = json.loads(path.read_text())
        content["details"]["left_out"] = []
        path.write_bytes(sealed_text(content))
    (tmp_path / "b" / name).write_bytes(damage)
    comparison = compare(open_pairs(old, Run(tmp_path / "b")))
    (problem,) = comparison.damaged
    assert name in problem
    assert change(comparison, SLOW, "latency").verdict is Verdict.NOISE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("speed:5%", "unknown metric 'speed'"),
        ("latency", "'' is no limit"),
        ("map50:-1", "'-1' is no limit"),
        ("gmacs:nan", "'nan' is no limit"),
        ("gmacs:5%%", "'5%%' is no limit"),
        ("latency:5", "its limit is in %"),
    ],
)
def test_limits_that_cannot_be_read_are_told_with_examples(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match="latency:5%") as error:
        limit(text)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("text", "exceeded"),
    [("tokens:0.9%", True), ("tokens:1.1%", False), ("tokens:0.9", True), ("tokens:1.1", False),
     ("state:0", False), ("gmacs:0", False), ("map50:10", True), ("map50:40", False)],
)  # fmt: skip
def test_limits(text: str, exceeded: bool, old: Run, tmp_path: Path) -> None:
    comparison = against(
        old, tmp_path, found={FAST: 0.7}, metrics={FAST: {"tokens": 101.0, "state_bytes": 1}}
    )
    assert bool(comparison.exceeding([limit(text)])) is exceeded


def printed(comparison: Comparison, width: int, *, every: bool = False) -> str:
    text = io.StringIO()
    print_comparison(comparison, Console(file=text, width=width), every=every)
    return text.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_fits_the_terminal(width: int, old: Run, tmp_path: Path) -> None:
    comparison = against(old, tmp_path, times={**TIMES, FAST: (126.0, 36.0)})
    text = printed(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "regression" in text
    assert "slower" in text
    table, missing, rest = text.partition("left out: ")
    assert ("95 % interval" in table, bool(missing)) == (width == 200, width < 200)
    if width < 200:
        names = {60: "A, B, 95 % interval, by", 80: "95 % interval, by"}[width]
        assert " ".join(rest.split()).startswith(f"{names}; a wider terminal or -o FILE.md shows")
    assert bool(re.search(r"metric +A +B +change", text)) == (width > 60)


def test_values_that_are_the_same_are_shown_on_demand(old: Run) -> None:
    comparison = compare(open_pairs(old, old))
    assert "GMACs" not in printed(comparison, 120)
    assert "--all shows" in printed(comparison, 120)
    assert "GMACs" in printed(comparison, 120, every=True)


def test_exports(old: Run, tmp_path: Path) -> None:
    comparison = against(old, tmp_path, times={**TIMES, "maskvd period=2": (1.0, 1.0)})
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert tuple(rows[0]) == COLUMNS
    assert rows[-1]["state"] == "only in B"
    assert rows[-1]["metric"] == ""
    content = json.loads(to_json(comparison), parse_constant=pytest.fail)
    assert len(content["rows"]) == len(rows)
    (row,) = [r for r in content["rows"] if (r["label"], r["metric"]) == (FAST, "latency")]
    assert row["verdict"] == "within noise"
    assert row["ratio"] == pytest.approx(row["old"] / row["new"])
    table = [line for line in to_markdown(comparison).splitlines() if line.startswith("|")]
    assert len(table) == len(rows) + 2
    assert len({line.count(" | ") for line in [table[0], *table[2:]]}) == 1


def test_comparing_needs_torch_for_predictions_that_differ_only() -> None:
    code = (
        "import sys; from maskvd_cli.compare import comparison, text as comparison_text; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
