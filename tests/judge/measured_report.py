"""Run folders with measured passes, written by hand, so that every number is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maskvd_cli.judge.rows import Report, read_report
from maskvd_cli.store.measured import (
    Accuracy,
    Latency,
    MeasuredRecord,
    Memory,
    StoredEstimate,
    StoredSpread,
)
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import PointRecord
from maskvd_cli.store.sealed import sealed_text

from .test_report import ENVIRONMENT, MASKVD, SETTING, metrics, record, write_run

Ends = tuple[float, float | None, float | None]
WEIGHTS = {"weights": "ab" * 32, "precision": "float32", "device": "cpu"}
CONTROL: Ends = (1.0, 0.98, 1.02)
DENSE_MS = {"mask": 0.0, "embed": 10.0, "backbone": 60.0, "head": 30.0}


def a_setting(name: str = "vitdet-b", **changes: Any) -> dict[str, Any]:
    """Return a measured setting of KITTI; `changes` to what was measured, or its `subset`."""
    subset = changes.pop("subset", None)
    model: dict[str, Any] = {**SETTING["model"], "name": name}  # type: ignore[dict-item]
    found = {**SETTING, "model": model, "measured": {**WEIGHTS, **changes}}
    return {**found, "subset": subset} if subset else found


class Measured:
    """Collects points and what was measured of them, and writes them as one run."""

    def __init__(self, environment: dict[str, Any] | None = None) -> None:
        self._environment = environment or ENVIRONMENT
        self._records: list[PointRecord] = []
        self._passes: list[MeasuredRecord] = []

    def point(
        self,
        key: str,
        method: str = "maskvd",
        *,
        params: dict[str, Any] | None = None,
        map50: float | None = None,
        change: Ends | None = None,
        parts: dict[str, float] | None = None,
        speedup: Ends | None = None,
        peak: float | None = None,
        peak_by: str = "cuda-max-allocated",
        session: str = "s1",
        control: Ends | None = CONTROL,
        setting: dict[str, Any] | None = None,
        counted: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Measured:
        """Add a point; a pass is written where its values are given."""
        own = ({"pool": 1} if method == "dense" else MASKVD) if params is None else params
        self._records.append(
            record(
                key, metrics(**(counted or {})), label=key, method=method, params=own,
                setting=setting or a_setting(),
                environment=self._environment, **changes,
            )
        )  # fmt: skip
        if map50 is not None:
            self._add(key, "accuracy", accuracy=_accuracy(map50, change))
        if parts is not None:
            self._add(key, "latency", latency=_latency(parts, speedup, session, control))
        if peak is not None:
            memory = Memory(peak_mib=peak, state_bytes=1, measured_by=peak_by, frames=4)
            self._add(key, "memory", memory=memory)
        return self

    def _add(self, key: str, of: Any, **found: Any) -> None:
        self._passes.append(
            MeasuredRecord(
                key=key, of=of, status="ok", protocol={}, environment=self._environment,
                finished="2026-01-01T00:00:00Z", tool_version="0.1.0", **found,
            )
        )  # fmt: skip

    def run(self, folder: Path, *, planned: bool = False) -> Run:
        """Write the run; its points carry the backbones' names as plans do since schema 4."""
        run = write_run(folder, self._records, environment=self._environment)
        path = run.folder / "plan.json"
        plan = json.loads(path.read_text())
        for point, made in zip(plan["points"], self._records, strict=True):
            point["model"] = made.setting["model"]["name"]
        if not planned:
            plan["measure"] = {"metrics": ["accuracy", "latency", "memory"]}
        path.write_bytes(sealed_text(plan))
        for found in self._passes:
            run.write_measured(found)
        return run

    def report(self, folder: Path, *, planned: bool = False) -> Report:
        """Write the run and read it back."""
        return read_report(self.run(folder / "run", planned=planned))


def _estimate(ends: Ends | None) -> StoredEstimate | None:
    return None if ends is None else StoredEstimate(value=ends[0], low=ends[1], high=ends[2])


def _accuracy(map50: float, change: Ends | None) -> Accuracy:
    return Accuracy(
        map50=map50, map=map50 / 2, frames=10, objects=10, detections=10, by_class={}, by_age=[],
        map50_change=_estimate(change),
    )  # fmt: skip


def _latency(
    parts: dict[str, float], speedup: Ends | None, session: str, control: Ends | None
) -> Latency:
    times = {**parts, "total": sum(parts.values())}
    spreads = {
        part: StoredSpread(median=ms, mean=ms, p90=ms, samples=8) for part, ms in times.items()
    }
    return Latency(
        session=session, parts=spreads, full=None, masked=None, expected_ms=times["total"],
        speedup=_estimate(speedup), control=_estimate(control),
    )  # fmt: skip


def with_dense(**more: Any) -> Measured:
    """Return a run that holds dense: mAP50 70, 100 ms, of which 60 in the backbone."""
    own: dict[str, Any] = {
        "map50": 70.0, "change": (0.0, None, None), "parts": DENSE_MS,
        "speedup": (1.0, None, None),
        "counted": {"gmacs": 174.0, "gmacs_published": 174.495, "tokens": 1764.0},
    }  # fmt: skip
    return Measured().point("dense", "dense", **{**own, **more})


def times(total: float) -> dict[str, float]:
    """Return parts that sum to a total, of which the head takes 30 ms."""
    return {"mask": 1.0, "embed": 10.0, "backbone": total - 41.0, "head": 30.0}
