"""Metrics describe themselves: quantities, sections, and nothing heavy to import."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, fields

import pytest

from maskvd_cli.core.counts import COUNTED
from maskvd_cli.metrics.base import Metric
from maskvd_cli.metrics.boards import Spent
from maskvd_cli.metrics.energy import Energy
from maskvd_cli.metrics.memory import Memory
from maskvd_cli.metrics.peaks import Peak
from maskvd_cli.metrics.pointwise import Pointwise
from maskvd_cli.metrics.registry import every_metric, metrics
from maskvd_cli.store.earlier_plan import with_legend
from maskvd_cli.tasks.detection import Detection
from maskvd_cli.work.legend import quantities_of


def test_metrics_run_by_their_order() -> None:
    assert [metric.name for metric in every_metric()] == [
        "accuracy", "track-ap", "memory", "energy", "latency",
    ]  # fmt: skip
    assert metrics.names() == ["accuracy", "energy", "latency", "memory", "track-ap"]


def test_importing_metrics_loads_nothing_heavy() -> None:
    code = (
        "import sys; from maskvd_cli.metrics.registry import every_metric; every_metric(); "
        "print(*({'torch', 'pandas', 'pycocotools'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("metric", every_metric(), ids=lambda metric: metric.name)
def test_a_metric_says_what_a_plan_and_a_recipe_need(metric: type[Metric]) -> None:
    assert metric.name == metric.name.lower()
    assert metric.description
    assert metric.estimator >= 1
    assert set(metric.smoke) <= set(metric.section.model_fields)
    metric.section.model_validate({**metric.section().model_dump(), **metric.smoke})
    for quantity in metric.yields(Detection):
        assert quantity.header
        assert quantity.meaning


def test_each_quantity_has_one_name_and_one_source() -> None:
    stored = quantities_of(Detection)
    names = [quantity.name for quantity in stored]
    assert len(set(names)) == len(names)
    assert [quantity.name for quantity in stored if quantity.of == "counts"] == [
        quantity.name for quantity in COUNTED
    ]
    assert {quantity.name for quantity in stored if quantity.of == "accuracy"} == {
        "map50", "map", "map50_change",
    }  # fmt: skip


def test_earlier_plans_are_given_the_names_of_today() -> None:
    earlier = {row["name"]: row for row in with_legend({"points": []})["quantities"]}
    today = {quantity.name: quantity.model_dump() for quantity in quantities_of(Detection)}
    assert set(earlier) == set(today)
    for name, row in earlier.items():
        assert {k: v for k, v in row.items() if k != "meaning"} == {
            k: v for k, v in today[name].items() if k != "meaning"
        }


def test_a_change_is_described_by_its_headline() -> None:
    change = asdict(metrics.load("accuracy").yields(Detection)[-1])
    assert change["name"] == f"{Detection.headline().name}_change"
    assert change["comparison"] == "difference"


@pytest.mark.parametrize(("metric", "kind"), [(Memory, Peak), (Energy, Spent)])
def test_every_fact_of_a_point_is_a_value_or_a_described_detail(
    metric: type[Pointwise], kind: type[Peak | Spent]
) -> None:
    assert {field.name for field in fields(kind)} == {*metric.values, *metric.details}
