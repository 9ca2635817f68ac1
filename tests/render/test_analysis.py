"""The analysis below the table, in every format."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.judge.rows import Report
from maskvd_cli.render.console import print_report
from maskvd_cli.render.formats import to_csv, to_json, to_latex, to_markdown

from ..judge.measured_report import Measured, times, with_dense
from ..judge.test_report import eventful, parsed, report_of

SENTENCE = (
    "a_b: 1.25x [1.20, 1.30] as fast as dense, mAP50 -0.50 [-1.50, +0.50] points, "
    "not distinguishable from dense, within 1 point in the mean only; on the Pareto front."
)


def measured() -> Measured:
    made = with_dense()
    return made.point("a_b", map50=69.5, change=(-0.5, -1.5, 0.5), parts=times(80.0),
                      speedup=(1.25, 1.2, 1.3))  # fmt: skip


def shown(report: Report, width: int) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_console_tells_the_verdict_within_its_width(width: int, tmp_path: Path) -> None:
    text = shown(measured().report(tmp_path), width)
    assert f"- {SENTENCE}" in " ".join(text.split())
    assert "paper check" in text
    above = text.split("paper check")[0]
    assert max(map(len, above.splitlines())) <= width
    assert "…" not in above
    assert text.index("verdict") < text.index("- Dense measured") < text.index("recipe  ")


def test_markdown_has_a_section_for_each_part_and_escapes_it(tmp_path: Path) -> None:
    text = to_markdown(measured().report(tmp_path))
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Verdict", "## Where the speed-up went", "## Paper check", "## Notes and provenance",
    ]  # fmt: skip
    assert "- a\\_b: 1.25x \\[1.20, 1.30] as fast as dense" in text
    assert "a_b" not in text
    assert "| a\\_b | 1.57 | 1.54 | 1.25 | -1.00 | +0.00 | +21.00 | +0.00 | head |" in text


def test_planned_runs_show_no_section_without_content(tmp_path: Path) -> None:
    unpublished = report_of(tmp_path, eventful("a", r=767))
    assert "## " not in to_markdown(unpublished)
    assert "verdict" not in shown(unpublished, 80) + to_latex(unpublished)


def test_json_holds_everything_as_lists(tmp_path: Path) -> None:
    content = json.loads(to_json(measured().report(tmp_path)), parse_constant=pytest.fail)
    assert content["summary"].startswith("Fastest that keeps mAP50")
    assert [one["key"] for one in content["point_verdicts"]] == ["dense", "a_b"]
    (verdict,) = content["method_verdicts"]
    assert verdict["sentence"] == SENTENCE
    assert verdict["speedup"] == {"value": 1.25, "low": 1.2, "high": 1.3}
    assert content["savings"][0]["parts"]["backbone"] == 21.0
    assert {one["verdict"] for one in content["paper_check"]} == {
        "reproduced", "not reproduced", "not comparable",
    }  # fmt: skip


def test_latex_tells_verdicts_in_comments_alone(tmp_path: Path) -> None:
    text = to_latex(measured().report(tmp_path))
    assert f"% verdict: {SENTENCE}" in text.splitlines()
    body = text.split("\\begin{tabular}")
    assert all(not line or line.startswith("%") for line in body[0].splitlines())
    assert "Pareto" not in body[1]


def test_csv_ends_with_the_place_on_the_front(tmp_path: Path) -> None:
    made = measured().point("worse", map50=60.0, parts=times(90.0), speedup=(1.11, 1.06, 1.16))
    made.point("untimed", map50=60.0).point("planned")
    report = made.report(tmp_path)
    assert (
        to_csv(report)
        .splitlines()[0]
        .endswith(",on_front,dominated_by,older_statistics,other_conditions")
    )
    rows = parsed(report)
    assert [row["on_front"] for row in rows] == ["True", "True", "False", "", ""]
    assert [row["dominated_by"] for row in rows] == ["", "", "a_b", "", ""]


def test_the_command_prints_json_and_keeps_quiet(tmp_path: Path) -> None:
    run = measured().run(tmp_path / "run")
    (run.folder / "points" / "a_b.json").write_text("{")
    done = CliRunner().invoke(app, ["report", str(run.folder), "--json"])
    assert json.loads(done.stdout)["rows"][1]["status"] == "failed"
    assert "damaged" in done.stderr
    quiet = CliRunner().invoke(app, ["report", str(run.folder), "--json", "--quiet"])
    assert (quiet.stderr, quiet.stdout, quiet.exit_code) == ("", done.stdout, 3)
    clash = CliRunner().invoke(app, ["report", str(run.folder), "--json", "--format", "csv"])
    assert clash.exit_code != 0
