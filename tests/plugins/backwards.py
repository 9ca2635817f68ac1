"""Executor plug-in: perform the units of a sweep from the last to the first, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskvd_cli.store.piece import Piece
from maskvd_cli.work.perform import perform
from maskvd_cli.work.unit import Executor, Lost, Unit


class Backwards(Executor):
    """Shows that the order of units decides nothing."""

    name = "backwards"
    description = "the last unit first"

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        for unit in reversed(units):
            for piece in perform(unit, self.open_sweep):
                yield unit, piece
