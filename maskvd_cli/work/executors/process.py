"""Units in processes of their own, which may crash, hang or fill the memory alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from maskvd_cli.store.piece import Piece
from maskvd_cli.work.executors.children import TIMED_OUT, Child
from maskvd_cli.work.unit import Executor, Lost, Unit


class Process(Executor):
    """Performs units in a child, one after the other; this process sleeps meanwhile.

    Units that may follow each other share a child as long as they end well, so that starting it
    and reading the recipe is paid once. The others have a fresh one: those after a failure, and
    measurements after other work.
    """

    name: ClassVar[str] = "process"
    description: ClassVar[str] = "in processes of their own, with limits of time and memory"
    keeps_limits: ClassVar[bool] = True
    _child: Child | None = None
    _kind: str | None = None
    _lost: Lost | None = None

    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        """Perform the units one after the other."""
        try:
            for unit in units:
                for piece in self._performed(unit):
                    yield unit, piece
        except BaseException:  # also where the iterator is closed
            self.close()
            raise

    def close(self) -> None:
        """End the child, with all that it started."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _performed(self, unit: Unit) -> Iterator[Piece | Lost]:
        """Yield what a unit gives.

        One that fails in a process that others have used is tried once more in a fresh one, with
        the clips that it lacks: what others left behind must not be the reason.
        """
        kind = unit.what if unit.alone else None
        if kind != self._kind:
            self.close()
        self._kind = kind
        was_used, given = self._child is not None, 0
        for piece in self._tried(unit):
            given += 1
            yield piece
        rest = _rest(unit, given)
        if was_used and rest is not None and self._may_be_of_others():
            yield from self._tried(rest)
        if self._lost is not None:
            yield self._lost

    def _tried(self, unit: Unit) -> Iterator[Piece | Lost]:
        """Yield what a unit gives in the child, which is let go of where it is not sound after."""
        if self._child is None:
            self.on_talk("starting a process")
            self._child = Child()
        yield from self._child.perform(unit, self.limits, self.on_talk)
        self._lost = self._child.lost
        if not self._child.is_sound:
            self.close()

    def _may_be_of_others(self) -> bool:
        """Tell whether the process, not the unit, may be why the unit was lost."""
        ended = self._child is None
        return ended and self._lost is not None and self._lost.failure.kind != TIMED_OUT


def _rest(unit: Unit, given: int) -> Unit | None:
    """Return what is left of a unit after so many pieces; None where nothing is, or unknown."""
    if not given:
        return unit
    if unit.clips is None or unit.clips[0] + given >= unit.clips[1]:
        return None
    return replace(unit, clips=(unit.clips[0] + given, unit.clips[1]))
