"""The README's commands exist and its numbers stand in committed results."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskvd_cli.app import app
from maskvd_cli.families.checkpoints import sha256_of
from maskvd_cli.judge.measured import interval_text
from maskvd_cli.recipe.shipped import shipped_recipes

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
# What is longer than a screen stands in pages that the README names.
PAGES = {page.name: page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md")}
PAPERS, SPEED = PAGES["papers.md"], PAGES["speed.md"]
_BLOCK, _INLINE = r"^    maskvd (.+?)(?:\s+#.*)?$", r"`maskvd ([^`\n]+)`"
COMMANDS = sorted(
    {line for pattern in (_BLOCK, _INLINE) for line in re.findall(pattern, README, re.MULTILINE)}
)
FIRST_SCREEN = 30


def test_the_first_screen_says_what_it_is_and_shows_a_result() -> None:
    screen = "\n".join(README.splitlines()[:FIRST_SCREEN])
    assert "    make demo" in screen and "    make test" in screen
    assert screen.count("![") == 1
    _, _, table = screen.partition("| point | model |")
    rows = [line for line in table.splitlines()[2:] if line.startswith("| ")]
    assert len(rows) == 10
    assert len(README.splitlines()) < 180


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_exists(line: str) -> None:
    command, *words = shlex.split(line.split(">", maxsplit=1)[0])
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    known = set(re.split(r"[\s,|]+", done.stdout))
    assert {word for word in words if word.startswith("-")} <= known


def test_every_shipped_recipe_is_listed() -> None:
    for name in shipped_recipes():
        assert f"`{name}`" in PAPERS


def test_table_1_is_the_committed_result() -> None:
    with (ROOT / "results" / "reference" / "kitti-table1.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["version"] in ("", "C")]
    assert len(rows) == 7
    for row in rows:
        assert f"| {float(row['tokens']):.1f} | {float(row['paper_tokens']):.0f} |" in PAPERS
        assert f"| {float(row['gmacs_published']):.2f} |" in PAPERS


def test_times_are_the_committed_ones() -> None:
    commands = json.loads((ROOT / "benchmarks" / "commands.json").read_text())
    for name, seconds in commands["median_s"].items():
        assert f"| `{name}` | {seconds:.2f} s |" in SPEED
    heatmap = json.loads((ROOT / "benchmarks" / "heatmap.json").read_text())
    for name, case in heatmap["cases"].items():
        ours, theirs = (case["median_s"][key] for key in ("corner_differences", "slice_per_box"))
        assert f"| heatmap of {name} | {ours:.2f} s | {theirs:.2f} s |" in SPEED


def test_backbone_times_are_the_committed_ones() -> None:
    backbone = json.loads((ROOT / "benchmarks" / "backbone.json").read_text())
    for name, spent in backbone["median_ms"].items():
        assert f"| {name} | {spent:.0f} ms |" in SPEED


def test_what_is_executed_is_the_committed_result() -> None:
    with (ROOT / "results" / "reference" / "kitti-table1.csv").open(newline="") as file:
        executed = [row["gmacs"] for row in csv.DictReader(file) if row["version"] == "C"]
    told = " ".join(PAPERS.split())
    *first, last = [f"{float(gmacs):.1f}" for gmacs in executed]
    assert f"{', '.join(first)} and {last} GMACs" in told


def test_speed_ups_are_the_committed_ones() -> None:
    with (ROOT / "results" / "reference" / "compute-kitti.csv").open(newline="") as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    dense, unpadded = rows["dense"], rows["dense-unpadded"]
    maskvd = rows["maskvd version=C period=16 static_keep_rate=0.1"]
    fewer = float(dense["gmacs"]) / float(maskvd["gmacs"])
    told = " ".join(README.split())
    assert (
        f"is {float(maskvd['speedup']):.2f} times as fast as dense with {fewer:.1f} times" in told
    )
    assert f"is {float(unpadded['speedup']):.2f} times as fast" in told
    with (ROOT / "results" / "reference" / "compute-rfdetr.csv").open(newline="") as file:
        large = [row for row in csv.DictReader(file) if row["model"] == "rfdetr-large"]
    (best,) = [row for row in large if (row["period"], row["static_keep_rate"]) == ("16", "0.1")]
    assert f"RF-DETR Large is {float(best['speedup']):.2f} times as fast on a CPU" in told


def test_table_c_is_the_committed_result() -> None:
    with (ROOT / "results" / "reference" / "vid-table-c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    worst = max(abs(float(row["gmacs_published"]) - float(row["paper_gmacs"])) for row in rows)
    assert worst < 0.06
    shown = [
        f"| {row['input']} | {float(row['gmacs_published']):.2f} | "
        f"{float(row['paper_gmacs']):.2f} | {float(row['state_mb']):.1f} |"
        for row in rows
    ]
    told = [line for line in PAPERS.splitlines() if "1024x1024 |" in line or "672x672 |" in line]
    assert len(told) == 4
    assert all(any(line.endswith(part) for part in shown) for line in told)


def test_every_dependency_has_its_line() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = README.split("## Dependencies")[1].split("## ")[0].lower()
    listed = {
        name
        for line in table.splitlines()
        if line.startswith("|")
        for name in re.split(r"[\s,|]+", line.split("|")[1])
    }
    needed = {re.split(r"[><=~ ]", dependency)[0] for dependency in project["dependencies"]}
    assert needed <= listed


def _interval(row: dict[str, str], name: str, form: str) -> str:
    low, high = (float(end) if (end := row[f"{name}_{side}"]) else None for side in ("low", "high"))
    return interval_text(float(row[name]), low, high, form)


def _measured_line(row: dict[str, str]) -> str:
    cells = [
        row["label"].replace(" model=vitdet-ti-global", "").replace(" input=192x640", ""),
        row["model"],
        f"{float(row['tokens']):.0f}",
        f"{float(row['gmacs']):.2f}",
        f"{float(row['map50']):.1f}",
        _interval(row, "map50_change", "+.1f"),
        f"{float(row['latency_mean_ms']):.1f}",
        _interval(row, "speedup", ".2f"),
        f"{float(row['peak_mib']):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def test_measured_rows_are_the_committed_ones() -> None:
    with (ROOT / "results" / "reference" / "synthetic-full.csv").open(newline="") as file:
        lines = [_measured_line(row) for row in csv.DictReader(file)]
    _, _, below = README.partition("| point | model | tokens |")
    told = below.partition("\n\n")[0].splitlines()[2:]
    assert len(told) == 10
    assert set(told) <= set(lines)


def test_shipped_weights_are_those_of_their_cards() -> None:
    folder = ROOT / "recipes" / "weights"
    files = list(folder.glob("*.safetensors"))
    assert {file.stem for file in files} == {
        "vitdet-ti",
        "vitdet-ti-global",
        "svit-vitdet-ti-global",
        "vpp-vitdet-ti-global",
        "vitdet-ti-global-evit",
        "vitdet-ti-global-mask",
        "vivit-ti",
        "rfdetr-ti",
    }
    for file in files:
        card = file.with_suffix(".md").read_text("utf-8")
        assert sha256_of(file) in card
        assert file.stat().st_size < 10e6
        (map50,) = re.findall(r"^\| all \| ([\d.]+) \|$", card, flags=re.MULTILINE)
        assert re.search(rf"^\| \[{file.stem}\]\(.*\) \| .* \| {map50} \|", README, re.MULTILINE)
