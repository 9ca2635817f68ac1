"""Results of before schema 5 are read as if they were written today."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from maskvd_cli.store.earlier_names import with_names_of_today
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.runs import find_run
from maskvd_cli.store.schema import Metrics, Plan

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
# What of a record of schema 4 became values.
MOVED = {
    "accuracy": ("map50", "map", "map50_change"),
    "latency": ("expected_ms", "expected_parts_ms", "speedup"),
    "memory": ("peak_mib", "state_bytes"),
}
KINDS = ("full", "masked")


def stored(of: str) -> dict[str, Any]:
    """Return the content of a committed record of schema 4."""
    run = find_run(REFERENCE / "demo")
    path = next(iter(sorted((run.folder / "measured" / of).glob("maskvd-*.json"))))
    return json.loads(path.read_text())


def read(data: dict[str, Any]) -> MeasuredRecord:
    return MeasuredRecord.model_validate_json(json.dumps(data))


@pytest.mark.parametrize("of", ["accuracy", "latency", "memory"])
def test_a_committed_record_keeps_every_number(of: str) -> None:
    data = stored(of)
    record = read(data)
    assert (record.schema_version, record.estimator) == (4, 0)
    assert record.conditions["processor"] == data["environment"]["processor"]
    assert record.conditions["python"] == "3.11"
    assert "tool_version" not in record.conditions
    details = {name: value for name, value in data[of].items() if name not in MOVED[of]}
    assert details.items() <= record.details.items()
    assert {name: one.model_dump() for name, one in record.values.items()} == {
        name: value if isinstance(value, dict) else {"value": value, "low": None, "high": None}
        for name, value in values_of(of, data[of]).items()
    }


def values_of(of: str, old: dict[str, Any]) -> dict[str, Any]:
    """Return what of a record of schema 4 is a value today, by quantity."""
    if of == "accuracy":
        return {name: old[name] for name in MOVED[of]}
    if of == "memory":
        return {"peak_mib": old["peak_mib"], "state_mb": old["state_bytes"] / 1e6}
    total = old["parts"]["total"]
    medians = {f"latency_{kind}_ms": old[kind] and old[kind]["median"] for kind in KINDS}
    return {
        "latency_ms": total["median"], "latency_mean_ms": old["expected_ms"],
        "latency_p90_ms": total["p90"], "speedup": old["speedup"],
        **{name: median for name, median in medians.items() if median is not None},
        **{f"{part}_ms": mean for part, mean in old["expected_parts_ms"].items()},
    }  # fmt: skip


def test_values_are_called_as_columns_are() -> None:
    data = stored("latency")["latency"]
    record = read(stored("latency"))
    assert record.value("latency_ms") == data["parts"]["total"]["median"]
    assert record.value("latency_mean_ms") == data["expected_ms"]
    assert record.value("backbone_ms") == data["expected_parts_ms"]["backbone"]
    assert record.values["speedup"].low == data["speedup"]["low"]
    assert record.details["session"] == data["session"]
    memory = stored("memory")
    assert read(memory).value("state_mb") == memory["memory"]["state_bytes"] / 1e6


def test_what_was_not_known_is_left_out() -> None:
    data = stored("accuracy")
    data["accuracy"]["map50"] = data["accuracy"]["map50_change"] = None
    record = read(data)
    assert set(record.values) == {"map"}
    assert record.value("map50") is None
    assert record.estimate("map50_change") is None


def changed(of: str, *path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(stored(of))
    place = data
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    "data",
    [
        changed("accuracy", "accuracy", "map50", value="70"),
        changed("accuracy", "accuracy", "by_class", value={"Car": {"map50": 1e300}}),
        changed("latency", "latency", "parts", value={}),
        changed("latency", "latency", "control", value={"value": None}),
        changed("latency", "memory", value={"peak_mib": 1.0}),
        changed("memory", "memory", "surprise", value=1),
        changed("memory", "of", value="latency"),
        changed("memory", "status", value="failed"),
    ],
)
def test_damage_is_refused_as_strictly_as_it_was(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(data)


def test_details_of_today_are_checked_where_their_shape_is_known() -> None:
    record = read(stored("latency"))
    data = json.loads(record.model_dump_json(by_alias=True))
    assert read(data) == record
    data["details"]["parts"] = {"total": 3}
    with pytest.raises(ValidationError):
        read(data)


def test_a_failure_holds_no_values() -> None:
    data = json.loads(read(stored("memory")).model_dump_json(by_alias=True))
    failed = {**data, "status": "failed", "failure": {"kind": "X", "message": "y"}}
    with pytest.raises(ValidationError, match="failed and holds values"):
        read(failed)
    assert read({**failed, "values": {}, "details": {}}).value("peak_mib") is None


def test_a_committed_plan_gets_its_legend() -> None:
    plan = find_run(REFERENCE / "demo").plan()
    assert plan.schema_version < 5
    assert (plan.task, plan.headline) == ("detection", "map50")
    names = [quantity.name for quantity in plan.quantities]
    assert len(set(names)) == len(names)
    assert {"map50", "map50_change", "speedup", "peak_mib", "gmacs"} <= set(names)
    assert set(plan.methods) == {point.method for point in plan.points}
    roles = {name: method.role for name, method in plan.methods.items()}
    assert [name for name, role in roles.items() if role == "baseline"] == ["dense"]
    assert {role for name, role in roles.items() if name != "dense"} == {"method"}


def test_a_control_of_before_gets_its_role() -> None:
    data = json.loads(find_run(REFERENCE / "demo").plan().model_dump_json(by_alias=True))
    for name in ("quantities", "methods", "headline", "task"):
        del data[name]
    data["points"][1]["method"] = "random"
    data["points"][2]["method"] = "oracle"
    plan = Plan.model_validate_json(json.dumps(data))
    roles = {name: method.role for name, method in plan.methods.items()}
    assert {name for name, role in roles.items() if role == "control"} == {"oracle", "random"}


def test_a_method_from_elsewhere_is_an_ordinary_one() -> None:
    data = json.loads(find_run(REFERENCE / "demo").plan().model_dump_json(by_alias=True))
    for name in ("quantities", "methods", "headline", "task"):
        del data[name]
    data["points"][0]["method"] = "theirs"
    plan = Plan.model_validate_json(json.dumps(data))
    assert plan.methods["theirs"].role == "method"


@pytest.mark.parametrize("name", ["map50", "latency_ms", "peak_mib"])
def test_counts_that_were_never_filled_are_left_out(name: str) -> None:
    run = find_run(REFERENCE / "demo")
    path = next(iter(sorted((run.folder / "points").glob("*.json"))))
    counts = json.loads(path.read_text())["metrics"]
    assert counts[name] is None
    kept = Metrics.model_validate_json(json.dumps(counts)).model_dump(mode="json")
    assert name not in kept
    left = {key: value for key, value in counts.items() if key in kept}
    assert set(counts) - set(left) == {"map50", "latency_ms", "peak_mib"}
    assert kept == {**kept, **left}
    with pytest.raises(ValidationError):
        Metrics.model_validate_json(json.dumps({**counts, name: 1.0}))


def test_series_of_before_are_named_as_today() -> None:
    samples = pd.DataFrame({"series": ["dense", "control", "key"], "total_ms": [1.0, 2.0, 3.0]})
    assert list(with_names_of_today(samples)["series"]) == ["baseline", "control", "key"]
    other = samples[["total_ms"]]
    assert with_names_of_today(other).equals(other)
