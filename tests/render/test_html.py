"""The HTML page of a report: what it says, that it runs nothing of result files, how it acts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.judge.rows import Report, read_report
from maskvd_cli.render.charting import DARK
from maskvd_cli.render.charts import charts
from maskvd_cli.render.html import to_html
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Metrics, Plan, PlannedPoint, PointRecord
from maskvd_cli.store.sealed import sealed_text

ATTACK = "<script>alert(1)</script>"
ENVIRONMENT = {"command": "maskvd sweep", "processor": "A CPU", "cores": 2}
SETTING = {
    "dataset": {"name": "kitti", "split": "val-half", "protocol": "maskvd-paper"},
    "model": {"name": "vitdet-b", "backbone": "windowed", "input": "672x672", "frame": "370x672"},
    "detections": "model", "seed": 0, "heatmap": None, "subset": {"clips": 2, "frames": 4},
    "measured": {"weights": "random", "device": "cpu", "precision": "float32"},
}  # fmt: skip
# Method, parameters, mAP50, milliseconds.
POINTS: list[tuple[str, dict[str, Any], float, float]] = [
    ("dense", {"pool": 1}, 75.0, 100.0),
    ("maskvd", {"period": 8, "static_keep_rate": 0.5}, 74.5, 60.0),
    ("maskvd", {"period": 8, "static_keep_rate": 0.1}, 70.0, 9.0),
    ("eventful", {"r": 768}, 69.0, 80.0),
]
MASKVD = {"version": "C", "mask": "combined", "score_threshold": 0.5, "margin": 0}
SPREAD = {"median": 1.0, "mean": 1.0, "p90": 1.0, "samples": 3}


def metrics(gmacs: float) -> Metrics:
    return Metrics(
        clips=2, frames=8, tokens=900.0, keep_rate=0.5, keep_rate_real=None, full_frame_share=0.2,
        gmacs=gmacs, gmacs_published=gmacs + 1, gmacs_published_at_mean_tokens=None,
        cost_curve=None, state_bytes=1000,
    )  # fmt: skip


def measured(key: str, of: str, found: dict[str, Any]) -> MeasuredRecord:
    return MeasuredRecord.model_validate({
        "key": key, "of": of, "status": "ok", "protocol": {}, "environment": ENVIRONMENT, of: found,
        "finished": "2026-01-01T00:00:00Z", "tool_version": "0.1.0",
    })  # fmt: skip


def accuracy(map50: float, is_dense: bool) -> dict[str, Any]:
    ages = [
        {"first": first, "last": last, "frames": 4, "objects": 9, "map50": map50 - first}
        for first, last in ((0, 0), (1, 1), (2, 3))
    ]
    change = {"value": map50 - 75.0, "low": map50 - 76.0, "high": map50 - 74.0}
    return {
        "map50": map50, "map": 40.0, "frames": 8, "objects": 18, "detections": 20, "by_class": {},
        "by_age": ages[:1] if is_dense else ages, "map50_change": None if is_dense else change,
    }  # fmt: skip


def latency(ms: float, session: str) -> dict[str, Any]:
    parts = {
        part: {**SPREAD, "mean": share * ms}
        for part, share in (("mask", 0.05), ("embed", 0.05), ("backbone", 0.6), ("head", 0.3))
    }
    return {
        "session": session, "parts": {"total": {**SPREAD, "mean": ms}, **parts}, "full": None,
        "masked": None, "expected_ms": ms,
        "speedup": {"value": 100 / ms, "low": 95 / ms, "high": 105 / ms}, "control": None,
        "disturbances": ["processors were throttled 3 times, too hot"] if session == "two" else [],
    }  # fmt: skip


def write_run(folder: Path, *, planned: bool = False, evil: bool = False) -> Run:
    """Write a run with all measured passes, or a planned one; one more point has failed."""
    run = Run(folder)
    records = [
        _point(f"k{n}", method, params, metrics(30.0 * n + 10))
        for n, (method, params, *_) in enumerate(POINTS)
    ]
    label = f"eventful {ATTACK}" if evil else "eventful r=9"
    failed = _point("bad", "eventful", {"r": 9}, None, label=label, message=f"broke {ATTACK}")
    plan = Plan(
        recipe=f"page {ATTACK}" if evil else "page", description="of a test", recipe_file="t.yaml",
        assignments=[], created="2026-01-01T00:00:00Z", detections="model", detections_reason="so",
        notes=[f"note {ATTACK}"] if evil else [], tool_version="0.1.0",
        measure=None if planned else {"metrics": ["accuracy", "latency"]},
        points=[
            PlannedPoint(
                key=r.key, label=r.label, method=r.method, params=r.params, model="vitdet-b",
                input="672x672", named=[n for n in r.params if n not in MASKVD],
            )
            for r in [*records, failed]
        ],
    )  # fmt: skip
    recipe = b"name: page # </script></pre><script>alert(2)</script>\n"
    run.write_plan(plan, recipe if evil else b"name: page\n", ENVIRONMENT)
    for record in [*records, failed]:
        run.write_point(record, None)
    for n, (method, _, map50, ms) in enumerate(() if planned else POINTS):
        run.write_measured(measured(f"k{n}", "accuracy", accuracy(map50, method == "dense")))
        run.write_measured(measured(f"k{n}", "latency", latency(ms, "one" if n < 3 else "two")))
    return run


def _point(
    key: str, method: str, params: dict[str, Any], found: Metrics | None, **more: str
) -> PointRecord:
    stated = {**params, **(MASKVD if method == "maskvd" else {})}
    failure = None if found else {"kind": "X", "message": more["message"]}
    return PointRecord.model_validate({
        "key": key, "status": "ok" if found else "failed", "method": method, "revision": 1,
        "label": more.get("label", " ".join([method, *(f"{n}={v}" for n, v in params.items())])),
        "params": stated, "setting": SETTING, "environment": ENVIRONMENT,
        "metrics": found.model_dump() if found else None, "failure": failure,
        "finished": "2026-01-01T00:00:00Z", "seconds": 0.1, "tool_version": "0.1.0",
    })  # fmt: skip


def report_of(folder: Path, **kind: bool) -> Report:
    return read_report(write_run(folder / "run", **kind))


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


def test_figures_are_valid_plotly(tmp_path: Path) -> None:
    for planned in (False, True):
        for chart in charts(report_of(tmp_path / str(planned), planned=planned)):
            go.Figure(chart.figure)


def test_measured_runs_get_the_measured_charts(tmp_path: Path) -> None:
    made = {chart.name: chart for chart in charts(report_of(tmp_path))}
    assert list(made) == ["map50-latency", "map50-gmacs", "stages", "ages"]
    traces = made["map50-latency"].figure["data"]
    (front,) = [trace for trace in traces if trace["legendgroup"] == "front"]
    assert (front["x"], front["y"]) == ([9.0, 60.0, 100.0], [70.0, 74.5, 75.0])
    maskvd = [trace for trace in traces if trace["legendgroup"] == "maskvd"]
    assert sorted(x for trace in maskvd for x in trace["x"]) == [9.0, 60.0]
    below = [end for trace in maskvd for end in trace["error_y"]["arrayminus"]]
    assert below == pytest.approx([1.0, 1.0])
    texts = [text for trace in maskvd for text in trace["hovertext"]]
    assert any("change -0.50 [-1.50, +0.50] points" in text for text in texts)
    assert made["ages"].headers == ("point", "0", "1", "2 to 3")
    assert made["stages"].cells[1][1:] == ["3.00", "3.00", "36.00", "18.00"]


def test_what_never_runs_a_full_frame_does_not_age(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    path = run.folder / "points" / "k1.json"
    point = json.loads(path.read_text())
    before = {chart.name: chart.cells for chart in charts(read_report(run))}["ages"]
    point["metrics"]["full_frame_share"] = 0.0
    path.write_bytes(sealed_text(point))
    after = {chart.name: chart.cells for chart in charts(read_report(run))}["ages"]
    assert [cells for cells in before if cells[0] != point["label"]] == after
    assert len(after) == len(before) - 1


def test_papers_points_stand_apart_with_their_hardware(tmp_path: Path) -> None:
    first = charts(report_of(tmp_path))[0]
    papers = [trace for trace in first.figure["data"] if trace["legendgroup"] == "paper"]
    assert (54.64, 75.85) in [(trace["x"][0], trace["y"][0]) for trace in papers]
    assert all(trace["marker"]["symbol"].endswith("-open-dot") for trace in papers)
    assert "RTX A6000" in papers[0]["hovertext"][0] and "other hardware" in first.caption


def test_planned_runs_get_what_can_be_drawn(tmp_path: Path) -> None:
    report = report_of(tmp_path, planned=True)
    assert [chart.name for chart in charts(report)] == ["gmacs-keep-rate", "gmacs-points"]
    assert "mAP50 against latency" not in without_scripts(to_html(report))


def test_page_tells_warnings_sections_and_environment(tmp_path: Path) -> None:
    text = without_scripts(to_html(report_of(tmp_path)))
    for expected in (
        "SUBSET (first 2 clips, first 4 frames of each clip)", "1 of 5 points failed",
        "disturbed (session 2 of 2): processors were throttled 3 times", "measured in 2 sessions",
        "Where the speed-up went", "Paper check", "A CPU", "name: page", "broke",
    ):  # fmt: skip
        assert expected in text
    order = ["Read this first", ">Verdicts</h2>", ">Charts</h2>", ">Points</h2>", "recipe</h2>"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_nothing_of_a_result_file_becomes_markup(tmp_path: Path) -> None:
    page = to_html(report_of(tmp_path, evil=True))
    assert ATTACK not in page and "alert(2)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;/script&gt;&lt;/pre&gt;" in page
    opened = re.findall(r"<script[^>]*>", without_json_and_plotly(page))
    assert len(opened) == 1


def without_json_and_plotly(page: str) -> str:
    page = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)
    return re.sub(r"<script>/\*\*\n\* plotly.js.*?</script>", "", page, flags=re.S)


def test_only_the_pages_own_scripts_may_run(tmp_path: Path) -> None:
    page = to_html(report_of(tmp_path, planned=True))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy
    (scripts,) = re.findall(r"script-src ([^;]*);", policy)
    assert re.fullmatch(r"('sha256-[\w+/=]{44}' ?){2}", scripts)
    assert not re.search(r"""(src|href)=["'](https?:)?//""", without_scripts(page))


def test_pages_are_written_by_suffix_and_format(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", planned=True)
    target = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(run.folder), "-o", str(target)])
    assert done.exit_code == 0, done.output
    assert target.read_text("utf-8").startswith("<!DOCTYPE html>")
    shown = CliRunner().invoke(app, ["report", str(run.folder), "--format", "html"])
    assert shown.stdout == target.read_text("utf-8")


# In a browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the path")
    switches = (
        "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
        "--disable-sync --no-first-run"
    )
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=switches.split())
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(to_html(report_of(folder, evil=True)), "utf-8")
    return folder / "page.html"


class Opened:
    """The page in a browser, with everything that it asked for or complained about."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> None:
        self.troubles: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("requestfailed", lambda request: self.troubles.append(request.url))
        self.page.on("dialog", lambda dialog: (self.troubles.append("dialog"), dialog.dismiss()))
        self.page.on("request", self._asked)
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("[data-chart] .main-svg")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.troubles.append(request.url)

    def names(self) -> list[str]:
        found = self.page.locator("#points-table tbody tr:visible th").all_inner_texts()
        return [name.strip() for name in found]


def test_page_opens_from_disk_without_trouble(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file)
    assert opened.page.locator("[data-chart]").count() == 4
    traces = opened.page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].map(d => d._fullData.length)"
    )
    assert min(traces) >= 3
    assert opened.page.locator(".scatterlayer .point").count() > 5
    assert opened.troubles == []


def test_headers_sort_with_mouse_and_keyboard(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file)
    before = opened.names()
    header = opened.page.locator("#points-table thead th", has_text=re.compile(r"^\s*mean ms"))
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    # As numbers, 9 before 60 before 100, and what failed has none and stays last.
    assert opened.names()[0].endswith("static_keep_rate=0.1")
    assert opened.names()[3] == before[0] and opened.names()[4].startswith("eventful <script>")
    header.locator("button").focus()
    opened.page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert opened.names()[0] == before[0] and opened.names()[4] == before[4]
    assert opened.page.locator("#points-table [aria-sort]").count() == 1


def test_filters_leave_what_matches(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file)
    opened.page.fill("#filter-text", "PERIOD=8 keep_rate=0.1")
    assert len(opened.names()) == 1
    assert opened.page.inner_text("#filter-count") == "1 of 5 points"
    opened.page.fill("#filter-text", "")
    opened.page.select_option("#filter-method", "maskvd")
    assert len(opened.names()) == 2
    opened.page.select_option("#filter-method", "")
    assert len(opened.names()) == 5


def test_legend_switches_a_method_in_all_charts(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file)
    button = opened.page.locator("[data-group=maskvd]")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    shown = opened.page.evaluate(
        "[...document.querySelectorAll('[data-chart]')].flatMap(d => d.data)"
        ".filter(t => t.legendgroup === 'maskvd').map(t => t.visible)"
    )
    assert len(shown) >= 3 and not any(shown)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phones_scroll_no_page_sideways(browser: Any, page_file: Path, scheme: str) -> None:
    opened = Opened(browser, page_file, 400, scheme)
    opened.page.locator("details").evaluate_all("found => found.forEach(d => d.open = true)")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400


def luminance(colour: str) -> float:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Any, selector: str, fill: str, behind: str) -> float:
    style = "(e, name) => getComputedStyle(e)[name]"
    ink = luminance(page.locator(selector).first.evaluate(style, fill))
    paper = luminance(page.locator(behind).first.evaluate(style, "backgroundColor"))
    return (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)


def test_dark_mode_keeps_text_readable_also_when_it_changes(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file)
    background = "getComputedStyle(document.body).backgroundColor"
    assert luminance(opened.page.evaluate(background)) > 0.9
    for scheme in ("light", "dark"):
        opened.page.emulate_media(color_scheme=scheme)
        opened.page.wait_for_timeout(100)
        assert contrast(opened.page, ".xtick text", "fill", "figure") > 7
        assert contrast(opened.page, ".legend", "color", "body") > 4.5
        assert contrast(opened.page, ".warnings li", "color", ".warnings") > 4.5
    assert luminance(opened.page.evaluate(background)) < 0.05
    assert opened.troubles == []


def test_dark_colours_replace_each_light_one_by_another() -> None:
    assert not set(DARK) & set(DARK.values())
