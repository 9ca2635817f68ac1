"""Units of work: small, picklable, performed anywhere; pieces are what they give, part by part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from maskvd_cli.recipe.load import LoadedRecipe
from maskvd_cli.store.piece import Piece
from maskvd_cli.store.schema import Failure


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


class Executor(ABC):
    """Where units are performed. One file each; registered under `maskvd.executors`."""

    name: ClassVar[str]
    description: ClassVar[str]

    @abstractmethod
    def run(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Piece | Lost]]:
        """Perform the units; yield every piece as it ends, in any order of units.

        Units with `alone` run when no other does. A unit that raises, is killed, or runs out of
        time or memory yields a `Lost` with kind, reason and the last lines of its stderr; its
        earlier pieces stand. Closing the iterator ends what is running.
        """
