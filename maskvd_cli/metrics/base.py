"""What every metric is: its recipe section, how it runs, and the quantities it yields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.quantity import Estimate, Quantity
from maskvd_cli.recipe.section import Section

if TYPE_CHECKING:
    import pandas as pd

    from maskvd_cli.metrics.session import Session
    from maskvd_cli.store.piece import Piece
    from maskvd_cli.tasks.base import Task


@dataclass(frozen=True)
class Finding:
    """What a metric says of one point: values by quantity name, and JSON details beside them.

    A quantity that could not be told is left out of `values`.
    """

    key: str
    values: Mapping[str, Estimate]
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Metric(ABC):
    """One way of measuring points; a file of its own, nothing elsewhere names it.

    `order`: metrics run, and their columns stand, by rising order. `section`: what the recipe may
    say under the metric's name; `smoke`: what stands there instead where a sweep is only tried out.
    Section and seed are the protocol; with `estimator` (rises when the same pieces give other
    values) and the conditions they must be equal for a record to be used again. `timed`: nothing
    else may share the machine. `together`: all points of a model and input in one session, whose
    pieces are stored as they end; else each point by itself. `from_outputs`: stands on what the
    sweep stored of each frame, no model runs. `by_default`: measured where a recipe names no
    metrics. `needs_truth`: void with random weights or noise. `details`: what findings say beside
    their values, key to meaning.
    Importing the file must not import torch: plans and reports read the quantities.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    order: ClassVar[int] = 50
    estimator: ClassVar[int] = 1
    section: ClassVar[type[Section]] = Section
    smoke: ClassVar[Mapping[str, Any]] = {}
    quantities: ClassVar[tuple[Quantity, ...]] = ()
    timed: ClassVar[bool] = False
    together: ClassVar[bool] = False
    from_outputs: ClassVar[bool] = False
    by_default: ClassVar[bool] = True
    needs_truth: ClassVar[bool] = False
    details: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def yields(cls, task: type[Task]) -> tuple[Quantity, ...]:
        """Return the quantities that the metric yields where a model is asked for `task`."""
        del task
        return cls.quantities

    @classmethod
    def details_of(cls, task: type[Task]) -> Mapping[str, str]:
        """Return what findings say beside their values for such a task, key to meaning."""
        del task
        return cls.details

    @classmethod
    def parts(cls, protocol: Mapping[str, Any], series: int) -> tuple[str, ...] | None:
        """Return the names of all parts of a session of so many points, the baseline among them.

        None where they are not known before.
        """
        del protocol, series
        return None

    @classmethod
    def foretold_seconds(
        cls, protocol: Mapping[str, Any], frame_seconds: float | None
    ) -> float | None:
        """Return about how long one point takes where a frame takes `frame_seconds`.

        None where that cannot be foretold, as without the time of a frame.
        """
        del protocol, frame_seconds
        return None

    @abstractmethod
    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        """Measure the session's points; yield each part as it ends, so that it can be stored.

        A piece made by `dropped` says why a point gets no values; what raises ends the session.
        """

    @abstractmethod
    def summarise(
        self, keys: Sequence[str], pieces: Iterable[Piece], protocol: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Return a finding per point from the pieces alone: a pure function.

        Points that were dropped, or of which the pieces say nothing, get none.
        """

    def samples(self, pieces: Iterable[Piece]) -> pd.DataFrame | None:
        """Return what to keep beside the values, a row for each sample; None: values are all."""
        del pieces
        return None
