"""Words that mean the same in the details of every metric, since reports read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from maskvd_cli.store.schema import Count, Excerpt, FileName, Real, Stored, StoredEstimate

K = TypeVar("K", bound="Stored | Excerpt")
# No time is as short, and no ratio of two sessions is as small.
_LEAST = 1e-12
TOTAL = "total"


class StoredSpread(Stored):
    """Samples in short."""

    median: Real = Field(description="in ms")
    mean: Real = Field(description="in ms")
    p90: Real = Field(description="90th percentile, in ms")
    samples: Count = Field(description="how many frames were timed")


class StoredAge(Excerpt):
    """Frames that lie `first` to `last` frames after the last full one, and what they score."""

    # Of whatever quantities the metric has.
    __pydantic_extra__: dict[str, Real | None] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    first: Count = Field(description="fewest frames since the last full one")
    last: Count | None = Field(description="most; None: no end")
    frames: Count = Field(description="how many of this age")
    objects: Count = Field(description="annotated ones on them that count")

    def score(self, quantity: str) -> float | None:
        """Return a quantity on these frames alone, None where it is not known."""
        return self.__pydantic_extra__.get(quantity)


class KnownDetails(Excerpt):
    """What reports read of a record's details; a metric that uses one of these words means this."""

    session: FileName | None = Field(
        default=None, description="points of one session were measured interleaved"
    )
    rounds: Count | None = Field(default=None, description="of the session")
    parts: dict[str, StoredSpread] | None = Field(
        default=None, description="times of a frame by part, their sum as `total`"
    )
    full: StoredSpread | None = Field(default=None, description="total of full frames")
    masked: StoredSpread | None = Field(default=None, description="total of the other frames")
    control: StoredEstimate | None = Field(
        default=None, description="the session's baseline against itself: what chance alone does"
    )
    disturbances: list[str] = Field(
        default=[],
        description="what disturbed the session: throttling, other work, stolen time, swapping",
    )
    measured_by: str | None = Field(default=None, description="the counter that was read")
    frames: Count | None = Field(default=None, description="that were run or scored")
    seconds: Real | None = Field(default=None, description="that they took")
    objects: Count | None = Field(default=None, description="annotated ones that count")
    detections: Count | None = Field(default=None, description="of all frames")
    by_class: dict[str, dict[str, Real | None]] = Field(
        default={}, description="quantities of each class by its name"
    )
    by_age: list[StoredAge] = Field(
        default=[], description="quantities by frames since the last full one"
    )
    left_out: list[Real | None] = Field(
        default=[], description="the headline with each group of videos left out"
    )

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        if self.parts is not None and TOTAL not in self.parts:
            raise ValueError("the total of all parts is missing")
        if self.parts is not None:
            check_above_zero(self.parts[TOTAL].mean, self.parts[TOTAL].median)
        if self.control is not None:
            check_above_zero(self.control.value, self.control.low, self.control.high)
        return self


def checked_details(details: Mapping[str, Any]) -> KnownDetails:
    """Return what reports read of details. Raises ValueError, one line with the key."""
    return checked_part(KnownDetails, details, "details")


def checked_part(kind: type[K], part: object, place: str) -> K:
    """Return a part of a record as its kind. Raises ValueError, one line with place and key."""
    try:
        return kind.model_validate(part)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join([place, *map(str, first["loc"])])
        raise ValueError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from error


def check_above_zero(*values: float | None) -> None:
    """Raise ValueError for a time, or a ratio of times, that others cannot be divided by."""
    if any(value < _LEAST for value in values if value is not None):
        raise ValueError("a time or a ratio of times is not above zero")
