"""Reports from hand-made result files: rows, papers' values, formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from maskvd_cli.data.benchmarks import FINGERPRINTS
from maskvd_cli.judge.columns import columns_of
from maskvd_cli.judge.published import papers
from maskvd_cli.judge.rows import Report, read_report
from maskvd_cli.render.console import print_report
from maskvd_cli.render.formats import FORMATS, to_csv, to_json, to_latex, to_markdown
from maskvd_cli.render.tables import human_table
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Failure, Metrics, Plan, PlannedPoint, PointRecord
from maskvd_cli.store.sealed import sealed_text

MASKVD = {
    "version": "C", "mask": "combined", "period": 8, "static_keep_rate": 0.5,
    "score_threshold": 0.5, "margin": 0,
}  # fmt: skip
SETTING = {
    "dataset": {
        "name": "kitti", "split": "val-half", "protocol": "maskvd-paper",
        "fingerprint": FINGERPRINTS["kitti", "val-half", "maskvd-paper"],
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
NAMED = {"maskvd": ["version", "period", "static_keep_rate"], "eventful": ["r", "update"]}
EVENTFUL = {
    "policy": "top_r", "r": 768, "threshold": None, "fraction": None, "gate": "after_ln",
    "update": "tokenwise", "pool": 1, "av_precision": "full",
}  # fmt: skip
VID = {
    "dataset": {
        "name": "imagenet-vid", "split": "val", "protocol": "imagenet-vid",
        "statistics": {"clips": 639, "frames": 176126, "classes": 30},
    },
    "model": {
        "name": "vitdet-b", "backbone": "windowed", "input": "672x672", "frame": "fit",
    },
    "detections": "none",
    "seed": 0,
    "heatmap": None,
}  # fmt: skip
ENVIRONMENT = {
    "command": "maskvd sweep test.yaml", "tool_version": "0.1.0", "git": None, "python": "3.11.7",
    "packages": {"torch": "2.15.0"}, "processor": "A CPU", "cores": 2, "memory_gib": 24.0,
}  # fmt: skip


def metrics(**changes: Any) -> Metrics:
    base: dict[str, Any] = {
        "clips": 21, "frames": 4009, "tokens": 1025.1, "keep_rate": 0.581, "keep_rate_real": 0.9,
        "full_frame_share": 0.15, "gmacs": 110.9, "gmacs_published": 111.857,
        "gmacs_detector": 225.9,
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


def write_run(
    folder: Path,
    records: list[PointRecord],
    pending: int = 0,
    environment: dict[str, Any] = ENVIRONMENT,
) -> Run:
    run = Run(folder)
    planned = [
        PlannedPoint(
            key=made.key, label=made.label, method=made.method, params=made.params,
            input=made.setting["model"]["input"], named=NAMED.get(made.method, list(made.params)),
        )
        for made in records
    ]  # fmt: skip
    planned += [
        PlannedPoint(
            key=f"p{i}", label=f"p{i}", method="maskvd", params=MASKVD, input="672x672",
            named=NAMED["maskvd"],
        )
        for i in range(pending)
    ]  # fmt: skip
    plan = Plan(
        recipe="test_recipe", description="a [test]", recipe_file="test.yaml", assignments=[],
        created="2026-01-01T00:00:00Z", detections="labels", detections_reason="said so",
        notes=["1 of 2 boxes was clipped"], points=planned, tool_version="0.1.0",
    )  # fmt: skip
    run.write_plan(plan, b"schema: 1\n", environment)
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
        "error,gmacs_detector,r,update,pool,param_keep_rate,params,paper_gmacs_evaluated,"
        "map,map50_change,map50_change_low,map50_change_high,latency_mean_ms,latency_p90_ms,"
        "latency_full_ms,latency_masked_ms,mask_ms,embed_ms,backbone_ms,head_ms,speedup,"
        "speedup_low,speedup_high,latency_session,peak_measured_by,device,precision,subset,"
        "energy_mj,on_front,dominated_by,older_statistics,other_conditions"
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
    assert list(first) == columns_of(report.legend)
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
    table = out.getvalue().split("tokens: recomputed")[0]
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
    masked, dense = (
        record("a", metrics()),
        record("b", metrics(), method="dense", params={"pool": 1}),
    )
    assert "174.93" not in " ".join(report_of(tmp_path / "1", masked).notes)
    assert "174.93" in " ".join(report_of(tmp_path / "2", masked, dense).notes)


def test_table_1_and_2_are_complete() -> None:
    (maskvd,) = [paper for paper in papers() if paper.paper.startswith("MaskVD")]
    sizes = [len(table.rows) for table in maskvd.tables]
    assert sizes == [7, 5, 7, 3, 2]
    gmacs = [row.values.get("gmacs") for table in maskvd.tables for row in table.rows]
    assert sum(value for value in gmacs if value) == pytest.approx(2324.77)


def eventful(key: str, *, size: str = "672x672", **params: Any) -> PointRecord:
    """A point of vid-table-c: no boxes, no curve, no real tokens."""
    made = metrics(
        clips=639, frames=176126, tokens=771.6, keep_rate=0.437, keep_rate_real=None,
        gmacs_published=90.17, gmacs_published_at_mean_tokens=None, cost_curve=None,
    )  # fmt: skip
    setting = {**VID, "model": {**VID["model"], "input": size}}  # type: ignore[dict-item]
    params = {**EVENTFUL, **params}
    return record(key, made, method="eventful", params=params, setting=setting)


def test_a_row_of_table_c(tmp_path: Path) -> None:
    (row,) = parsed(report_of(tmp_path, eventful("a")))
    assert (row["paper_table"], row["paper_gmacs"], row["paper_map50"]) == (
        "Table C", "90.2", "82.25",
    )  # fmt: skip
    assert row["paper"].startswith("Eventful Transformers")
    assert row["paper_gmacs_evaluated"] == "per-frame"
    assert row["paper_same_data"] == "True"
    assert float(row["gmacs_deviation_percent"]) == pytest.approx(100 * (90.17 / 90.2 - 1))
    for name in ("paper_tokens", "tokens_deviation_percent", "gmacs_at_paper_tokens"):
        assert row[name] == ""
    for name in ("keep_rate_real", "gmacs_published_at_mean_tokens", "period", "param_keep_rate"):
        assert row[name] == ""
    assert (row["r"], row["update"], row["pool"]) == ("768", "tokenwise", "1")
    assert float(row["gmacs_detector"]) == 225.9
    assert json.loads(row["params"]) == EVENTFUL
    assert ": " not in row["params"]


@pytest.mark.parametrize(
    "params",
    [
        {"r": 767},
        {"update": "qk"},
        {"gate": "before_ln"},
        {"policy": "top_fraction", "r": None, "fraction": 0.5},
        {"av_precision": "half"},
    ],
)
def test_gates_that_no_paper_published(params: dict[str, Any], tmp_path: Path) -> None:
    (row,) = parsed(report_of(tmp_path, eventful("a", **params)))
    assert row["paper"] == ""


def test_pooled_rows_are_those_of_the_spatial_tables(tmp_path: Path) -> None:
    pooled = eventful("a", update="full", pool=2)
    larger = eventful("b", size="1024x1024", update="full", pool=2)
    rows = parsed(report_of(tmp_path, pooled, larger))
    assert [(row["paper_table"], row["paper_gmacs"]) for row in rows] == [
        ("Table E", "75.5"), ("Table 1", "96.3"),
    ]  # fmt: skip


def dense_on_vid(key: str, **params: Any) -> PointRecord:
    made = metrics(clips=639, frames=176126, tokens=1764.0, gmacs_published=174.495)
    return record(key, made, method="dense", params={"pool": 1, **params}, setting=VID)


def test_of_several_tables_the_one_of_most_points_answers_for_dense(tmp_path: Path) -> None:
    maskvd = record(
        "m", metrics(clips=639, frames=176126), setting=VID,
        params={**MASKVD, "period": 4, "static_keep_rate": 0.3},
    )  # fmt: skip
    for name, others, expected in (
        ("1", [maskvd, maskvd.model_copy(update={"key": "m2"})], 174.93),
        ("2", [eventful("a"), eventful("b")], 174.5),
    ):
        rows = parsed(report_of(tmp_path / name, dense_on_vid("d"), *others))
        assert float(rows[0]["paper_gmacs"]) == expected
        assert len({row["paper"] for row in rows}) == 1


def test_dense_with_pooling_is_no_published_dense(tmp_path: Path) -> None:
    rows = parsed(report_of(tmp_path, dense_on_vid("a", pool=2), dense_on_vid("b", pool=4)))
    assert [row["paper_gmacs"] for row in rows] == ["159.7", ""]


def human(report: Report) -> list[dict[str, str]]:
    """The rows of the table for people, by header; repeated headers get a number."""
    table = human_table(report)
    headers = [
        f"{header}{table.headers[:i].count(header) or ''}" for i, header in enumerate(table.headers)
    ]
    return [dict(zip(headers, row, strict=True)) for row in table.cells]


def test_parameters_without_a_column_share_one(tmp_path: Path) -> None:
    random = {"version": "C", "period": 8, "keep_rate": 0.3, "seed": 0}
    rows = human(
        report_of(
            tmp_path,
            record("a", metrics()),
            eventful("b"),
            record("c", metrics(), method="random", params=random),
        )
    )
    assert [row["setting"] for row in rows] == [
        "",
        "r=768 update=tokenwise",
        "keep_rate=0.3 seed=0",
    ]
    assert [row["k_s"] for row in rows] == ["0.5", "", ""]
    assert [row["P"] for row in rows] == ["8", "", "8"]
    assert "input" not in rows[0]


def test_without_other_parameters_there_is_no_such_column(tmp_path: Path) -> None:
    report = report_of(tmp_path, record("a", metrics()))
    assert "setting" not in human(report)[0]
    assert "setting:" not in to_markdown(report)


def test_a_column_that_is_not_shown_leaves_its_parameter_to_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NAMED, "maskvd", ["version", "period", "static_keep_rate", "margin"])
    grown = record("a", metrics(), params={**MASKVD, "margin": 16})
    (row,) = human(report_of(tmp_path / "1", grown))
    assert row["setting"] == "margin=16"
    rows = human(report_of(tmp_path / "2", grown, record("b", metrics())))
    assert [row["margin"] for row in rows] == ["16", "0"]
    assert "setting" not in rows[0]


def test_inputs_are_told_where_they_vary(tmp_path: Path) -> None:
    report = report_of(tmp_path, eventful("a"), eventful("b", size="1024x1024"))
    assert [row["input"] for row in human(report)] == ["672x672", "1024x1024"]
    assert "input 672x672, 1024x1024, frame fit" in to_markdown(report)


def test_stated_numbers_are_no_data_that_was_read(tmp_path: Path) -> None:
    text = to_markdown(report_of(tmp_path, eventful("a")))
    assert "639 clips, 176126 frames as stated, nothing was read" in text
    read = to_markdown(report_of(tmp_path / "2", record("a", metrics())))
    assert "21 clips, 4009 frames |" in read
    assert "as stated" not in read


def test_the_mean_token_count_is_shown_where_the_paper_used_it(tmp_path: Path) -> None:
    assert "at mean" not in human(report_of(tmp_path / "1", record("a", metrics())))[0]
    plain = {**SETTING, "model": {**SETTING["model"], "backbone": "non-windowed"}}  # type: ignore[dict-item]
    report = report_of(tmp_path / "2", record("a", metrics(), setting=plain))
    assert human(report)[0]["at mean"] == "111.50"


@pytest.mark.parametrize(
    "params",
    [
        {"period": "auto", "r": 0.5, "pool": [2, 2], "margin": True, "version": 3},
        {"keep_rate": {"deep": [0.1]}, "name_of_it": "=1+1", "update": None, "mask": ["a"]},
        {},
    ],
)
def test_plug_in_methods_report_whatever_their_parameters_are(
    params: dict[str, Any], tmp_path: Path
) -> None:
    theirs = record("t", metrics(cost_curve=None), method="theirs", params=params)
    report = report_of(tmp_path, record("a", metrics()), theirs)
    (ours, row) = parsed(report)
    assert json.loads(row["params"]) == params
    assert row["status"] == "ok"
    assert (ours["period"], row["period"], row["r"], row["pool"]) == ("8", "", "", "")
    shown = human(report)[1].get("setting", "")
    for name, value in params.items():
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        assert f"{name}={text}" in shown
    for serialize in FORMATS.values():
        assert "theirs" in serialize(report)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_wide_settings_are_broken_and_never_cut(width: int, tmp_path: Path) -> None:
    report = report_of(
        tmp_path,
        eventful("a"),
        eventful("b", size="1024x1024"),
        record("c", metrics(), method="dense-unpadded", params={}),
    )
    out = io.StringIO()
    print_report(report, Console(file=out, width=width))
    table = out.getvalue().split("setting: other")[0]
    assert max(len(line) for line in table.splitlines()) <= width
    assert "…" not in table
    assert "dense-unpadded" in table
    # Narrow terminals leave out the papers' counter before the matrix products.
    assert ("90.17" if width > 60 else "110.90") in table
    joined = "".join(line[24:50].strip() for line in table.splitlines() if "eventful" not in line)
    assert "tokenwise" in table or "tokenwise" in joined


def test_a_long_reason_does_not_cost_the_other_columns(tmp_path: Path) -> None:
    failed = record("b", None, failure=Failure(kind="X", message="one two three " * 20))
    out = io.StringIO()
    report = report_of(tmp_path, record("a", metrics()), failed)
    print_report(report, Console(file=out, width=130))
    assert "+2.00" in out.getvalue()
    assert out.getvalue().split().count("three") == 20


def test_reports_of_schema_1_have_no_settings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [eventful("a")], pending=1)
    path = run.folder / "plan.json"
    content = json.loads(path.read_text()) | {"schema": 1}
    for point in content["points"]:
        del point["input"], point["named"]
    path.write_bytes(sealed_text(content))
    rows = parsed(read_report(run))
    assert [row["input"] for row in rows] == ["672x672", ""]
    assert [row["r"] for row in rows] == ["768", ""]


def test_table_c_and_the_spatial_tables_are_complete() -> None:
    (paper,) = [paper for paper in papers() if paper.paper.startswith("Eventful")]
    sizes = [(table.table, table.where["input"], len(table.rows)) for table in paper.tables]
    assert sizes == [
        ("Table C", "1024x1024", 19), ("Table C", "672x672", 19), ("Table 1", "1024x1024", 8),
        ("Table E", "672x672", 8), ("Table B", "1024x1024", 4),
        ("Table D, tuned at r = 200", "320x320", 6), ("Table D, tuned at r = 100", "320x320", 6),
        ("Table D, tuned at r = 50", "320x320", 6), ("Table A", "224x224", 4),
    ]  # fmt: skip
    rows = [row for table in paper.tables for row in table.rows]
    assert sum(row.values.get("gmacs", 0) for row in rows) == pytest.approx(8808.7)
    assert sum(row.values.get("map50", 0) for row in rows) == pytest.approx(4631.36)
    of_videos = [table for table in paper.tables if table.table.startswith(("Table D", "Table A"))]
    printed = [row.values for table in of_videos for row in table.rows]
    assert sum(values["tmacs_video"] for values in printed) == pytest.approx(66.528)
    assert sum(values["top1"] for values in printed) == pytest.approx(1446.97)
