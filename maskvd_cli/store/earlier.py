"""Measured records as they were before schema 5, and as readers that know them by name see them.

Until schema 4 a record had a field for each of four metrics. They are checked as strictly as they
were then, and become values and details; statistics of that time are marked by estimator 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeVar, cast

from pydantic import BaseModel, Field, ValidationError, model_validator

from maskvd_cli.core.conditions import conditions_of
from maskvd_cli.store.schema import Count, FileName, Real, Stored, StoredEstimate

S = TypeVar("S", bound=Stored)
Values = dict[str, StoredEstimate]
# Nothing is computed, and no ratio of two sessions differs, by as much.
_LEAST = 1e-12


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
        description="mAP50 minus the baseline's, in points; interval over clips"
    )
    left_out: list[Real | None] = Field(
        default=[], description="mAP50 with each group of videos left out, in percent"
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


SHAPES: dict[str, type[Stored]] = {
    "accuracy": Accuracy,
    "latency": Latency,
    "memory": Memory,
    "energy": Energy,
}


def upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of before schema 5 in the present shape. Raises ValueError where it is none.

    Conditions are what its environment tells, which is less than what is noted today.
    """
    rest = {name: value for name, value in data.items() if name not in SHAPES}
    of, environment = data.get("of"), data.get("environment")
    held = [name for name in SHAPES if data.get(name) is not None]
    if held != ([of] if data.get("status") == "ok" else []):
        raise ValueError(f"a record of {of} holds {', '.join(held) or 'nothing'}")
    values: Values = {}
    details: dict[str, Any] = {}
    for name in held:
        values, details = in_parts(_checked(name, data[name]))
    told = conditions_of(cast(Mapping[str, Any], environment)) if _is_mapping(environment) else {}
    return {"estimator": 0, "conditions": told, "values": values, "details": details, **rest}


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _checked(name: str, value: object) -> Stored:
    """Return what stands under a metric's name. Raises ValueError, one line with the key."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    try:
        return SHAPES[name].model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join([name, *map(str, first["loc"])])
        raise ValueError(f"{key}: {first['msg']}") from error


def in_parts(measured: Stored) -> tuple[Values, dict[str, Any]]:
    """Return what was measured by quantity, and the details beside it."""
    details = measured.model_dump(mode="json")
    given: dict[str, float | StoredEstimate | None]
    if isinstance(measured, Accuracy):
        names = ("map50", "map", "map50_change")
        given = {name: getattr(measured, name) for name in names}
        details = {name: value for name, value in details.items() if name not in names}
    elif isinstance(measured, Latency):
        given = _of_latency(measured)
        for name in ("expected_ms", "expected_parts_ms", "speedup"):
            del details[name]
    elif isinstance(measured, Memory):
        given = {"peak_mib": measured.peak_mib, "state_mb": measured.state_bytes / 1e6}
        details = {"measured_by": measured.measured_by, "frames": measured.frames}
    elif isinstance(measured, Energy):
        given = {"energy_mj": measured.mj_per_frame}
        del details["mj_per_frame"]
    else:
        raise ValueError(f"{type(measured).__name__} is no shape of before schema 5")
    return dict(_estimates(given)), details


def _of_latency(found: Latency) -> dict[str, float | StoredEstimate | None]:
    total = found.parts["total"]
    means = {part: spread.mean for part, spread in found.parts.items() if part != "total"}
    return {
        "latency_ms": total.median,
        "latency_mean_ms": total.mean if found.expected_ms is None else found.expected_ms,
        "latency_p90_ms": total.p90,
        "latency_full_ms": None if found.full is None else found.full.median,
        "latency_masked_ms": None if found.masked is None else found.masked.median,
        **{f"{part}_ms": mean for part, mean in (means | found.expected_parts_ms).items()},
        "speedup": found.speedup,
    }


def _estimates(
    given: Mapping[str, float | StoredEstimate | None],
) -> Iterator[tuple[str, StoredEstimate]]:
    for name, value in given.items():
        if isinstance(value, StoredEstimate):
            yield name, value
        elif value is not None:
            yield name, StoredEstimate(value=value)


def seen_as(shape: type[S], values: Mapping[str, StoredEstimate], details: Mapping[str, Any]) -> S:
    """Return values and details as one of the shapes. Raises ValueError where they do not fit."""

    def plain(name: str) -> float | None:
        return values[name].value if name in values else None

    more: dict[str, Any] = {}
    if shape is Accuracy:
        more = {"map50": plain("map50"), "map": plain("map")}
        more["map50_change"] = values.get("map50_change")
    elif shape is Latency:
        parts = {
            name.removesuffix("_ms"): found.value
            for name, found in values.items()
            if name.endswith("_ms") and not name.startswith("latency_")
        }
        more = {"expected_ms": plain("latency_mean_ms"), "expected_parts_ms": parts}
        more["speedup"] = values.get("speedup")
    elif shape is Memory:
        more = {"peak_mib": plain("peak_mib"), "state_bytes": round(1e6 * (plain("state_mb") or 0))}
    elif shape is Energy:
        more = {"mj_per_frame": plain("energy_mj")}
    known = {name: value for name, value in details.items() if name in shape.model_fields}
    return shape.model_validate({**known, **more})
