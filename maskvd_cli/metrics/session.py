"""What a metric works with: one model at one input, its points, and the clips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskvd_cli.core.errors import ResultError
from maskvd_cli.machine.failures import failure_of
from maskvd_cli.store.piece import Piece

if TYPE_CHECKING:
    import torch

    from maskvd_cli.families.base import Model
    from maskvd_cli.methods.base import Method
    from maskvd_cli.methods.clips import ClipInput
    from maskvd_cli.tasks.base import Evaluation, Task

FAILURE = "failure"


@dataclass(frozen=True)
class Outputs:
    """What a sweep stored of the points' frames, for metrics that need no model.

    `evaluation`: matches of a point's outputs with the truth, None where it has no outputs;
    `clusters`: for each clip the name of the video that it is from. `tracking`: the same as
    `evaluation` of tracks over clips.
    """

    task: Task
    evaluation: Callable[[str], Evaluation | None]
    clusters: Sequence[str]
    tracking: Callable[[str], Evaluation | None] = lambda key: None


@dataclass(frozen=True)
class Session:
    """One model at one input in this process, alone in memory.

    `series`: by the point's key, what makes its method anew; `baseline`: the key of the series that
    others are compared with, among them where there is one. `full_share`: the share of full frames
    in all of the data, None where unknown. `done`: names of the parts that an earlier process
    stored, `lost`: the points that it dropped. `on_talk` hears what is being done.
    Metrics that stand on outputs get `outputs` and no model.
    """

    series: Mapping[str, Callable[[], Method[Any]]]
    baseline: str | None
    clips: Sequence[ClipInput] = ()
    loaded: Model | None = None
    device: torch.device | None = None
    full_share: Mapping[str, float | None] = field(default_factory=dict[str, "float | None"])
    outputs: Outputs | None = None
    done: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    on_talk: Callable[[str], None] = lambda text: None

    @property
    def model(self) -> Model:
        """The model, loaded. Raises ResultError in a session that stands on outputs."""
        if self.loaded is None:
            raise ResultError(
                "no model runs here", remedy="let the metric say from_outputs = False"
            )
        return self.loaded

    def stored(self) -> Outputs:
        """Return the stored outputs. Raises ResultError in a session that runs a model."""
        if self.outputs is None:
            raise ResultError("no outputs are read here", remedy="let the metric say from_outputs")
        return self.outputs


def sound_pieces(keys: Collection[str], pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield the pieces of these points, without those that say why a point was left out."""
    return (piece for piece in pieces if piece.key in keys and FAILURE not in piece.facts)


def dropped(key: str, part: str, error: BaseException) -> Piece:
    """Return the piece that says why a point is left out of the rest of its session."""
    return Piece(key, part, facts={FAILURE: failure_of(error).model_dump(exclude_none=True)})
