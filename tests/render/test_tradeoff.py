"""The picture of accuracy against cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import defusedxml.ElementTree as ET
import pandas as pd
import pytest
from PIL import Image

from maskvd_cli.core.errors import UsageError
from maskvd_cli.judge.columns import columns_of
from maskvd_cli.judge.legend import Legend
from maskvd_cli.judge.rows import Report, has_tradeoff
from maskvd_cli.render.tradeoff import draw_tradeoff
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Plan, PlannedPoint


def report_of(*points: dict[str, Any], subset: dict[str, Any] | None = None) -> Report:
    planned = [
        PlannedPoint(key=str(number), label=one["method"], method=one["method"], params={})
        for number, one in enumerate(points)
    ]
    plan = Plan(
        recipe="mine", description="", recipe_file="r.yaml", assignments=[],
        created="2026-01-01T00:00:00Z", detections="model", detections_reason="so", notes=[],
        points=planned, tool_version="0.1.0",
    )  # fmt: skip
    table = pd.DataFrame(list(points), columns=columns_of(Legend(plan)))
    setting: dict[str, Any] = {"dataset": {"name": "roads", "split": "val"}}
    if subset:
        setting["subset"] = subset
    return Report(table, (), plan, (), {"m": setting}, Run(Path("run")), (), ())


def point(method: str, map50: float | None, latency: float | None, **more: Any) -> dict[str, Any]:
    found = {"method": method, "model": "m", "map50": map50, "latency_mean_ms": latency}
    return {**found, "gmacs": 1.0, "input": "32x32", "keep_rate": 0.5, **more}


def texts(path: Path) -> str:
    return path.read_text("utf-8")


def test_svg_names_methods_models_and_what_was_left_out(tmp_path: Path) -> None:
    made = report_of(
        point("dense", 80.0, 10.0),
        point("maskvd", 79.0, 5.0, period=4),
        point("maskvd", 70.0, 4.0, period=8),
        point("evit", 60.0, 6.0, model="other"),
        point("stgt", None, 6.0),
        subset={"clips": 2, "frames": 3},
    )
    assert has_tradeoff(made.rows, made.legend).any()
    draw_tradeoff(tmp_path / "a.svg", made)
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert root is not None and root.tag.endswith("svg")
    comments = texts(tmp_path / "a.svg")
    for text in ("dense, m", "maskvd, m", "evit, other", "SUBSET: first 2 clips"):
        assert text in comments
    assert "stgt" not in comments


def test_png_is_a_picture(tmp_path: Path) -> None:
    draw_tradeoff(tmp_path / "a.png", report_of(point("dense", 80.0, 10.0)))
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG" and min(image.size) > 500


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    made = report_of(point("dense", None, 10.0), point("maskvd", 50.0, None))
    assert not has_tradeoff(made.rows, made.legend).any()
    with pytest.raises(UsageError, match="no point with mAP50 and latency"):
        draw_tradeoff(tmp_path / "a.png", made)
    assert not (tmp_path / "a.png").exists()
