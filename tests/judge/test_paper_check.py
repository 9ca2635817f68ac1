"""Reproduced, not reproduced, not comparable: each for the reason that holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from maskvd_cli.judge.facts import facts
from maskvd_cli.judge.paper_check import PaperCheck, grouped, paper_checks, tally
from maskvd_cli.judge.published import PaperTable, matches
from maskvd_cli.judge.rows import Report

from .measured_report import DENSE_MS, Measured, a_setting, times
from .test_report import (
    ENVIRONMENT,
    MASKVD,
    VID,
    dense_on_vid,
    eventful,
    metrics,
    record,
    report_of,
)

GPU = {**ENVIRONMENT, "gpu": "NVIDIA RTX A6000"}
ON_GPU = {"device": "cuda"}


def check_of(report: Report, quantity: str, key: str = "a") -> PaperCheck:
    (found,) = [c for c in paper_checks(report) if (c.key, c.quantity) == (key, quantity)]
    return found


@pytest.mark.parametrize(
    ("tokens", "verdict"),
    [
        (1035.0, "reproduced"), (975.0, "reproduced"),
        (1036.0, "not reproduced"), (974.0, "not reproduced"),
    ],
)  # fmt: skip
def test_tokens_are_reproduced_within_3_percent_of_1005(
    tokens: float, verdict: str, tmp_path: Path
) -> None:
    check = check_of(report_of(tmp_path, record("a", metrics(tokens=tokens))), "tokens")
    assert (check.ours, check.theirs, check.verdict) == (tokens, 1005, verdict)
    assert check.deviation_percent == pytest.approx(100 * (tokens / 1005 - 1))
    assert check.reason == f"{'within' if verdict == 'reproduced' else 'beyond'} 3 %"
    assert (check.table, check.label) == ("Table 1", "a")


@pytest.mark.parametrize("gmacs", [110.75, 120.0])
def test_gmacs_are_compared_under_the_papers_counter(gmacs: float, tmp_path: Path) -> None:
    report = report_of(tmp_path, record("a", metrics(gmacs=1.0, gmacs_published=gmacs)))
    expected = "reproduced" if gmacs == 110.75 else "not reproduced"
    assert check_of(report, "GMACs").verdict == expected


def test_published_slips_are_named(tmp_path: Path) -> None:
    dense = record("a", metrics(gmacs_published=174.495), method="dense", params={"pool": 1})
    check = check_of(report_of(tmp_path, dense), "GMACs")
    assert (check.theirs, check.verdict) == (174.93, "reproduced")
    assert "published slip: 174.93 where the paper's own counter gives 174.495" in check.reason


@pytest.mark.parametrize("at_mean", [98.9, None])
def test_without_windows_the_counter_is_evaluated_at_the_mean(
    at_mean: float | None, tmp_path: Path
) -> None:
    made = Measured().point(
        "a", setting=_non_windowed(), params={**MASKVD, "version": None, "period": 16},
        counted={"gmacs_published": 150.0, "gmacs_published_at_mean_tokens": at_mean},
    )  # fmt: skip
    check = check_of(made.report(tmp_path), "GMACs")
    assert "published slip: the text's 4.8 times fewer FLOPs" in check.reason
    if at_mean is None:
        assert (check.ours, check.verdict) == (None, "not comparable")
        assert check.reason.startswith("other counter")
    else:
        assert (check.ours, check.verdict) == (98.9, "reproduced")


def _non_windowed() -> dict[str, Any]:
    made = a_setting("vitdet-b-global")
    return {**made, "model": {**made["model"], "backbone": "non-windowed"}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"counted": {"clips": 8, "frames": 480}}, "8 clips and 480 frames, not 21 and 4009"),
        ({"setting": a_setting("vitdet-ti")}, "model vitdet-ti, not vitdet-b"),
        ({"setting": {**a_setting(), "heatmap": {**a_setting()["heatmap"], "align": "image"}}},
         "another heatmap (align)"),
        ({"setting": a_setting(subset={"clips": 2})}, "SUBSET (first 2 clips)"),
    ],
)  # fmt: skip
def test_other_data_is_not_comparable(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    made = Measured().point("a", map50=76.0, peak=100.0, **changes).report(tmp_path)
    checks = paper_checks(made)
    assert {check.verdict for check in checks} == {"not comparable"}
    assert {c.reason for c in checks if c.ours is not None} == {reason}
    assert str(tally(checks)).startswith("None of 5 values is comparable")


def test_data_that_was_withheld_is_not_comparable_though_near(tmp_path: Path) -> None:
    heatmap = a_setting()["heatmap"]
    made = record(
        "a", metrics(clips=639, frames=176126, tokens=952.0),
        setting={**VID, "heatmap": heatmap},
        params={**MASKVD, "period": 4, "static_keep_rate": 0.3},
    )  # fmt: skip
    check = check_of(report_of(tmp_path, made), "tokens")
    assert (check.verdict, check.deviation_percent) == ("not comparable", 0.0)
    assert check.reason.startswith("withheld: the paper's heatmap of ImageNet VID")
    dense = check_of(report_of(tmp_path / "2", dense_on_vid("a")), "GMACs")
    assert dense.verdict == "reproduced"


def test_values_that_a_paper_does_not_print_are_withheld(tmp_path: Path) -> None:
    report = report_of(tmp_path, eventful("a"))
    assert check_of(report, "GMACs").verdict == "reproduced"
    tokens = check_of(report, "tokens")
    assert (tokens.theirs, tokens.deviation_percent) == (None, None)
    assert (tokens.verdict, tokens.reason.split(":")[0]) == ("not comparable", "withheld")


def test_keep_rates_are_compared_where_the_paper_prints_no_tokens(tmp_path: Path) -> None:
    params = {**MASKVD, "mask": "static", "period": 16, "static_keep_rate": 0.156}
    report = report_of(tmp_path, record("a", metrics(keep_rate=0.2108), params=params))
    check = check_of(report, "keep rate")
    assert (check.table, check.verdict) == ("Table 2", "reproduced")
    assert "caption's k_s = 0.1" in check.reason
    assert "keep rate" not in {
        c.quantity for c in paper_checks(report_of(tmp_path / "2", record("a", metrics())))
    }


@pytest.mark.parametrize(
    ("map50", "verdict"), [(75.6, "reproduced"), (75.5, "not reproduced"), (76.6, "not reproduced")]
)
def test_map50_is_reproduced_within_half_a_point_of_76_04(
    map50: float, verdict: str, tmp_path: Path
) -> None:
    check = check_of(Measured().point("a", map50=map50).report(tmp_path), "mAP50")
    assert check.verdict == verdict
    assert check.reason.endswith("0.5 points")


@pytest.mark.parametrize(
    ("environment", "changes", "verdict", "reason"),
    [
        (GPU, ON_GPU, "reproduced", "within 10 %"),
        (ENVIRONMENT, {"device": "cpu"}, "not comparable", "other hardware: a CPU, not RTX A6000"),
        ({**GPU, "gpu": "H100"}, ON_GPU, "not comparable", "other hardware: H100, not RTX A6000"),
        (GPU, {**ON_GPU, "precision": "float16"}, "not comparable", "other precision: float16"),
        (GPU, {**ON_GPU, "weights": "random"}, "not comparable", "random weights: other proposals"),
    ],
)  # fmt: skip
def test_latency_is_compared_on_the_papers_hardware_alone(
    environment: dict[str, Any], changes: dict[str, Any], verdict: str, reason: str, tmp_path: Path
) -> None:
    made = Measured(environment).point("a", parts=times(45.5), setting=a_setting(**changes))
    check = check_of(made.report(tmp_path), "latency ms")
    assert (check.ours, check.theirs) == (pytest.approx(45.5), 45.43)
    assert check.verdict == verdict
    assert check.reason.startswith(reason)


@pytest.mark.parametrize(
    ("total", "peak", "verdict"), [(44.0, 1300.0, "reproduced"), (60.0, 1000.0, "not reproduced")]
)
def test_latency_and_peak_memory_have_tolerances_of_their_own(
    total: float, peak: float, verdict: str, tmp_path: Path
) -> None:
    made = Measured(GPU).point("a", parts=times(total), peak=peak, setting=a_setting(**ON_GPU))
    report = made.report(tmp_path)
    assert {check_of(report, name).verdict for name in ("latency ms", "peak MiB")} == {verdict}


def test_peaks_of_another_counter_are_not_comparable(tmp_path: Path) -> None:
    made = Measured(GPU).point("a", peak=1345.0, peak_by="sum", setting=a_setting(**ON_GPU))
    check = check_of(made.report(tmp_path), "peak MiB")
    assert check.reason == "other counter: sum, not cuda-max-allocated"


def test_random_weights_have_no_map50_to_compare(tmp_path: Path) -> None:
    made = Measured().point("a", parts=DENSE_MS, setting=a_setting(weights="random"))
    check = check_of(made.report(tmp_path), "mAP50")
    assert (check.ours, check.theirs, check.verdict) == (None, 76.04, "not comparable")
    assert check.reason == "random weights know nothing"


def test_planned_points_are_checked_in_what_they_have_and_the_rest_is_listed(
    tmp_path: Path,
) -> None:
    report = report_of(tmp_path, record("a", metrics()), record("b", None), pending=1)
    checks = paper_checks(report)
    assert {check.key for check in checks} == {"a"}
    assert [(check.quantity, check.theirs, check.verdict) for check in checks] == [
        ("tokens", 1005, "reproduced"), ("GMACs", 110.75, "reproduced"),
        ("mAP50", 76.04, "not comparable"), ("latency ms", 45.43, "not comparable"),
        ("peak MiB", 1345, "not comparable"),
    ]  # fmt: skip
    assert {check.reason for check in checks[2:]} == {"planned, so that nothing was measured"}
    assert tally(checks) == (
        "2 of 2 comparable values of MaskVD (WACV 2025, arXiv 2407.12067), Table 1 are reproduced; "
        "3 more are not comparable."
    )


def test_tables_with_commas_in_their_names_are_parted_by_semicolons(tmp_path: Path) -> None:
    one = paper_checks(report_of(tmp_path, record("a", metrics())))[0]
    parts = [replace(one, table=name) for name in ("README, COCO, T", "README, COCO, S")]
    assert f"of {one.paper}, README, COCO, T; README, COCO, S are" in str(tally(tuple(parts)))


def test_points_that_no_paper_published_have_no_check(tmp_path: Path) -> None:
    report = report_of(tmp_path, record("a", metrics(), params={**MASKVD, "period": 9}))
    assert paper_checks(report) == ()
    assert tally(()) is None


def test_what_is_not_comparable_is_told_once_for_all_points(tmp_path: Path) -> None:
    made = Measured().point("a", parts=times(80.0)).point("b", parts=times(70.0))
    checks = paper_checks(made.report(tmp_path))
    assert "latency ms of 2 points: other hardware: a CPU, not RTX A6000." in grouped(checks)
    assert str(tally(checks)).endswith("are reproduced; 6 more are not comparable.")


@pytest.mark.parametrize(("stride", "theirs"), [(None, 82.1), (4, 79.3), (2, None)])
def test_of_sampled_clips_the_table_of_that_sampling_answers(
    stride: int | None, theirs: float | None, tmp_path: Path
) -> None:
    """How many frames are left of every fourth is not printed, so that any number may be."""
    dataset = {name: value for name, value in VID["dataset"].items() if name != "statistics"}  # type: ignore[union-attr]
    sampled = {} if stride is None else {"frame_stride": stride}
    frames = 176126 if stride is None else 44_000
    params = {
        "k": None, "keep_rate": 0.111, "period": 8, "radius": 1, "score_threshold": 0.1,
        "fusion": "rms", "rollout": "matvec",
    }  # fmt: skip
    made = record(
        "a", metrics(clips=639, frames=frames), method="rgtp", params=params,
        setting={**VID, "dataset": {**dataset, **sampled}},
    )  # fmt: skip
    report = report_of(tmp_path, made)
    (told,) = [text for name, text in facts(report) if name == "dataset"]
    assert ("one frame in 4" in told) == (stride == 4)
    match = report.published.get("a")
    assert (None if match is None else match.row.values["map50"]) == theirs
    if match is not None:
        assert match.same_data


def test_a_table_of_another_task_is_told_and_never_compared(tmp_path: Path) -> None:
    """Its row stands beside every point of the method, whatever the dataset and the model."""
    made = record("a", metrics(keep_rate=0.515), method="vpp", params={"keep_rate": 0.7})
    report = report_of(tmp_path, made)
    checks = paper_checks(report)
    assert [(check.quantity, check.ours, check.theirs) for check in checks] == [
        ("keep rate", 0.515, 0.515), ("keep rate", 0.515, 0.527), ("track AP", None, 49.8),
        ("mask AP", None, 51.3), ("track AP", None, 42.3), ("mask AP", None, 45.7),
    ]  # fmt: skip
    assert {check.verdict for check in checks} == {"not comparable"}
    for check in checks[:2]:
        assert check.reason.startswith("instance masks by Mask2Former on ViT-Adapter")
    assert [check.table.rpartition(" ")[2] for check in checks] == [
        "Small", "Tiny", "Small", "Small", "Tiny", "Tiny",
    ]  # fmt: skip
    for part in ("dense Small model", "dense Tiny model"):
        assert any(part in note for note in report.notes)
    assert report.rows["paper_table"].isna().all(), "no column shows what cannot be compared"
    other = record("a", metrics(), method="vpp", params={"keep_rate": 0.5})
    assert paper_checks(report_of(tmp_path / "2", other)) == ()


def test_a_table_has_a_setting_or_a_reason() -> None:
    rows = [{"point": {"method": "x"}, "values": {"map50": 1.0}}]
    with pytest.raises(ValidationError, match="or the reason in incomparable"):
        PaperTable.model_validate({"table": "t", "rows": rows})
    told = {"table": "t", "rows": rows, "incomparable": "another task"}
    assert PaperTable.model_validate(told).data is None
    with pytest.raises(ValidationError, match="or the reason in incomparable"):
        PaperTable.model_validate({**told, "where": {"dataset": "kitti"}, "data": {
            "model": "m", "clips": 1, "frames": 1, "frame": "fit"}})  # fmt: skip


def test_both_tables_of_one_method_are_listed(tmp_path: Path) -> None:
    """The same point stands in both; none of them can be compared."""
    checks = paper_checks(report_of(tmp_path, record("a", metrics(), method="svit", params={})))
    latencies = [check.theirs for check in checks if check.quantity == "latency ms"]
    assert latencies == [44.80, 63.49]
    assert [check.theirs for check in checks if check.quantity == "mask AP"] == [40.7, 42.5]
    assert {check.verdict for check in checks} == {"not comparable"}


@pytest.mark.parametrize(
    ("r", "top1", "elsewhere"),
    [
        # Tuned at 200 and at 100: the same cost, other accuracy.
        (120, [62.23, 64.51], []),
        (100, [62.91], [("top-1 change without tuning", -10, "section 5")]),
        (50, [59.91], [("GPU ms", 545, "Table 2"), ("CPU ms", 21500, "Table 2")]),
    ],
)
def test_rows_that_a_paper_prints_twice_and_what_it_prints_elsewhere(
    r: int, top1: list[float], elsewhere: list[tuple[str, float, str]]
) -> None:
    params = {
        "policy": "top_r", "r": r, "update": "full", "pool": 1, "gate": "after_ln",
        "av_precision": "full",
    }  # fmt: skip
    dataset = {"name": "epic-kitchens-100", "split": "val", "protocol": "verbs"}
    model = {
        "name": "vivit-b-epic", "input": "320x320", "frame": "320x320", "backbone": "non-windowed"
    }  # fmt: skip
    made = record(
        "a", metrics(), method="eventful", params=params,
        setting={**VID, "dataset": dataset, "model": {**VID["model"], **model}},
    )  # fmt: skip
    (match,) = matches([made])
    assert match is not None
    rows = [match.row, *(other.row for other in match.beside)]
    assert [row.values["top1"] for row in rows] == top1
    assert len({row.values["tmacs_video"] for row in rows}) == 1
    found = [(one.of, one.value, one.table) for row in rows for one in row.elsewhere]
    assert found == elsewhere
