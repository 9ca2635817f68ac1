"""Energy per frame, on NVIDIA GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from maskvd_cli.core.quantity import Estimate, Quantity
from maskvd_cli.metrics.base import Finding, Metric
from maskvd_cli.metrics.session import FAILURE
from maskvd_cli.recipe.section import Section
from maskvd_cli.store.piece import Piece

if TYPE_CHECKING:
    from maskvd_cli.metrics.session import Session


class EnergySection(Section):
    """How energy is measured, on NVIDIA GPUs."""

    frames: int = Field(default=18, ge=1, le=1_000_000, description="first frames of a clip")
    seconds: float = Field(default=3.0, gt=0, le=3600, description="clip after clip, so long")


class Energy(Metric):
    """Millijoules of the whole board per frame, idle power included."""

    name = "energy"
    description = "millijoules of the GPU's board per frame"
    order: ClassVar[int] = 30
    section: ClassVar[type[Section]] = EnergySection
    smoke: ClassVar[Mapping[str, Any]] = {"frames": 4, "seconds": 0.2}
    timed: ClassVar[bool] = True
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

    @classmethod
    def foretold_seconds(
        cls, protocol: Mapping[str, Any], frame_seconds: float | None
    ) -> float | None:
        """Return the time of the protocol."""
        del frame_seconds
        return float(protocol["seconds"])

    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield a piece per point. Raises UsageError where the device counts no energy."""
        from maskvd_cli.metrics.boards import (  # noqa: PLC0415 - reports need no torch
            measure_energy,
            open_meter,
        )

        assert session.device is not None
        meter = open_meter(session.device)
        frames, seconds = int(protocol["frames"]), float(protocol["seconds"])
        for key, make in session.series.items():
            found = measure_energy(
                session.model, make(), session.clips, meter, frames=frames, seconds=seconds
            )
            yield Piece(key, "energy", facts=asdict(found))

    def summarise(
        self, keys: Sequence[str], pieces: Iterable[Piece], protocol: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Return the energy of every point."""
        del protocol
        for piece in pieces:
            if piece.key not in keys or FAILURE in piece.facts:
                continue
            facts = dict(piece.facts)
            yield Finding(piece.key, {"energy_mj": Estimate(facts.pop("mj_per_frame"))}, facts)
