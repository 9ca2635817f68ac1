"""Energy per frame, on NVIDIA GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from maskvd_cli.core.quantity import Quantity
from maskvd_cli.metrics.pointwise import Pointwise
from maskvd_cli.recipe.section import Section

if TYPE_CHECKING:
    from maskvd_cli.methods.base import Method
    from maskvd_cli.metrics.session import Session


class EnergySection(Section):
    """How energy is measured, on NVIDIA GPUs."""

    frames: int = Field(default=18, ge=1, le=1_000_000, description="first frames of a clip")
    seconds: float = Field(default=3.0, gt=0, le=3600, description="clip after clip, so long")


class Energy(Pointwise):
    """Millijoules of the whole board per frame, idle power included."""

    name = "energy"
    description = "millijoules of the GPU's board per frame"
    order: ClassVar[int] = 30
    section: ClassVar[type[Section]] = EnergySection
    smoke: ClassVar[Mapping[str, Any]] = {"frames": 4, "seconds": 0.2}
    timed: ClassVar[bool] = True
    part: ClassVar[str] = "energy"
    values: ClassVar[Mapping[str, tuple[str, float]]] = {"mj_per_frame": ("energy_mj", 1.0)}
    by_default: ClassVar[bool] = False
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "energy_mj",
            "energy mJ",
            "mJ",
            0,
            False,
            "of the GPU's board per frame, idle power included",
            comparison="ratio",
            spare=6,
        ),
    )

    details: ClassVar[Mapping[str, str]] = {
        "measured_by": "the counter that was read",
        "frames": "how many were run between its readings",
        "seconds": "how long they took",
    }

    @classmethod
    def foretold_seconds(
        cls, protocol: Mapping[str, Any], frame_seconds: float | None
    ) -> float | None:
        """Return the time of the protocol."""
        del frame_seconds
        return float(protocol["seconds"])

    def facts(
        self, session: Session, make: Callable[[], Method[Any]], protocol: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the energy of a point. Raises UsageError where the device counts none."""
        from maskvd_cli.metrics.boards import (  # noqa: PLC0415 - reports need no torch
            measure_energy,
            open_meter,
        )

        assert session.device is not None
        meter = open_meter(session.device)
        frames, seconds = int(protocol["frames"]), float(protocol["seconds"])
        return asdict(
            measure_energy(
                session.model, make(), session.clips, meter, frames=frames, seconds=seconds
            )
        )
