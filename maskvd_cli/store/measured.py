"""What a measured pass found of one point: `measured/<pass>/<key>.json`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from maskvd_cli.store.schema import (
    SCHEMA_VERSION,
    Count,
    Failure,
    Real,
    SchemaVersion,
    Stored,
)

PassName = Literal["accuracy", "latency", "memory", "energy"]
PASSES: tuple[PassName, ...] = ("accuracy", "memory", "energy", "latency")


class StoredEstimate(Stored):
    """A value and its 95 % interval; bounds are None where there is too little to resample."""

    value: Real
    low: Real | None
    high: Real | None


class StoredSpread(Stored):
    """Samples in short."""

    median: Real
    mean: Real
    p90: Real
    samples: Count


class ClassAccuracy(Stored):
    """Scores in percent; None where the class has no object."""

    map50: Real | None
    map: Real | None
    objects: Count


class AgeAccuracy(Stored):
    """mAP50 of the frames that lie `first` to `last` frames after the last full one."""

    first: Count
    last: Count | None
    frames: Count
    objects: Count
    map50: Real | None


class Accuracy(Stored):
    """COCO's scores in percent, from the stored predictions."""

    map50: Real | None
    map: Real | None
    frames: Count
    objects: Count
    detections: Count
    by_class: dict[str, ClassAccuracy]
    by_age: list[AgeAccuracy]
    map50_change: StoredEstimate | None = Field(
        description="mAP50 minus dense's, in points; interval: paired bootstrap over clips"
    )


class Latency(Stored):
    """Milliseconds per frame; raw samples are in `measured/latency/session-<session>.parquet`."""

    session: str = Field(description="points of one session were measured interleaved")
    parts: dict[str, StoredSpread] = Field(description="total, mask, embed, backbone, head")
    full: StoredSpread | None = Field(description="total of full frames")
    masked: StoredSpread | None = Field(description="total of the other frames")
    expected_ms: Real | None = Field(
        default=None,
        description="mean total, full frames weighted by their share of all the data's frames",
    )
    speedup: StoredEstimate | None = Field(
        description="mean total of the session's dense / mean total, both with full frames "
        "weighted as in expected_ms; interval: bootstrap over paired frames of each kind"
    )
    control: StoredEstimate | None = Field(
        description="the session's dense against dense once more: what chance alone does"
    )


class Memory(Stored):
    """Peak and state, from tensors and the allocator."""

    peak_mib: Real
    state_bytes: Count
    measured_by: str
    frames: Count


class Energy(Stored):
    """Energy of the whole board, idle power included."""

    mj_per_frame: Real
    frames: Count
    seconds: Real
    measured_by: str


class MeasuredRecord(Stored):
    """One pass over one point. `protocol`: what of the recipe decides the pass."""

    schema_version: SchemaVersion = Field(default=SCHEMA_VERSION, alias="schema")
    key: str
    of: PassName
    status: Literal["ok", "failed"]
    protocol: dict[str, Any]
    environment: dict[str, Any]
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    failure: Failure | None = None
    finished: str = Field(description="UTC, ISO 8601")
    tool_version: str

    @model_validator(mode="after")
    def _status_is_true(self) -> Self:
        found = [name for name in PASSES if getattr(self, name) is not None]
        if found != ([self.of] if self.status == "ok" else []):
            raise ValueError(f"a record of {self.of} holds {', '.join(found) or 'nothing'}")
        if (self.status == "failed") != (self.failure is not None):
            raise ValueError("a failure stands where a pass failed, and only there")
        return self
