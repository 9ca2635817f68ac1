"""Memory: the peak of weights, state and activations, and the state that a method keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from maskvd_cli.core.counts import STATE_MB
from maskvd_cli.core.quantity import Estimate, Quantity
from maskvd_cli.metrics.base import Finding, Metric
from maskvd_cli.metrics.session import FAILURE
from maskvd_cli.recipe.section import Section
from maskvd_cli.store.piece import Piece

if TYPE_CHECKING:
    from maskvd_cli.metrics.session import Session


class MemorySection(Section):
    """How memory is measured."""

    frames: int = Field(default=18, ge=1, le=1_000_000, description="first frames of a clip")


class Memory(Metric):
    """The peak of one point with its model alone in memory; the state at its largest."""

    name = "memory"
    description = "peak memory of weights, state and activations, and the state kept"
    order: ClassVar[int] = 20
    section: ClassVar[type[Section]] = MemorySection
    smoke: ClassVar[Mapping[str, Any]] = {"frames": 4}
    timed: ClassVar[bool] = True
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "peak_mib", "peak MiB", "MiB", 0, False, "weights, state and activations", spare=4
        ),
        STATE_MB,
    )

    @classmethod
    def foretold_seconds(
        cls, protocol: Mapping[str, Any], frame_seconds: float | None
    ) -> float | None:
        """Return the time of running the frames twice."""
        frames = 2 * int(protocol["frames"])
        return None if frame_seconds is None else frames * frame_seconds

    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield a piece per point."""
        from maskvd_cli.metrics.peaks import measure_memory  # noqa: PLC0415 - reports need no torch

        for key, make in session.series.items():
            found = measure_memory(session.model, make, session.clips[0], int(protocol["frames"]))
            yield Piece(key, "peak", facts=asdict(found))

    def summarise(
        self, keys: Sequence[str], pieces: Iterable[Piece], protocol: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Return peak and state of every point."""
        del protocol
        for piece in pieces:
            if piece.key not in keys or FAILURE in piece.facts:
                continue
            facts = dict(piece.facts)
            values = {
                "peak_mib": Estimate(facts.pop("peak_mib")),
                "state_mb": Estimate(facts.pop("state_bytes") / 1e6),
            }
            yield Finding(piece.key, values, facts)
