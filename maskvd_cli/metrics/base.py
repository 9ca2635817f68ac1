"""What every metric is: its recipe section, how it runs, and the quantities it yields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.quantity import Estimate, Quantity
from maskvd_cli.recipe.section import Section

if TYPE_CHECKING:
    from maskvd_cli.metrics.session import Session
    from maskvd_cli.store.piece import Piece


@dataclass(frozen=True)
class Finding:
    """What a metric says of one point: values by quantity name, and JSON details beside them."""

    key: str
    values: Mapping[str, Estimate]
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Metric(ABC):
    """One way of measuring points; a file of its own, nothing elsewhere names it.

    `section`: what the recipe may say under the metric's name, and its defaults; together with
    `estimator` (rises when the same pieces give other values) it is the protocol that a record
    must equal to be used again. `timed`: shares the machine with no other work. `together`: all
    points of a model and input are measured in one session, else each in its own. `by_default`:
    measured where a recipe names no metrics. `needs_truth`: void with random weights or noise.
    Importing the file must not import torch: reports read the quantities.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    order: ClassVar[int] = 50
    estimator: ClassVar[int] = 1
    section: ClassVar[type[Section]] = Section
    quantities: ClassVar[tuple[Quantity, ...]]
    timed: ClassVar[bool] = False
    together: ClassVar[bool] = False
    by_default: ClassVar[bool] = True
    needs_truth: ClassVar[bool] = False

    @abstractmethod
    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        """Measure the session's points; yield each part as it ends, so that it can be stored."""

    @abstractmethod
    def summarise(
        self, keys: Sequence[str], pieces: Iterable[Piece], protocol: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Return a finding per point from the pieces alone: a pure function."""
