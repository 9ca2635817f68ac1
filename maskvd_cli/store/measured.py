"""What a measured pass found of one point: `measured/<pass>/<key>.json`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from maskvd_cli.store.schema import (
    SCHEMA_VERSION,
    Count,
    Digest,
    Failure,
    FileName,
    Real,
    SchemaVersion,
    Stored,
)

PassName = Literal["accuracy", "latency", "memory", "energy"]
PASSES: tuple[PassName, ...] = ("accuracy", "memory", "energy", "latency")


# Nothing is computed, and no ratio of two sessions differs, by as much.
_LEAST = 1e-12


class StoredEstimate(Stored):
    """A value and its 95 % interval; bounds are None where there is too little to resample."""

    value: Real = Field(description="the estimate itself")
    low: Real | None = Field(description="2.5th percentile of the resamples")
    high: Real | None = Field(description="97.5th percentile of the resamples")


class StoredSpread(Stored):
    """Samples in short."""

    median: Real = Field(description="in ms")
    mean: Real = Field(description="in ms")
    p90: Real = Field(description="90th percentile, in ms")
    samples: Count = Field(description="how many frames were timed")


class ClassAccuracy(Stored):
    """Scores in percent; None where the class has no object."""

    map50: Real | None = Field(description="at IoU 0.5, percent")
    map: Real | None = Field(description="mean over IoU 0.5 to 0.95, percent")
    objects: Count = Field(description="annotated ones that count")


class AgeAccuracy(Stored):
    """mAP50 of the frames that lie `first` to `last` frames after the last full one."""

    first: Count = Field(description="fewest frames since the last full one")
    last: Count | None = Field(description="most; None: no end")
    frames: Count = Field(description="how many of this age")
    objects: Count = Field(description="annotated ones on them that count")
    map50: Real | None = Field(description="on these frames alone, percent")


class Accuracy(Stored):
    """COCO's scores in percent, from the stored predictions."""

    map50: Real | None = Field(description="mean over classes at IoU 0.5, percent")
    map: Real | None = Field(description="mean over classes and IoU 0.5 to 0.95, percent")
    frames: Count = Field(description="that were scored")
    objects: Count = Field(description="annotated ones that count")
    detections: Count = Field(description="of all frames")
    by_class: dict[str, ClassAccuracy] = Field(description="scores of each class by its name")
    by_age: list[AgeAccuracy] = Field(description="mAP50 by frames since the last full one")
    map50_change: StoredEstimate | None = Field(
        description="mAP50 minus dense's, in points; interval: paired bootstrap over clips"
    )


class Latency(Stored):
    """Milliseconds per frame; raw samples are in `measured/latency/session-<session>.parquet`."""

    session: FileName = Field(description="points of one session were measured interleaved")
    parts: dict[str, StoredSpread] = Field(description="total, mask, embed, backbone, head")
    full: StoredSpread | None = Field(description="total of full frames")
    masked: StoredSpread | None = Field(description="total of the other frames")
    expected_ms: Real | None = Field(
        default=None,
        description="mean total, full frames weighted by their share of all the data's frames",
    )
    expected_parts_ms: dict[str, Real] = Field(
        default={}, description="mask, embed, backbone, head: means, weighted as expected_ms is"
    )
    speedup: StoredEstimate | None = Field(
        description="mean total of the session's dense / mean total, both with full frames "
        "weighted as in expected_ms; interval: bootstrap over rounds, over frames if they are few"
    )
    control: StoredEstimate | None = Field(
        description="the session's dense against dense once more: what chance alone does"
    )
    disturbances: list[str] = Field(
        default=[],
        description="what disturbed the session: throttling, other work, stolen time, swapping",
    )

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        if "total" not in self.parts:
            raise ValueError("the total of all parts is missing")
        ratios = [estimate for estimate in (self.speedup, self.control) if estimate is not None]
        bounds = [b for r in ratios for b in (r.value, r.low, r.high) if b is not None]
        times = [self.parts["total"].mean, self.parts["total"].median, self.expected_ms]
        if any(value < _LEAST for value in (*bounds, *times) if value is not None):
            raise ValueError("a time or a ratio of times is not above zero")
        return self


class Memory(Stored):
    """Peak and state, from tensors and the allocator."""

    peak_mib: Real = Field(description="highest sum of weights, state and activations, 2**20 bytes")
    state_bytes: Count = Field(description="of the tensors that the method keeps between frames")
    measured_by: str = Field(description="cpu-allocations or cuda-max-allocated")
    frames: Count = Field(description="that were run")


class Energy(Stored):
    """Energy of the whole board, idle power included."""

    mj_per_frame: Real = Field(description="millijoules of the whole board per frame")
    frames: Count = Field(description="that were run")
    seconds: Real = Field(description="that they took")
    measured_by: str = Field(description="the counter that was read")


class MeasuredRecord(Stored):
    """One pass over one point. `protocol`: what of the recipe decides the pass."""

    schema_version: SchemaVersion = Field(default=SCHEMA_VERSION, alias="schema")
    key: FileName = Field(description="of the point")
    of: PassName = Field(description="which pass")
    status: Literal["ok", "failed"] = Field(description="failed: see failure")
    protocol: dict[str, Any] = Field(description="what of the recipe decides the pass")
    environment: dict[str, Any] = Field(description="command, machine and software of this pass")
    accuracy: Accuracy | None = Field(default=None, description="where this is the accuracy pass")
    latency: Latency | None = Field(default=None, description="where this is the latency pass")
    memory: Memory | None = Field(default=None, description="where this is the memory pass")
    energy: Energy | None = Field(default=None, description="where this is the energy pass")
    failure: Failure | None = Field(default=None, description="why the pass found nothing")
    finished: str = Field(description="UTC, ISO 8601")
    tool_version: str = Field(description="of maskvd")
    files: dict[str, Digest] = Field(
        default={}, description="sha256 of its raw samples, by their place in the run's folder"
    )

    @model_validator(mode="after")
    def _status_is_true(self) -> Self:
        found = [name for name in PASSES if getattr(self, name) is not None]
        if found != ([self.of] if self.status == "ok" else []):
            raise ValueError(f"a record of {self.of} holds {', '.join(found) or 'nothing'}")
        if (self.status == "failed") != (self.failure is not None):
            raise ValueError("a failure stands where a pass failed, and only there")
        return self
