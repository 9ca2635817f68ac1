"""Count the operations of a frame, part by part: a stopwatch that reads multiply-accumulates."""

from __future__ import annotations

from typing import Any

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.base import BACKBONE, EMBED, HEAD, Model
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.machine.stopwatch import PARTS, Stopwatch
from maskvd_cli.methods.base import Method
from maskvd_cli.methods.clips import FrameResult
from maskvd_cli.methods.stages import SELECTION


class MacWatch(Stopwatch):
    """Gives each part of a frame the multiply-accumulates since the last mark, `<part>_macs`.

    What is counted is what torch executes, so frames run slower under it, and must not be timed or
    measured otherwise; their outputs are the same.
    """

    def __init__(self) -> None:
        self._counter: MacCounter | None = None
        self._spent: dict[str, int] = {}
        self._last = 0

    def start(self) -> None:
        self._spent = {}
        self._last = 0
        self._counter = MacCounter()
        self._counter.__enter__()

    def lap(self, part: str) -> None:
        assert self._counter is not None
        spent = self._counter.macs - self._last
        self._spent[part] = self._spent.get(part, 0) + spent
        self._last = self._counter.macs

    def stop(self) -> dict[str, float]:
        """Return `<part>_macs` of every part, and `total_macs`.

        Raises UsageError where an operator that multiplies has no formula.
        """
        assert self._counter is not None
        counter = self._counter
        self.abandon()
        if counter.uncounted:
            names = ", ".join(sorted(counter.uncounted))
            raise UsageError(
                f"multiply-accumulates of {names} cannot be counted",
                remedy="give the method closed forms, or compose it of operators that are known",
            )
        told: dict[str, float] = {f"{part}_macs": self._spent.get(part, 0) for part in PARTS}
        return {**told, "total_macs": self._last}

    def abandon(self) -> None:
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counter = None


def watch_of(method: type[Method[Any]], model: Model) -> MacWatch | None:
    """Return a counter where the method or what surrounds the backbone has no closed form."""
    if method.has_closed_forms(model.arch) and model.around_macs() is not None:
        return None
    return MacWatch()


def backbone_macs(result: FrameResult) -> float | None:
    """Return what a frame executed between embedding and head; None where nothing was counted."""
    counted = [result.times.get(f"{part}_macs") for part in (SELECTION, BACKBONE)]
    return None if None in counted else sum(macs for macs in counted if macs is not None)


def around_macs(result: FrameResult, model: Model) -> float:
    """Return the MACs beside the backbone, in closed form or as they were counted."""
    closed = model.around_macs(result.output, result.ran)
    if closed is not None:
        return closed
    return sum(result.times[f"{part}_macs"] for part in (EMBED, HEAD))
