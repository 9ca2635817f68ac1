"""Reports from hand-made result files: rows, papers' values, formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from maskvd_cli.report.console import print_report
from maskvd_cli.report.formats import FORMATS, to_csv, to_json, to_latex, to_markdown
from maskvd_cli.report.published import papers
from maskvd_cli.report.rows import COLUMNS, Report, read_report
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Failure, Metrics, Plan, PlannedPoint, PointRecord

MASKVD = {
    "version": "C", "mask": "combined", "period": 8, "static_keep_rate": 0.5,
    "score_threshold": 0.5, "margin": 0,
}  # fmt: skip
SETTING = {
    "dataset": {
        "name": "kitti", "split": "val-half", "protocol": "maskvd-paper", "fingerprint": "0" * 64,
    },
    "model": {
        "name": "vitdet-b", "backbone": "windowed", "input": "672x672", "frame": "370x672",
    },
    "detections": "labels",
    "seed": 0,
    "heatmap": {
        "split": "train-half", "classes": "all", "canvas": "384x1280", "coordinates": "native",
        "accumulate": "sum", "align": "canvas", "fingerprint": "1" * 64,
    },
}  # fmt: skip
ENVIRONMENT = {
    "command": "maskvd sweep test.yaml", "tool_version": "0.1.0", "git": None, "python": "3.11.7",
    "packages": {"torch": "2.15.0"}, "processor": "A CPU", "cores": 2, "memory_gib": 24.0,
}  # fmt: skip


def metrics(**changes: Any) -> Metrics:
    base: dict[str, Any] = {
        "clips": 21, "frames": 4009, "tokens": 1025.1, "keep_rate": 0.581, "keep_rate_real": 0.9,
        "full_frame_share": 0.15, "gmacs": 110.9, "gmacs_published": 111.857,
        "gmacs_published_at_mean_tokens": 111.5, "cost_curve": (24.491884032, 0.085036032, 0.0),
        "state_bytes": 200_503_296,
    }  # fmt: skip
    return Metrics(**{**base, **changes})


def record(key: str, made: Metrics | None, **changes: Any) -> PointRecord:
    base: dict[str, Any] = {
        "key": key, "label": key, "status": "ok" if made else "failed", "method": "maskvd",
        "revision": 1, "params": MASKVD, "setting": SETTING, "environment": ENVIRONMENT,
        "metrics": made, "failure": None if made else Failure(kind="X", message="=1+1 | broke"),
        "finished": "2026-01-01T00:00:00Z", "seconds": 0.1, "tool_version": "0.1.0",
    }  # fmt: skip
    return PointRecord(**{**base, **changes})


def write_run(folder: Path, records: list[PointRecord], pending: int = 0) -> Run:
    run = Run(folder)
    planned = [
        PlannedPoint(key=made.key, label=made.label, method=made.method, params=made.params)
        for made in records
    ]
    planned += [
        PlannedPoint(key=f"p{i}", label=f"p{i}", method="maskvd", params=MASKVD)
        for i in range(pending)
    ]
    plan = Plan(
        recipe="test_recipe", description="a [test]", recipe_file="test.yaml", assignments=[],
        created="2026-01-01T00:00:00Z", detections="labels", detections_reason="said so",
        notes=["1 of 2 boxes was clipped"], points=planned, tool_version="0.1.0",
    )  # fmt: skip
    run.write_plan(plan, b"schema: 1\n", ENVIRONMENT)
    for made in records:
        run.write_point(made, None)
    return run


def report_of(tmp_path: Path, *records: PointRecord, pending: int = 0) -> Report:
    return read_report(write_run(tmp_path / "run", list(records), pending))


def parsed(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(report))))


def test_csv_columns_are_pinned(tmp_path: Path) -> None:
    header = to_csv(report_of(tmp_path, record("a", metrics()))).splitlines()[0]
    assert header == (
        "method,version,backbone,period,static_keep_rate,tokens,keep_rate,keep_rate_real,"
        "full_frame_share,gmacs,gmacs_published,state_mb,paper_tokens,paper_gmacs,map50,"
        "latency_ms,peak_mib,mask,score_threshold,margin,gmacs_published_at_mean_tokens,"
        "gmacs_at_paper_tokens,tokens_deviation_percent,gmacs_deviation_percent,paper_keep_rate,"
        "paper_map50,paper_latency_ms,paper_peak_mib,paper,paper_table,paper_same_data,clips,"
        "frames,dataset,split,protocol,model,input,detections,seed,recipe,run,label,key,status,"
        "error"
    )


def test_a_row_beside_the_papers_values(tmp_path: Path) -> None:
    (row,) = parsed(report_of(tmp_path, record("a", metrics())))
    assert (row["method"], row["version"], row["backbone"]) == ("maskvd", "C", "windowed")
    assert (row["period"], row["static_keep_rate"]) == ("8", "0.5")
    assert (row["paper_tokens"], row["paper_gmacs"]) == ("1005.0", "110.75")
    assert float(row["tokens_deviation_percent"]) == pytest.approx(2.0)
    assert float(row["gmacs_deviation_percent"]) == pytest.approx(100 * (111.857 / 110.75 - 1))
    assert float(row["gmacs_at_paper_tokens"]) == pytest.approx(109.953, abs=1e-3)
    assert float(row["state_mb"]) == 200.503296
    assert row["paper_map50"] == "76.04"


def test_what_was_not_measured_is_empty_and_never_zero(tmp_path: Path) -> None:
    (row,) = parsed(report_of(tmp_path, record("a", metrics())))
    assert row["map50"] == row["latency_ms"] == row["peak_mib"] == row["error"] == ""


def test_non_windowed_compares_at_the_mean_token_count(tmp_path: Path) -> None:
    plain = {
        **SETTING,
        "model": {**SETTING["model"], "name": "vitdet-b-global", "backbone": "non-windowed"},
    }  # type: ignore[dict-item]
    made = record(
        "a", metrics(gmacs_published_at_mean_tokens=106.353), setting=plain,
        params={**MASKVD, "version": None},
    )  # fmt: skip
    (row,) = parsed(report_of(tmp_path, made))
    assert row["version"] == ""
    assert row["paper_gmacs"] == "105.3"
    assert float(row["gmacs_deviation_percent"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "params",
    [{"period": 9}, {"margin": 4}, {"static_keep_rate": 0.49}, {"score_threshold": 0.4}],
)
def test_points_that_no_paper_published_have_no_paper_values(
    params: dict[str, Any], tmp_path: Path
) -> None:
    (row,) = parsed(report_of(tmp_path, record("a", metrics(), params={**MASKVD, **params})))
    assert row["paper"] == row["paper_tokens"] == row["tokens_deviation_percent"] == ""


def test_other_data_shows_the_papers_values_without_a_deviation(tmp_path: Path) -> None:
    report = report_of(tmp_path, record("a", metrics(clips=8, frames=480)))
    (row,) = parsed(report)
    assert (row["paper_tokens"], row["paper_same_data"]) == ("1005.0", "False")
    assert row["tokens_deviation_percent"] == row["gmacs_deviation_percent"] == ""
    assert "(8 clips, 480 frames) differs" in to_markdown(report)


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("model", {"frame": "fit"}),
        ("heatmap", {"classes": ["Car"]}),
        ("heatmap", {"accumulate": "union"}),
        ("heatmap", {"align": "image"}),
    ],
)
def test_other_settings_have_no_deviation(
    section: str, change: dict[str, Any], tmp_path: Path
) -> None:
    setting = {**SETTING, section: {**SETTING[section], **change}}  # type: ignore[dict-item]
    (row,) = parsed(report_of(tmp_path, record("a", metrics(), setting=setting)))
    assert row["paper_tokens"] == "1005.0"
    assert row["tokens_deviation_percent"] == ""


def test_points_from_another_machine_are_told(tmp_path: Path) -> None:
    other = {**ENVIRONMENT, "processor": "Another CPU", "git": "abc"}
    text = to_markdown(report_of(tmp_path, record("a", metrics(), environment=other)))
    assert "A CPU, 2 cores, 24.0 GiB; Another CPU, 2 cores, 24.0 GiB" in text
    assert "maskvd 0.1.0, Python 3.11.7, torch 2.15.0; maskvd 0.1.0 (git abc)" in text


def test_failed_and_pending_points_are_rows(tmp_path: Path) -> None:
    report = report_of(tmp_path, record("a", metrics()), record("b", None), pending=2)
    rows = parsed(report)
    assert [row["status"] for row in rows] == ["ok", "failed", "pending", "pending"]
    assert rows[1]["tokens"] == rows[2]["tokens"] == ""
    text = to_markdown(report)
    assert "2 of 4 points have not been run yet" in text
    assert "1 of 4 points failed" in text
    assert "=1+1 \\| broke" in text


def test_spreadsheets_get_no_formula(tmp_path: Path) -> None:
    assert parsed(report_of(tmp_path, record("b", None)))[0]["error"] == "'=1+1 | broke"


def test_damaged_points_are_rows_and_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [record("a", metrics()), record("b", metrics())])
    (run.folder / "points" / "b.json").write_text('{"schema": 1')
    report = read_report(run)
    assert parsed(report)[1]["status"] == "failed"
    (problem,) = report.damaged
    assert problem.startswith(f"{run.folder}/points/b.json: damaged result file")


def test_json_rows_have_null_and_no_nan(tmp_path: Path) -> None:
    report = report_of(tmp_path, record("a", metrics()), pending=1)
    content = json.loads(to_json(report), parse_constant=pytest.fail)
    first, second = content["rows"]
    assert list(first) == list(COLUMNS)
    assert first["period"] == 8
    assert first["map50"] is None
    assert second["tokens"] is None
    assert content["facts"]["command"] == "maskvd sweep test.yaml"


def test_markdown_table_is_rectangular_and_tells_where_it_comes_from(tmp_path: Path) -> None:
    text = to_markdown(report_of(tmp_path, record("a", metrics()), record("b", None)))
    table = [line for line in text.splitlines() if line.startswith("|")]
    header = table[0].count("|")
    assert all(line.replace("\\|", "").count("|") == header for line in table[:4])
    assert "| command | maskvd sweep test.yaml |" in text
    assert "| date | 2026-01-01T00:00:00Z |" in text
    assert "| machine | A CPU, 2 cores, 24.0 GiB |" in text
    assert "1 of 2 boxes was clipped" in text


def test_latex_uses_booktabs_and_escapes(tmp_path: Path) -> None:
    text = to_latex(report_of(tmp_path, record("a", metrics())))
    assert r"\toprule" in text
    assert r"k\_s" in text
    assert r"dev. \%" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.count("&") for line in body}) == 1


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_console_table_fits_the_terminal(width: int, tmp_path: Path) -> None:
    report = report_of(tmp_path, record("a", metrics()), record("c", metrics(), params={
        **MASKVD, "static_keep_rate": 0.3}))  # fmt: skip
    out = io.StringIO()
    print_report(report, Console(file=out, width=width))
    table = out.getvalue().split("tokens: kept")[0]
    assert max(len(line) for line in table.splitlines()) <= width
    assert "1025.1" in table
    assert "…" not in table


def test_every_format_handles_a_run_without_any_result(tmp_path: Path) -> None:
    report = report_of(tmp_path, pending=1)
    for serialize in FORMATS.values():
        assert "p0" in serialize(report) or "pending" in serialize(report)
    print_report(report, Console(file=io.StringIO(), width=80))


def test_markup_in_results_is_shown_as_text(tmp_path: Path) -> None:
    out = io.StringIO()
    print_report(report_of(tmp_path, record("a", metrics())), Console(file=out, width=200))
    assert "a [test]" in out.getvalue()


def test_notes_come_with_the_rows_that_they_are_about(tmp_path: Path) -> None:
    masked, dense = record("a", metrics()), record("b", metrics(), method="dense", params={})
    assert "174.93" not in " ".join(report_of(tmp_path / "1", masked).notes)
    assert "174.93" in " ".join(report_of(tmp_path / "2", masked, dense).notes)


def test_table_1_and_2_are_complete() -> None:
    (maskvd,) = [paper for paper in papers() if paper.paper.startswith("MaskVD")]
    sizes = [len(table.rows) for table in maskvd.tables]
    assert sizes == [7, 5, 7, 3, 2]
    gmacs = [row.values.gmacs for table in maskvd.tables for row in table.rows]
    assert sum(value for value in gmacs if value) == pytest.approx(2324.77)
