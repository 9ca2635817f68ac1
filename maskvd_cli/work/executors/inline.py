"""Units in this process, one after the other; the recipe is read once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import ClassVar

from maskvd_cli.core.errors import EXIT_POINTS_FAILED, MaskvdError
from maskvd_cli.machine.failures import DEVICE_LOST
from maskvd_cli.scenes.geometry import Site
from maskvd_cli.store.piece import Piece
from maskvd_cli.work.perform import perform
from maskvd_cli.work.unit import TRACE, Executor, Lost, Unit


class DeviceLostError(MaskvdError):
    """Nothing works on the device any more in this process; points that ran before are stored."""

    exit_code = EXIT_POINTS_FAILED


class Inline(Executor):
    """Performs units here.

    Points of one scene whose frames do not all fit into memory go through the clips side by side,
    so that each frame is read once.
    """

    name: ClassVar[str] = "inline"
    description: ClassVar[str] = "in this process, one after the other"
    _lost_by: str | None = None

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        """Perform the units; no limit is kept. Raises DeviceLostError after one lost the device."""
        for _, group in groupby(enumerate(units), lambda item: self._shares(*item)):
            together = [unit for _, unit in group]
            streams = {
                id(unit): (unit, perform(unit, self.open_sweep, self.on_talk)) for unit in together
            }
            while streams:
                for number, (unit, pieces) in list(streams.items()):
                    self._refuse_lost_device()
                    piece = next(pieces, None)
                    if piece is None or _is_last(piece):
                        del streams[number]
                    if piece is not None:
                        self._note(unit, piece)
                        yield unit, piece

    def _shares(self, number: int, unit: Unit) -> int | Site:
        """Return what units that go side by side have in common; the unit's number for none."""
        if unit.what != TRACE:
            return number
        spec, scene = self.open_sweep(unit.recipe).at(unit.keys[0])
        return number if scene.feed.fits else spec.site

    def _note(self, unit: Unit, piece: Piece | Lost) -> None:
        if isinstance(piece, Lost) and piece.failure.kind == DEVICE_LOST:
            self._lost_by = piece.key or ", ".join(unit.keys)

    def _refuse_lost_device(self) -> None:
        """Raise DeviceLostError where points would fail by the fault of one before them."""
        if self._lost_by is not None:
            raise DeviceLostError(
                f"{self._lost_by} left the device unusable for this process",
                remedy="the same command goes on with the points after it; "
                "`--executor process` gives them a process of their own",
            )


def _is_last(piece: Piece | Lost) -> bool:
    """Tell whether nothing follows of a unit."""
    return isinstance(piece, Lost) and piece.key is None
