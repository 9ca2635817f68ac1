"""Units in this process, one after the other; the recipe is read once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import ClassVar

from maskvd_cli.scenes.geometry import Site
from maskvd_cli.store.piece import Piece
from maskvd_cli.work.perform import perform
from maskvd_cli.work.unit import TRACE, Executor, Lost, Unit


class Inline(Executor):
    """Performs units here.

    Points of one scene whose frames do not all fit into memory go through the clips side by side,
    so that each frame is read once.
    """

    name: ClassVar[str] = "inline"
    description: ClassVar[str] = "in this process, one after the other"

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        """Perform the units; no limit is kept."""
        for _, group in groupby(enumerate(units), lambda item: self._shares(*item)):
            together = [unit for _, unit in group]
            streams = {
                id(unit): (unit, perform(unit, self.open_sweep, self.on_talk)) for unit in together
            }
            while streams:
                for number, (unit, pieces) in list(streams.items()):
                    piece = next(pieces, None)
                    if piece is None:
                        del streams[number]
                    else:
                        yield unit, piece

    def _shares(self, number: int, unit: Unit) -> int | Site:
        """Return what units that go side by side have in common; the unit's number for none."""
        if unit.what != TRACE:
            return number
        spec, scene = self.open_sweep(unit.recipe).at(unit.keys[0])
        return number if scene.feed.fits else spec.site
