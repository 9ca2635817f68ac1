"""Taking measurements over from another run: whole, of the right protocol, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from maskvd_cli.core.errors import ResultError
from maskvd_cli.store.details import StoredSpread
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
from maskvd_cli.store.runs import Run
from maskvd_cli.store.sealed import sealed_text

from .test_runs import KEY, begun

SAMPLES = pd.DataFrame({"series": ["dense"], "total_ms": [5.0]})
# Series of before schema 5 are read under today's name.
READ = SAMPLES.assign(series="baseline")
RECORD = Path("measured") / "latency" / f"{KEY}.json"


def latency(session: str = "abc", frames: int = 4, **changes: Any) -> MeasuredRecord:
    spread = StoredSpread(median=5.0, mean=5.0, p90=6.0, samples=4)
    details: dict[str, Any] = {
        "session": session, "parts": {"total": spread.model_dump()}, "full": None, "masked": None,
        "control": None, "disturbances": [], "rounds": 1,
    }  # fmt: skip
    values = {"latency_ms": 5.0, "latency_mean_ms": 5.0, "latency_p90_ms": 6.0, "speedup": 1.0}
    details |= {name: value for name, value in changes.items() if name not in values}
    values |= {name: value for name, value in changes.items() if name in values}
    return MeasuredRecord(
        key=KEY, of="latency", status="ok", protocol={"frames": frames}, estimator=1,
        conditions={}, environment={}, details=details,
        values={name: StoredEstimate(value=value) for name, value in values.items()},
        finished="2025-01-02T03:04:05Z", tool_version="0.1.0",
    )  # fmt: skip


def of_schema_4(session: str) -> dict[str, Any]:
    spread = {"median": 5.0, "mean": 5.0, "p90": 6.0, "samples": 4}
    return {
        "schema": 4, "key": KEY, "of": "latency", "status": "ok", "protocol": {"frames": 4},
        "environment": {}, "latency": {
            "session": session, "parts": {"total": spread}, "full": None, "masked": None,
            "expected_ms": 5.0, "speedup": {"value": 1.0, "low": None, "high": None},
            "control": None,
        },
        "finished": "2025-01-02T03:04:05Z", "tool_version": "0.1.0",
    }  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Run:
    """A run with a latency session."""
    run = begun(tmp_path / "results" / "small" / "old", KEY)
    run.write_session("abc", SAMPLES)
    run.write_measured(latency())
    return run


def stored(run: Run) -> MeasuredRecord:
    record = run.measured("latency", KEY)
    assert record is not None
    return record


def test_a_record_names_its_raw_samples(source: Run) -> None:
    record = stored(source)
    assert list(record.files) == ["measured/latency/session-abc.parquet"]
    assert source.session("abc", record).equals(READ)
    source.write_session("abc", SAMPLES * 2)
    with pytest.raises(ResultError, match="the checksum does not fit"):
        source.session("abc", record)


@pytest.mark.parametrize("there", ["of another protocol", "damaged", "nothing"])
def test_what_is_there_is_replaced(there: str, source: Run, tmp_path: Path) -> None:
    run = begun(tmp_path / "results" / "small" / "new", KEY)
    if there == "of another protocol":
        run.write_session("other", SAMPLES)
        run.write_measured(latency("other", frames=18))
    elif there == "damaged":
        (run.folder / RECORD).parent.mkdir(parents=True)
        (run.folder / RECORD).write_bytes(b"{")
        with pytest.raises(ResultError, match="damaged"):
            run.measured("latency", KEY)
    run.adopt_measured(stored(source), source)
    assert stored(run) == stored(source)
    assert (run.folder / RECORD).read_bytes() == (source.folder / RECORD).read_bytes()
    assert run.session("abc", stored(run)).equals(READ)


@pytest.mark.parametrize("damage", [None, b"", b"PAR1"])
def test_without_sound_samples_nothing_is_taken_over(
    damage: bytes | None, source: Run, tmp_path: Path
) -> None:
    record, run = stored(source), begun(tmp_path / "new", KEY)
    path = source.folder / "measured" / "latency" / "session-abc.parquet"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(ResultError, match="session-abc"):
        run.adopt_measured(record, source)
    assert not (run.folder / "measured").exists()


@pytest.mark.parametrize("session", ["x/../../../../PWNED", "../x", "a/b", "", ".", "a\0b"])
def test_a_session_is_a_name(session: str, source: Run, tmp_path: Path) -> None:
    path = source.folder / RECORD
    content = json.loads(path.read_text("utf-8"))
    for of in ("latency", "other"):
        content |= {"of": of, "details": content["details"] | {"session": session}}
        place = path.parents[1] / of / path.name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(sealed_text(content))
        with pytest.raises(ResultError, match=r"damaged result file \(details.session: .*no name"):
            source.measured(of, KEY)
    path.write_text(json.dumps(of_schema_4(session)), "utf-8")
    with pytest.raises(ResultError, match=r"damaged result file \(latency.session: .*no name"):
        source.measured("latency", KEY)
    with pytest.raises(ValueError, match="no name of a file"):
        latency(session)
    assert not list(tmp_path.rglob("*PWNED*"))


def test_a_session_of_before_is_read(source: Run) -> None:
    (source.folder / RECORD).write_text(json.dumps(of_schema_4("abc")), "utf-8")
    assert stored(source).details["session"] == "abc"


@pytest.mark.parametrize("key", ["../../PWNED", "a/b", ".."])
def test_a_key_is_a_name(key: str, source: Run) -> None:
    path = source.folder / "plan.json"
    content = json.loads(path.read_text("utf-8")) | {"schema": 4}
    del content["sha256"]
    content["points"][0]["key"] = key
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ResultError, match=r"damaged result file \(points.0.key: .*no name"):
        source.plan()
    for ask in (source.has, source.has_predictions, source.samples, source.predictions):
        with pytest.raises(ValueError, match="no name of a file"):
            ask(key)


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": {}},
        {"latency_mean_ms": 0.0},
        {"latency_mean_ms": -5.0},
        {"speedup": 1e-320},
        {"control": {"value": 1.0, "low": 0.0, "high": 2.0}},
    ],
)
def test_times_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is missing|not above zero"):
        latency(**changes)
