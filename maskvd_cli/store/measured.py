"""The record of one metric of one point: `measured/<metric>/<key>.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from maskvd_cli.store.details import KnownDetails, check_above_zero, checked_details
from maskvd_cli.store.earlier import upgraded
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

__all__ = ["MeasuredRecord", "StoredEstimate"]

# Reports divide by these quantities.
_DIVISORS = ("latency_ms", "latency_mean_ms", "speedup")
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
        description="by the name of the quantity; what is not known is left out"
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
        checked_details(self.details)
        for estimate in filter(None, map(self.estimate, _DIVISORS)):
            check_above_zero(estimate.value, estimate.low, estimate.high)
        return self

    @property
    def known_details(self) -> KnownDetails:
        """The details whose words mean the same for every metric."""
        return checked_details(self.details)

    def estimate(self, quantity: str) -> StoredEstimate | None:
        """Return a quantity with its interval, None where it is not known."""
        return self.values.get(quantity)

    def value(self, quantity: str) -> float | None:
        """Return a quantity's value, None where it is not known."""
        return self.values[quantity].value if quantity in self.values else None
