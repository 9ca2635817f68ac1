"""A plan with a headline, a metric and methods that nobody knows is shown, compared and watched."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from maskvd_cli.compare.changes import Limit, Verdict
from maskvd_cli.compare.comparison import Comparison, compare, open_pairs
from maskvd_cli.compare.table import print_comparison
from maskvd_cli.compare.text import to_markdown as comparison_markdown
from maskvd_cli.core.errors import UsageError
from maskvd_cli.judge.rows import Report, read_report
from maskvd_cli.judge.verdicts import method_verdicts, summary
from maskvd_cli.render.charts import charts
from maskvd_cli.render.console import print_report
from maskvd_cli.render.formats import to_csv, to_json, to_latex, to_markdown
from maskvd_cli.render.html import to_html
from maskvd_cli.render.plots.catalogue import figures_of
from maskvd_cli.render.styles import style_of
from maskvd_cli.render.tradeoff import draw_tradeoff
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Metrics, Plan, PlannedPoint, PointRecord
from maskvd_cli.watch.progress import Follower
from maskvd_cli.watch.text import live_table, step_lines

CREATED, FINISHED = "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"
ENVIRONMENT: dict[str, Any] = {"command": "maskvd sweep", "tool_version": "0.1.0", "packages": {}}
SETTING: dict[str, Any] = {
    "dataset": {"name": "roads", "split": "val", "protocol": "all"},
    "model": {"name": "tiny", "backbone": "conv", "input": "32x32", "frame": "32x32"},
    "seed": 0, "heatmap": None,
}  # fmt: skip


def quantity(name: str, header: str, unit: str, of: str, **more: Any) -> dict[str, Any]:
    own = {"digits": 1, "more_is_better": True, "comparison": "exact", "spare": 0}
    return {"name": name, "header": header, "unit": unit, "meaning": f"the {header}", "of": of,
            **own, **more}  # fmt: skip


QUANTITIES = [
    quantity("tokens", "tokens", "", "counts", more_is_better=False, spare=4),
    quantity("gmacs", "GMACs", "GMACs", "counts", more_is_better=False, digits=2, spare=2),
    quantity("top1", "Top-1", "%", "naming", comparison="difference", spare=1),
    quantity("top1_change", "change of Top-1", "points", "naming", comparison="difference"),
    quantity("latency_ms", "latency ms", "ms", "latency", more_is_better=False, spare=3),
    quantity("latency_mean_ms", "mean ms", "ms", "latency", more_is_better=False, spare=6),
    quantity("speedup", "speed-up", "x", "latency", digits=2, comparison="ratio"),
    quantity("joy", "joy", "pts", "happiness", comparison="ratio", digits=3, spare=3),
]
METHODS: dict[str, Any] = {
    "whole": {"role": "baseline", "description": "all", "paper": "", "defaults": {"gain": 0.5}},
    "skipper": {
        "role": "method", "description": "skips", "paper": "", "colour": "#123456", "mark": "s",
        "columns": {"stride": "stride of it"},
        "figure": {"name": "skips", "across": "gmacs", "labelled": "stride"},
    },
    "plain": {"role": "method", "description": "no style", "paper": ""},
    "cheat": {"role": "control", "description": "knows", "paper": ""},
}  # fmt: skip
# Key, method, parameters, top1, its change, mean ms, speed-up, joy.
POINTS: list[tuple[str, str, dict[str, Any], float, float, float, float, float]] = [
    ("whole", "whole", {"gain": 0.5}, 80.0, 0.0, 10.0, 1.0, 1.0),
    ("skip2", "skipper", {"stride": 2}, 79.8, -0.2, 5.0, 2.0, 2.0),
    ("skip4", "skipper", {"stride": 4}, 70.0, -10.0, 3.0, 3.333, 3.0),
    ("plain", "plain", {}, 79.0, -1.0, 20.0, 0.5, 0.5),
    ("cheat", "cheat", {}, 95.0, 15.0, 1.0, 10.0, 9.0),
]


def estimate(value: float, reach: float = 0.0) -> StoredEstimate:
    ends = (value - reach, value + reach) if reach else (None, None)
    return StoredEstimate(value=value, low=ends[0], high=ends[1])


def write(folder: Path, *, worse: float = 0.0) -> Run:
    run = Run(folder)
    plan = Plan.model_validate(
        {
            "recipe": "invented", "description": "", "recipe_file": "r.yaml", "assignments": [],
            "created": CREATED, "detections": "none", "detections_reason": "no need", "notes": [],
            "measure": {"metrics": ["naming", "latency", "happiness"]}, "task": "naming",
            "headline": "top1", "quantities": QUANTITIES, "methods": METHODS,
            "points": [
                PlannedPoint(key=key, label=key, method=method, params=params, model="tiny",
                             input="32x32", named=list(params))
                for key, method, params, *_ in POINTS
            ],
            "tool_version": "0.1.0",
        }
    )  # fmt: skip
    run.write_plan(plan, b"schema: 1\n", ENVIRONMENT)
    for key, method, params, top1, change, mean, speedup, joy in POINTS:
        counts = Metrics(
            clips=2, frames=8, tokens=64.0, keep_rate=1 / speedup, keep_rate_real=None,
            full_frame_share=1.0, gmacs=1 / speedup, gmacs_published=None,
            gmacs_published_at_mean_tokens=None, cost_curve=None, state_bytes=8,
        )  # fmt: skip
        run.write_point(
            PointRecord(
                key=key, label=key, status="ok", method=method, revision=1, params=params,
                setting=SETTING, environment=ENVIRONMENT, metrics=counts, failure=None,
                finished=FINISHED, seconds=1.0, tool_version="0.1.0",
            ),
            None,
        )  # fmt: skip
        is_whole = key == "whole"
        score = {"top1": estimate(top1 - worse), "top1_change": estimate(change, 0.1)}
        time = {
            "latency_ms": estimate(mean), "latency_mean_ms": estimate(mean),
            "speedup": estimate(speedup, 0.0 if is_whole else 0.01),
        }  # fmt: skip
        spread = {"median": mean, "mean": mean, "p90": mean, "samples": 4}
        details = {
            "session": "s1", "parts": {"total": spread}, "full": spread, "masked": None,
            "control": {"value": 1.0, "low": 0.99, "high": 1.01}, "disturbances": [],
        }  # fmt: skip
        record(run, key, "naming", score, {"frames": 8})
        record(run, key, "latency", time, details)
        record(run, key, "happiness", {"joy": estimate(joy - worse / 20, 0.01)}, {})
    return run


def record(
    run: Run, key: str, of: str, values: dict[str, StoredEstimate], details: dict[str, Any]
) -> None:
    run.write_measured(
        MeasuredRecord(
            key=key, of=of, status="ok", protocol={}, estimator=3, conditions={},
            environment=ENVIRONMENT, values=values, details=details, finished=FINISHED,
            tool_version="0.1.0",
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write(tmp_path_factory.mktemp("invented") / "a")


@pytest.fixture(scope="module")
def report(run: Run) -> Report:
    return read_report(run)


def console_text(report: Report) -> str:
    text = io.StringIO()
    print_report(report, Console(file=text, width=240))
    return text.getvalue()


@pytest.mark.parametrize(
    "shown",
    [console_text, to_markdown, to_csv, to_json, to_latex, to_html],
    ids=lambda f: f.__name__,
)
def test_every_format_shows_them_and_names_nobody_else(shown: Any, report: Report) -> None:
    text = shown(report)
    own = text if shown is not to_html else text.split("<script")[0] + text.split("</script>")[-1]
    assert ("top1" if shown is to_csv else "Top-1") in text
    assert "joy" in text
    assert "skipper" in text
    assert "mAP50" not in own
    assert "dense" not in own.lower()


def test_columns_headers_and_digits_are_the_plans(report: Report) -> None:
    header, _, *lines = to_markdown(report).splitlines()[2:]
    for name in ("stride of it", "Top-1", "change of Top-1", "joy", "speed-up"):
        assert f" {name} " in header
    second = next(line for line in lines if line.startswith("| skipper"))
    assert " 2 | " in second
    assert "| 79.8 |" in second
    assert r"-0.2 \[-0.3, -0.1]" in second
    assert r"2.000 \[1.990, 2.010]" in second


def test_csv_has_todays_columns_and_the_new_ones_behind_them(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    names = list(rows[0])
    assert names.index("top1") < names.index("latency_ms") < names.index("on_front")
    assert names.index("on_front") < names.index("joy") < names.index("joy_low")
    assert names.index("param_stride") > names.index("on_front")
    assert (rows[1]["joy"], rows[1]["param_stride"], rows[1]["top1"]) == ("2.0", "2", "79.8")


def test_verdicts_speak_of_the_plans_headline_and_baseline(report: Report) -> None:
    assert (summary(report) or "").startswith(
        "Fastest that keeps Top-1 within 1 point of whole: skip2, 2.00x [1.99, 2.01] as fast as "
        "whole, Top-1 -0.20 [-0.30, -0.10] points"
    )
    by_method = {verdict.method: verdict for verdict in method_verdicts(report)}
    assert set(by_method) == {"skipper", "plain", "cheat"}
    assert "a control, left out of the Pareto front" in by_method["cheat"].sentence
    content = json.loads(to_json(report))
    assert content["method_verdicts"][0]["top1_change"]["value"] == -0.2
    assert report.notes[0].startswith("Whole measured twice")


@pytest.mark.parametrize(
    ("method", "params", "is_it"),
    [("whole", {"gain": 0.5}, True), ("whole", {}, True), ("whole", {"gain": None}, True),
     ("whole", {"gain": 1}, False), ("whole", {"gain": 0.25}, False), ("whole", {"more": 1}, False),
     ("plain", {}, False)],
)  # fmt: skip
def test_the_baseline_is_the_one_with_its_own_defaults(
    method: str, params: dict[str, Any], is_it: bool, report: Report
) -> None:
    row = {"method": method, "params": json.dumps(params)}
    assert report.legend.is_baseline(row) is is_it


def test_styles_come_from_the_plan_and_are_given_to_those_without(report: Report) -> None:
    legend = report.legend
    assert style_of("skipper", legend).colour == "#123456"
    others = [style_of(name, legend) for name in ("whole", "plain", "cheat")]
    assert len({(one.colour, one.mark) for one in others}) == len(others)
    assert others == [style_of(name, legend) for name in ("whole", "plain", "cheat")]


def test_charts_and_figures_are_of_the_headline(report: Report, tmp_path: Path) -> None:
    names = [chart.name for chart in charts(report)]
    assert names[:2] == ["top1-latency", "top1-gmacs"]
    assert "skips" in figures_of(report)
    assert "top1-latency" in figures_of(report)
    draw_tradeoff(tmp_path / "a.svg", report)
    assert "Top-1 (%)" in (tmp_path / "a.svg").read_text("utf-8")


def test_the_front_is_that_of_the_rows(report: Report) -> None:
    chart = charts(report)[0]
    front = next(trace for trace in chart.figure["data"] if trace["legendgroup"] == "front")
    on_front = report.rows[report.rows["on_front"] == True]  # noqa: E712 - a column of objects
    assert sorted(front["x"]) == sorted(on_front["latency_mean_ms"])
    assert 1.0 not in front["x"]


@pytest.fixture(scope="module")
def comparison(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    worse = write(tmp_path_factory.mktemp("worse") / "b", worse=5.0)
    return compare(open_pairs(run, worse))


def test_comparisons_judge_the_plans_quantities(comparison: Comparison) -> None:
    row = next(row for row in comparison.rows if row.label == "skip2")
    changes = {change.metric.name: change for change in row.changes}
    assert changes["top1"].difference == pytest.approx(-5.0)
    assert changes["joy"].verdict is Verdict.REGRESSION
    assert "map50" not in changes
    text = io.StringIO()
    print_comparison(comparison, Console(file=text, width=200))
    for shown in (text.getvalue(), comparison_markdown(comparison)):
        assert "Top-1" in shown
        assert "mAP50" not in shown
        assert "dense" not in shown


def test_limits_are_set_on_the_plans_quantities(comparison: Comparison) -> None:
    plans = comparison.opened.plans
    assert comparison.exceeding([Limit.parse("joy:10%", plans)])
    assert not comparison.exceeding([Limit.parse("joy:99%", plans)])
    with pytest.raises(UsageError, match=r"unknown metric 'map50'.*top1:0.5"):
        Limit.parse("map50:1", plans)


def test_watch_shows_the_plans_quantities(run: Run) -> None:
    snapshot = Follower(run).look()
    text = io.StringIO()
    console = Console(file=text, width=200, height=50)
    console.print(live_table(snapshot, console))
    for name in ("Top-1", "joy", "speed-up", "GMACs"):
        assert name in text.getvalue()
    assert "mAP50" not in text.getvalue()
    lines = list(step_lines(snapshot))
    assert any("skip2: Top-1 79.8 %" in line for line in lines)
    assert any("skip2: joy 2.000 pts" in line for line in lines)
