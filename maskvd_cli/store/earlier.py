"""Measured records of before schema 5, read as records of today.

Until schema 4 a record had a field for each of four metrics. They are checked as strictly as they
were then, and become values and details; statistics of that time are marked by estimator 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self, cast

from pydantic import Field, model_validator

from maskvd_cli.core.conditions import conditions_of
from maskvd_cli.store.details import TOTAL, StoredSpread, check_above_zero, checked_part
from maskvd_cli.store.schema import Count, FileName, Real, Stored, StoredEstimate

Values = dict[str, StoredEstimate]


class EarlierClassAccuracy(Stored):
    """Scores in percent; None where the class has no object."""

    map50: Real | None = Field(description="at IoU 0.5, percent")
    map: Real | None = Field(description="mean over IoU 0.5 to 0.95, percent")
    objects: Count = Field(description="annotated ones that count")


class EarlierAgeAccuracy(Stored):
    """mAP50 of the frames that lie `first` to `last` frames after the last full one."""

    first: Count = Field(description="fewest frames since the last full one")
    last: Count | None = Field(description="most; None: no end")
    frames: Count = Field(description="how many of this age")
    objects: Count = Field(description="annotated ones on them that count")
    map50: Real | None = Field(description="on these frames alone, percent")


class EarlierAccuracy(Stored):
    """COCO's scores in percent, from the stored predictions."""

    map50: Real | None = Field(description="mean over classes at IoU 0.5, percent")
    map: Real | None = Field(description="mean over classes and IoU 0.5 to 0.95, percent")
    frames: Count = Field(description="that were scored")
    objects: Count = Field(description="annotated ones that count")
    detections: Count = Field(description="of all frames")
    by_class: dict[str, EarlierClassAccuracy] = Field(description="each class by its name")
    by_age: list[EarlierAgeAccuracy] = Field(description="mAP50 by frames since the last full one")
    map50_change: StoredEstimate | None = Field(
        description="mAP50 minus the baseline's, in points; interval over clips"
    )
    left_out: list[Real | None] = Field(
        default=[], description="mAP50 with each group of videos left out, in percent"
    )


class EarlierLatency(Stored):
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
        description="mean total of the session's baseline / mean total, both with full frames "
        "weighted as in expected_ms"
    )
    control: StoredEstimate | None = Field(
        description="the session's baseline against itself once more: what chance alone does"
    )
    disturbances: list[str] = Field(
        default=[],
        description="what disturbed the session: throttling, other work, stolen time, swapping",
    )

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        if TOTAL not in self.parts:
            raise ValueError("the total of all parts is missing")
        ratios = [estimate for estimate in (self.speedup, self.control) if estimate is not None]
        check_above_zero(*(end for ratio in ratios for end in (ratio.value, ratio.low, ratio.high)))
        check_above_zero(self.parts[TOTAL].mean, self.parts[TOTAL].median, self.expected_ms)
        return self


class EarlierMemory(Stored):
    """Peak and state, from tensors and the allocator."""

    peak_mib: Real = Field(description="highest sum of weights, state and activations, 2**20 bytes")
    state_bytes: Count = Field(description="of the tensors that the method keeps between frames")
    measured_by: str = Field(description="cpu-allocations or cuda-max-allocated")
    frames: Count = Field(description="that were run")


class EarlierEnergy(Stored):
    """Energy of the whole board, idle power included."""

    mj_per_frame: Real = Field(description="millijoules of the whole board per frame")
    frames: Count = Field(description="that were run")
    seconds: Real = Field(description="that they took")
    measured_by: str = Field(description="the counter that was read")


_SHAPES: dict[str, type[Stored]] = {
    "accuracy": EarlierAccuracy,
    "latency": EarlierLatency,
    "memory": EarlierMemory,
    "energy": EarlierEnergy,
}


def upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of before schema 5 in the present shape. Raises ValueError where it is none.

    Conditions are what its environment tells, which is less than what is noted today.
    """
    rest = {name: value for name, value in data.items() if name not in _SHAPES}
    of, environment = data.get("of"), data.get("environment")
    held = [name for name in _SHAPES if data.get(name) is not None]
    if held != ([of] if data.get("status") == "ok" else []):
        raise ValueError(f"a record of {of} holds {', '.join(held) or 'nothing'}")
    values: Values = {}
    details: dict[str, Any] = {}
    for name in held:
        values, details = _in_parts(checked_part(_SHAPES[name], data[name], name))
    conditions: dict[str, Any] = {}
    if isinstance(environment, Mapping):
        conditions = conditions_of(cast(Mapping[str, Any], environment))
    return {"estimator": 0, "conditions": conditions, "values": values, "details": details, **rest}


def _in_parts(measured: Stored) -> tuple[Values, dict[str, Any]]:
    """Return what was measured by quantity, and the details beside it."""
    details = measured.model_dump(mode="json")
    given: dict[str, float | StoredEstimate | None]
    if isinstance(measured, EarlierAccuracy):
        names = ("map50", "map", "map50_change")
        given = {name: getattr(measured, name) for name in names}
        details = {name: value for name, value in details.items() if name not in names}
    elif isinstance(measured, EarlierLatency):
        given = _of_latency(measured)
        for name in ("expected_ms", "expected_parts_ms", "speedup"):
            del details[name]
    elif isinstance(measured, EarlierMemory):
        given = {"peak_mib": measured.peak_mib, "state_mb": measured.state_bytes / 1e6}
        details = {"measured_by": measured.measured_by, "frames": measured.frames}
    elif isinstance(measured, EarlierEnergy):
        given = {"energy_mj": measured.mj_per_frame}
        del details["mj_per_frame"]
    else:
        raise ValueError(f"{type(measured).__name__} is no shape of before schema 5")
    return dict(_estimates(given)), details


def _of_latency(latency: EarlierLatency) -> dict[str, float | StoredEstimate | None]:
    total = latency.parts[TOTAL]
    means = {part: spread.mean for part, spread in latency.parts.items() if part != TOTAL}
    return {
        "latency_ms": total.median,
        "latency_mean_ms": total.mean if latency.expected_ms is None else latency.expected_ms,
        "latency_p90_ms": total.p90,
        "latency_full_ms": None if latency.full is None else latency.full.median,
        "latency_masked_ms": None if latency.masked is None else latency.masked.median,
        **{f"{part}_ms": mean for part, mean in (means | latency.expected_parts_ms).items()},
        "speedup": latency.speedup,
    }


def _estimates(
    given: Mapping[str, float | StoredEstimate | None],
) -> Iterator[tuple[str, StoredEstimate]]:
    for name, value in given.items():
        if isinstance(value, StoredEstimate):
            yield name, value
        elif value is not None:
            yield name, StoredEstimate(value=value)
