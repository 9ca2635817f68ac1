"""A checkup of one part of machine and software: what was found, how bad it is, what mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "warning", "problem"]
STATES: tuple[State, ...] = ("ok", "note", "warning", "problem")


@dataclass(frozen=True)
class Checkup:
    """One line on what was found, and one on what to do where it is not ok.

    `note`: good to know; `warning`: numbers measured now may be wrong; `problem`: something that
    was set up does not work.
    """

    name: str
    state: State
    found: str
    remedy: str | None = None

    def __post_init__(self) -> None:
        assert (self.remedy is None) == (self.state == "ok"), f"{self.name}: remedy and state"


def worst(findings: Iterable[Checkup]) -> State:
    """Return the worst state of all, ok where there are none."""
    states: list[State] = ["ok", *(finding.state for finding in findings)]
    return max(states, key=STATES.index)
