"""Measured runs made from numbers: samples, predictions and counts that tests can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from maskvd_cli.core.quantity import Estimate
from maskvd_cli.metrics.accuracy import Accuracy
from maskvd_cli.metrics.base import Finding
from maskvd_cli.metrics.latency import Latency, times_of
from maskvd_cli.metrics.memory import Memory
from maskvd_cli.metrics.registry import metrics
from maskvd_cli.store.measured import MeasuredRecord
from maskvd_cli.store.runs import Run
from maskvd_cli.store.schema import Failure, Metrics, Plan, PlannedPoint, PointRecord
from maskvd_cli.work.scoring import scored

CREATED, FINISHED = "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"
SESSION = {"rounds": 10, "frames": 8, "warmup": 3, "seed": 0}
MEASURE: dict[str, Any] = {
    "metrics": ["accuracy", "latency", "memory"],
    "accuracy": {"seed": 0},
    "latency": SESSION,
    "memory": {"frames": 4},
}
CLIPS, FRAMES = 8, 6
ENVIRONMENT: dict[str, Any] = {
    "command": "maskvd sweep", "tool_version": "0.1.0", "git": None, "python": "3.11.7",
    "packages": {"torch": "2.15.0"}, "processor": "A CPU", "cores": 2, "device": "cpu",
    "threads": 1, "float32_products": "highest",
}  # fmt: skip
SETTING: dict[str, Any] = {
    "dataset": {
        "name": "synthetic", "split": "val", "protocol": "kitti-ignore", "fingerprint": "0" * 64,
    },
    "model": {
        "name": "vitdet-ti", "backbone": "windowed", "input": "192x640", "frame": "192x640",
    },
    "detections": "model",
    "seed": 0,
    "heatmap": None,
    "measured": {"weights": "a" * 64, "device": "cpu", "precision": "float32"},
}  # fmt: skip


@dataclass
class Spec:
    """What a run is made of. Points by label: mean milliseconds of full and of masked frames."""

    times: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "dense": (100.0, 100.0),
            "maskvd period=8": (105.0, 40.0),
            "maskvd period=16": (105.0, 30.0),
        }
    )
    drift: float = 1.0
    noise: float = 0.03
    seed: int = 0
    # Share of objects of a point that are found, by label; else 0.9.
    found: dict[str, float] = field(default_factory=dict[str, float])
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    peak: dict[str, float] = field(default_factory=dict[str, float])
    setting: dict[str, Any] = field(default_factory=dict[str, Any])
    environment: dict[str, Any] = field(default_factory=dict[str, Any])
    failing: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    suffix: str = "k"
    revision: int = 1


def write_measured(folder: Path, spec: Spec) -> Run:
    """Write a run with counts, predictions, and all three passes."""
    run = Run(folder)
    setting, environment = merged(SETTING, spec.setting), {**ENVIRONMENT, **spec.environment}
    plan = plan_of(spec)
    run.write_plan(plan, b"schema: 1\n", environment)
    run.write_truth(truth())
    for number, point in enumerate(plan.points):
        if point.label in spec.pending:
            continue
        made = record(point, spec, setting, environment)
        run.write_point(made, None, predictions(number, spec.found.get(point.label, 0.9)))
    samples = samples_of(plan, spec)
    run.write_session(f"{spec.seed:012x}", samples)
    for point in plan.points:
        if point.label not in (*spec.failing, *spec.pending):
            for of, finding in measured(point, spec, samples, run):
                run.write_measured(passed(of, environment, finding))
    return run


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`, section by section."""
    both = {**base, **changes}
    return {
        name: {**base[name], **value} if isinstance(base.get(name), dict) and value else value
        for name, value in both.items()
    }


def plan_of(spec: Spec) -> Plan:
    points = [
        PlannedPoint(
            key=f"{label.replace(' ', '-')}-{spec.suffix}", label=label, method=label.split()[0],
            params={"period": int(label.split("=")[1])} if "=" in label else {},
            model="vitdet-ti", input="192x640",
        )
        for label in spec.times
    ]  # fmt: skip
    return Plan(
        recipe="compared", description="", recipe_file="r.yaml", assignments=[], created=CREATED,
        detections="model", detections_reason="so", notes=[], measure=MEASURE, points=points,
        tool_version="0.1.0",
    )  # fmt: skip


def record(
    point: PlannedPoint, spec: Spec, setting: dict[str, Any], environment: dict[str, Any]
) -> PointRecord:
    failed = point.label in spec.failing
    counts = {
        "clips": CLIPS, "frames": CLIPS * FRAMES, "tokens": 100.0, "keep_rate": 0.2,
        "keep_rate_real": 0.2, "full_frame_share": 1.0 if point.method == "dense" else 0.125,
        "gmacs": 1.5, "gmacs_published": 1.6, "gmacs_published_at_mean_tokens": None,
        "cost_curve": None, "state_bytes": 2_000_000, **spec.metrics.get(point.label, {}),
    }  # fmt: skip
    return PointRecord(
        key=point.key, label=point.label, status="failed" if failed else "ok", method=point.method,
        revision=spec.revision, params=point.params, setting=setting, environment=environment,
        metrics=None if failed else Metrics(**counts),
        failure=Failure(kind="X", message="[it] broke") if failed else None,
        finished=FINISHED, seconds=48.0, tool_version="0.1.0",
    )  # fmt: skip


def truth() -> dict[str, Any]:
    images = [
        {"id": 1 + clip * FRAMES + frame, "clip": f"c{clip}", "frame": frame, "height": 200,
         "width": 600}
        for clip in range(CLIPS) for frame in range(FRAMES)
    ]  # fmt: skip
    annotations = [
        {"id": 1 + 4 * i + j, "image_id": image["id"], "category_id": 1, "area": 2500.0,
         "bbox": [10.0 + 120 * j, 20.0, 50.0, 50.0], "iscrowd": 0}
        for i, image in enumerate(images) for j in range(4)
    ]  # fmt: skip
    return {
        "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Car"}]
    }  # fmt: skip


def predictions(number: int, share: float) -> dict[str, Any]:
    """Return detections of a share of all objects; which ones depends on the point alone."""
    drawn = np.random.default_rng(number)
    rows = [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for annotation in truth()["annotations"]
        if drawn.random() < share
    ]
    frames = [{"image_id": image["id"], "age": 0} for image in truth()["images"]]
    return {"results": rows, "frames": frames}


def samples_of(plan: Plan, spec: Spec) -> pd.DataFrame:
    """Return raw samples of all points beside dense and its control, times log-normal."""
    drawn = np.random.default_rng(spec.seed)
    series = {point.key: spec.times[point.label] for point in plan.points}
    dense = spec.times["dense"]
    series = {k: v for k, v in series.items() if not k.startswith("dense-")}
    rows: list[dict[str, Any]] = []
    for name, (full_ms, masked_ms) in {**series, "dense": dense, "control": dense}.items():
        for place in range(SESSION["rounds"] * SESSION["frames"]):
            number, frame = divmod(place, SESSION["frames"])
            full = frame == 0 or name in ("dense", "control")
            total = (full_ms if full else masked_ms) * spec.drift * drawn.lognormal(0, spec.noise)
            rows.append(
                {"series": name, "round": number, "clip": f"c{number % CLIPS}", "frame": frame,
                 "is_full": full, "total_ms": total, "mask_ms": 0.0, "embed_ms": 0.0,
                 "backbone_ms": total, "head_ms": 0.0}
            )  # fmt: skip
    return pd.DataFrame(rows)


def measured(
    point: PlannedPoint, spec: Spec, samples: pd.DataFrame, run: Run
) -> list[tuple[str, Finding]]:
    """Return what each metric says of a point."""
    (accuracy,) = scored(run, Accuracy, [point.key], None)
    state = spec.metrics.get(point.label, {}).get("state_bytes", 2_000_000)
    values = {
        "peak_mib": Estimate(spec.peak.get(point.label, 50.0)),
        "state_mb": Estimate(state / 1e6),
    }
    memory = Finding(point.key, values, {"measured_by": "cpu-allocations", "frames": 4})
    series, share = ("baseline", 1.0) if point.label == "dense" else (point.key, 0.125)
    renamed = samples.assign(series=samples["series"].replace({"dense": "baseline"}))
    times, details = times_of(renamed, series, share)
    details |= {"session": f"{spec.seed:012x}", "disturbances": []}
    latency = Finding(point.key, times, details)
    return [(Accuracy.name, accuracy), (Memory.name, memory), (Latency.name, latency)]


def passed(of: str, environment: dict[str, Any], finding: Finding) -> MeasuredRecord:
    """Return the record of a metric that did not fail."""
    content = {
        "key": finding.key, "of": of, "status": "ok", "protocol": MEASURE[of],
        "estimator": metrics.load(of).estimator, "conditions": {}, "environment": environment,
        "values": {name: asdict(value) for name, value in finding.values.items()},
        "details": dict(finding.details), "finished": FINISHED, "tool_version": "0.1.0",
    }  # fmt: skip
    return MeasuredRecord.model_validate(content)
