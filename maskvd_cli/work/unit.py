"""Units of work: small, picklable, performed anywhere; pieces are what they give, part by part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.recipe.load import LoadedRecipe
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.schema import Failure

if TYPE_CHECKING:
    from maskvd_cli.work.prepare import Sweep

TRACE, PLAN = "trace", "plan"


@dataclass(frozen=True)
class Unit:
    """What to do, without anything that was loaded for it.

    `what`: `trace` (run the model over `clips` [first, last) of the point `keys[0]`), `plan`
    (the same from annotations) or the name of a metric, whose session takes the points `keys`
    side by side. `options`: what else decides it, as JSON (a session's name, rounds done before).
    `alone`: no other work of the run may share the machine.
    """

    recipe: LoadedRecipe
    what: str
    keys: tuple[str, ...]
    clips: tuple[int, int] | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    alone: bool = False


@dataclass(frozen=True)
class Lost:
    """A unit, or one point of it (`key`), that could not be performed, and why."""

    failure: Failure
    key: str | None = None


# Hears what is being done.
OnTalk = Callable[[str], None]
# What performs a unit asks for its recipe with everything that is read for it.
OpenSweep = Callable[[LoadedRecipe], "Sweep"]


@dataclass(frozen=True)
class Limits:
    """What one unit may take; None: no limit. Only executors with processes can keep to them."""

    seconds: float | None = None
    mebibytes: int | None = None


class Executor(ABC):
    """Where units are performed. One file each; registered under `maskvd.executors`.

    `open_sweep` gives what this process has read of a recipe; other processes read it themselves.
    `on_talk` hears what is being done, where that is known.
    `clips_per_unit`: how many clips a unit holds at most, None: all that a point lacks.
    `keeps_limits`: whether it ends units that go beyond `limits`.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    clips_per_unit: ClassVar[int | None] = None
    keeps_limits: ClassVar[bool] = False

    def __init__(self, open_sweep: OpenSweep, limits: Limits = Limits()) -> None:
        self.open_sweep = open_sweep
        self.limits = limits
        self.on_talk: OnTalk = lambda text: None

    @abstractmethod
    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        """Perform the units; yield every piece as it ends, in any order of units.

        Units with `alone` run when no other does. A unit that raises, is killed, or runs out of
        time or memory yields a `Lost` with kind, reason and the last lines of its stderr; its
        earlier pieces stand. Closing the iterator ends what is running.
        """

    def close(self) -> None:  # noqa: B027 - most keep nothing
        """End what was kept between runs; called once, when the sweep ends."""
