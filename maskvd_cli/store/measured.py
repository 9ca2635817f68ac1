"""What a metric found of one point: `measured/<metric>/<key>.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from maskvd_cli.core.filenames import file_name
from maskvd_cli.store.earlier import (
    SHAPES,
    Accuracy,
    AgeAccuracy,
    ClassAccuracy,
    Energy,
    Latency,
    Memory,
    StoredSpread,
    seen_as,
    upgraded,
)
from maskvd_cli.store.schema import (
    SCHEMA_VERSION,
    Count,
    Digest,
    Failure,
    FileName,
    SchemaVersion,
    Stored,
    StoredEstimate,
)

__all__ = [
    "PASSES",
    "Accuracy",
    "AgeAccuracy",
    "ClassAccuracy",
    "Energy",
    "Latency",
    "MeasuredRecord",
    "Memory",
    "PassName",
    "StoredEstimate",
    "StoredSpread",
]

S = TypeVar("S", bound=Stored)
# The metrics of before schema 5, in the order in which they ran.
PASSES: tuple[str, ...] = ("accuracy", "memory", "energy", "latency")
PassName = str
# A metric's name is a folder's name.
MetricName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class MeasuredRecord(Stored):
    """One metric of one point. Records of before schema 5 are read as records of today."""

    schema_version: SchemaVersion = Field(default=SCHEMA_VERSION, alias="schema")
    key: FileName = Field(description="of the point")
    of: MetricName = Field(description="which metric")
    status: Literal["ok", "failed"] = Field(description="failed: see failure")
    protocol: dict[str, Any] = Field(description="what of the recipe decides the metric")
    estimator: Count = Field(
        description="of the metric; rises when the same samples give other values; 0: older than "
        "estimators"
    )
    conditions: dict[str, Any] = Field(
        description="what of machine and software decides the values; only under equal conditions "
        "a record is used again"
    )
    environment: dict[str, Any] = Field(description="command, machine and software")
    values: dict[str, StoredEstimate] = Field(
        description="by the name of the quantity; what could not be told is left out"
    )
    details: dict[str, Any] = Field(description="what the metric says beside them")
    failure: Failure | None = Field(default=None, description="why there are no values")
    finished: str = Field(description="UTC, ISO 8601")
    tool_version: str = Field(description="of maskvd")
    files: dict[str, Digest] = Field(
        default={}, description="sha256 of its raw samples, by their place in the run's folder"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_before_schema_5(cls, data: object) -> object:
        if isinstance(data, Mapping) and "values" not in data:
            return upgraded(data)  # pyright: ignore[reportUnknownArgumentType]
        return data  # pyright: ignore[reportUnknownVariableType]

    @model_validator(mode="after")
    def _status_is_true(self) -> Self:
        if self.status == "failed" and (self.values or self.details):
            raise ValueError(f"a record of {self.of} failed and holds values")
        if (self.status == "failed") != (self.failure is not None):
            raise ValueError("a failure stands where a metric failed, and only there")
        if "session" in self.details:
            _check_session(self.details["session"])
        if self.status == "ok" and self._is_of_before():
            seen_as(SHAPES[self.of], self.values, self.details)
        return self

    def _is_of_before(self) -> bool:
        """Tell whether the record has a shape of before schema 5: outputs of other tasks do not."""
        if self.of != "accuracy":
            return self.of in SHAPES
        # Without an object there is no value, so that details tell.
        return "map50" in self.values or {"by_class", "by_age"} <= self.details.keys()

    def value(self, quantity: str) -> float | None:
        """Return a quantity's value, None where it is not known."""
        return self.values[quantity].value if quantity in self.values else None

    @property
    def accuracy(self) -> Accuracy | None:
        """The record in the shape that accuracy had before schema 5; None for another metric."""
        return self._seen("accuracy", Accuracy)

    @property
    def latency(self) -> Latency | None:
        """The same of latency."""
        return self._seen("latency", Latency)

    @property
    def memory(self) -> Memory | None:
        """The same of memory."""
        return self._seen("memory", Memory)

    @property
    def energy(self) -> Energy | None:
        """The same of energy."""
        return self._seen("energy", Energy)

    def _seen(self, of: str, shape: type[S]) -> S | None:
        if self.of != of or self.status != "ok" or not self._is_of_before():
            return None
        return seen_as(shape, self.values, self.details)


def _check_session(name: object) -> None:
    """Raise ValueError for a session's name that is joined to a folder and is no file's name."""
    try:
        file_name(name if isinstance(name, str) else "")
    except ValueError as error:
        raise ValueError(f"details.session: {error}") from error
