"""Memory: the peak of weights, state and activations, and the state that a method keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from maskvd_cli.core.counts import STATE_MB
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.metrics.pointwise import Pointwise
from maskvd_cli.recipe.section import Section

if TYPE_CHECKING:
    from maskvd_cli.methods.base import Method
    from maskvd_cli.metrics.session import Session


class MemorySection(Section):
    """How memory is measured."""

    frames: int = Field(default=18, ge=1, le=1_000_000, description="first frames of a clip")


class Memory(Pointwise):
    """The peak of one point with its model alone in memory; the state at its largest."""

    name = "memory"
    description = "peak memory of weights, state and activations, and the state kept"
    order: ClassVar[int] = 20
    section: ClassVar[type[Section]] = MemorySection
    smoke: ClassVar[Mapping[str, Any]] = {"frames": 4}
    timed: ClassVar[bool] = True
    part: ClassVar[str] = "peak"
    values: ClassVar[Mapping[str, tuple[str, float]]] = {
        "peak_mib": ("peak_mib", 1.0),
        "state_bytes": ("state_mb", 1e6),
    }
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "peak_mib", "peak MiB", "MiB", 0, False, "weights, state and activations", spare=4
        ),
        STATE_MB,
    )

    details: ClassVar[Mapping[str, str]] = {
        "measured_by": "`cpu-allocations` or `cuda-max-allocated`",
        "frames": "how many were run",
        "others_mib": "what of the peak was held by others than the model, on CUDA",
    }

    @classmethod
    def foretold_seconds(
        cls, protocol: Mapping[str, Any], frame_seconds: float | None
    ) -> float | None:
        """Return the time of running the frames twice."""
        frames = 2 * int(protocol["frames"])
        return None if frame_seconds is None else frames * frame_seconds

    def facts(
        self, session: Session, make: Callable[[], Method[Any]], protocol: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return peak and state of a point."""
        from maskvd_cli.metrics.peaks import measure_memory  # noqa: PLC0415 - reports need no torch

        frames = int(protocol["frames"])
        return asdict(measure_memory(session.model, make, session.clips[0], frames))
