"""The shipped recipes of rollout-guided pruning against the numbers that its authors print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maskvd_cli.judge.published import PaperTable, papers
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.recipe.shipped import find_recipe
from maskvd_cli.scenes.scene import scenes_of
from maskvd_cli.store.schema import Metrics
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.plan import PointSpec
from maskvd_cli.work.replay import replay
from maskvd_cli.work.runner import plan_tasks

Rows = list[tuple[PointSpec, Metrics]]


@pytest.fixture(autouse=True)
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKVD_VID", "/nowhere")


def planned(name: str) -> Rows:
    loaded = load_recipe(find_recipe(name), catalog())
    scenes = scenes_of(loaded.recipe, "none")
    tasks, _, _ = plan_tasks(loaded)
    return [(task, replay(task, scenes[task.site]).metrics) for task in tasks]


def table(words: str) -> PaperTable:
    (found,) = [
        table for paper in papers() if paper.paper.startswith("RGTP")
        for table in paper.tables if table.table.endswith(words)
    ]  # fmt: skip
    return found


def printed(task: PointSpec, tables: list[PaperTable]) -> dict[str, float]:
    """Return the values of the one row that is a point's."""
    stated: dict[str, Any] = {"method": task.method.name, **task.params.model_dump(mode="json")}
    (found,) = [
        row.values for table in tables if table.where["input"] == task.input
        for row in table.rows if row.point.items() <= stated.items()
    ]  # fmt: skip
    return found


def test_both_tables_of_the_readme_to_the_last_digit() -> None:
    tables = [table("672 x 672"), table("1024 x 1024")]
    rows = planned("vid-rgtp")
    assert len(rows) == sum(len(table.rows) for table in tables) == 12
    for task, metrics in rows:
        assert (metrics.clips, metrics.frames) == (639, 176126)
        assert metrics.gmacs_published is not None
        assert round(metrics.gmacs_published, 1) == printed(task, tables)["gmacs"]


def test_the_share_of_full_frames_is_that_of_the_published_means() -> None:
    for name in ("vid-rgtp", "vid-rgtp-radius"):
        pruned = [metrics for task, metrics in planned(name) if task.method.role == "method"]
        assert all(0.126531 < metrics.full_frame_share < 0.126542 for metrics in pruned)


def test_table_3_to_the_last_digit() -> None:
    rows = planned("vid-rgtp-radius")[1:]
    assert [task.params.model_dump()["radius"] for task, _ in rows] == [0, 1, 2, 3]
    for task, metrics in rows:
        assert metrics.gmacs_published is not None
        assert round(metrics.gmacs_published, 2) == printed(task, [table("1/1 sampling")])["gmacs"]


def test_a_quarter_of_the_frames_begins_as_many_clips() -> None:
    rows = planned("vid-rgtp-radius-quarter")
    frames = 386 * -(-181 // 4) + 253 * -(-420 // 4)
    full = 386 * -(-46 // 8) + 253 * -(-105 // 8)
    for task, metrics in rows[1:]:
        assert (metrics.clips, metrics.frames) == (639, frames)
        assert metrics.full_frame_share == pytest.approx(full / frames)
        assert set(printed(task, [table("1/4 sampling")])) == {"map50"}
    assert table("1/4 sampling").where["frame_stride"] == "4"


def test_the_page_shows_the_planned_numbers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "papers.md").read_text("utf-8")
    tables = [table("672 x 672"), table("1024 x 1024")]
    for task, metrics in planned("vid-rgtp"):
        if task.method.role == "method":
            side = task.input.partition("x")[0]
            tokens = {"672": 1764, "1024": 4096}[side]
            count = round(task.params.model_dump()["keep_rate"] * tokens)
            paper = printed(task, tables)["gmacs"]
            shown = f"| {count} | {side} x {side} | {metrics.gmacs_published:.2f} | {paper:.1f} |"
            assert shown in page
