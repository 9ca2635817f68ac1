"""Track AP: how well instances are followed over a clip, as YouTube-VIS scores it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.metrics.accuracy import Accuracy
from maskvd_cli.tasks.quantities import TRACKS

if TYPE_CHECKING:
    from maskvd_cli.metrics.session import Outputs, Session
    from maskvd_cli.store.piece import Piece
    from maskvd_cli.tasks.base import Evaluation, Task


class TrackAp(Accuracy):
    """Scores of tracks that the stored outputs make; the change is paired over videos, too."""

    name = "track-ap"
    description = "AP of tracks over clips, from the outputs that the sweep stored of every frame"
    order: ClassVar[int] = 12
    by_default: ClassVar[bool] = False

    @classmethod
    def scored_by(cls, task: type[Task]) -> tuple[Quantity, ...]:
        """Return track AP and AP50; nothing of tasks whose objects have no tracks."""
        return TRACKS if task.has_tracks else ()

    @classmethod
    def evaluation(cls, outputs: Outputs, key: str) -> Evaluation | None:
        """Return the evaluation of a point's tracks, None where it has no outputs."""
        return outputs.tracking(key)

    def run(self, session: Session, protocol: Mapping[str, Any]) -> Iterator[Piece]:
        """Yield a piece per point. Raises UsageError where objects have no tracks."""
        task = session.stored().task
        if not task.has_tracks:
            raise UsageError(
                f"objects of the task {task.name} have no tracks",
                remedy=f"leave {self.name} out of metrics",
            )
        yield from super().run(session, protocol)
