"""What metrics share that measure each point by itself: one piece that holds all of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.quantity import Estimate
from maskvd_cli.metrics.base import Finding, Metric
from maskvd_cli.metrics.session import sound_pieces
from maskvd_cli.store.piece import Piece

if TYPE_CHECKING:
    from maskvd_cli.methods.base import Method
    from maskvd_cli.metrics.session import Session


class Pointwise(Metric):
    """A metric of one piece for each point; `part` is its name.

    `values`: the facts of a piece that are values, by name: the quantity, and what the fact is
    divided by. All other facts are details.
    """

    part: ClassVar[str]
    values: ClassVar[Mapping[str, tuple[str, float]]]

    @abstractmethod
    def facts(
        self, session: Session, make: Callable[[], Method[Any]], protocol: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Measure one point; return what its piece holds, as JSON values."""

    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield a piece per point."""
        for key, make in session.series.items():
            yield Piece(key, self.part, facts=self.facts(session, make, protocol))

    def summarise(
        self, keys: Sequence[str], pieces: Iterable[Piece], protocol: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Return values and details of every point."""
        del protocol
        for piece in sound_pieces(keys, pieces):
            facts = dict(piece.facts)
            values = {
                quantity: Estimate(facts.pop(fact) / divisor)
                for fact, (quantity, divisor) in self.values.items()
            }
            yield Finding(piece.key, values, facts)
