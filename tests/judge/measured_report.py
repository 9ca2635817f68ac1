"""Run folders with measured passes, written by hand, so that every number is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskvd_cli.core.conditions import conditions_of
from maskvd_cli.judge.installed import estimator_of
from maskvd_cli.judge.rows import Report, read_report
from maskvd_cli.store.details import StoredSpread
from maskvd_cli.store.measured import MeasuredRecord, StoredEstimate
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
                key, metrics(**(counted or {})), label=changes.pop("label", key), method=method,
                params=own, setting=setting or a_setting(),
                environment=self._environment, **changes,
            )
        )  # fmt: skip
        if map50 is not None:
            self._add(key, "accuracy", {"map50": map50, "map50_change": change}, {"frames": 10})
        if parts is not None:
            self._add(key, "latency", *_latency(parts, speedup, session, control))
        if peak is not None:
            values = {"peak_mib": peak, "state_mb": 1e-6}
            self._add(key, "memory", values, {"measured_by": peak_by, "frames": 4})
        return self

    def _add(
        self, key: str, of: str, values: Mapping[str, float | Ends | None], details: dict[str, Any]
    ) -> None:
        estimates = {name: _estimate(value) for name, value in values.items()}
        self._passes.append(
            MeasuredRecord(
                key=key, of=of, status="ok", protocol={}, estimator=estimator_of(of) or 0,
                conditions=conditions_of(self._environment), environment=self._environment,
                values={name: value for name, value in estimates.items() if value is not None},
                details=details, finished="2026-01-01T00:00:00Z", tool_version="0.1.0",
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


def _estimate(value: float | Ends | None) -> StoredEstimate | None:
    if value is None:
        return None
    ends = value if isinstance(value, tuple) else (value, None, None)
    return StoredEstimate(value=ends[0], low=ends[1], high=ends[2])


def _latency(
    parts: dict[str, float], speedup: Ends | None, session: str, control: Ends | None
) -> tuple[dict[str, float | Ends | None], dict[str, Any]]:
    total = sum(parts.values())
    values: dict[str, float | Ends | None] = {
        "latency_ms": total, "latency_mean_ms": total, "latency_p90_ms": total, "speedup": speedup,
        **{f"{part}_ms": ms for part, ms in parts.items()},
    }  # fmt: skip
    spreads = {
        part: StoredSpread(median=ms, mean=ms, p90=ms, samples=8).model_dump()
        for part, ms in {**parts, "total": total}.items()
    }
    between = _estimate(control)
    return values, {
        "session": session, "parts": spreads, "full": None, "masked": None, "disturbances": [],
        "control": None if between is None else between.model_dump(),
    }  # fmt: skip


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
