"""What every task is: truth, hints, outputs as arrays, matches of a clip, scores of many clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.placement import Placement
from maskvd_cli.core.quantity import Quantity
from maskvd_cli.core.size import Size
from maskvd_cli.core.types import Clip

Arrays = Mapping[str, NDArray[Any]]
Weights = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True)
class Hints:
    """What the next frame of a clip may take from an output: boxes (n, 4) xyxy in input pixels
    and their scores (n,), tensors on the CPU."""

    boxes: Any
    scores: Any


@dataclass(frozen=True)
class Scores:
    """Values by quantity name, None where undefined, and JSON details (by class, by frame age)."""

    values: Mapping[str, float | None]
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Evaluation(ABC):
    """The matches of many clips, ready to be scored as a whole and on weighted clips."""

    @abstractmethod
    def scores(self) -> Scores:
        """Return all quantities over all frames."""

    @abstractmethod
    def headline(self, weights: Weights) -> float | None:
        """Return the headline where each clip counts `weights` (clips,) times; None: undefined."""


class Task(ABC):
    """A kind of output with its truth. Arrays are stored as they are, without pickled objects.

    `quantities`: what a score consists of, the headline first, in the unit that reports show.
    `counted`: counts of points that only such a task has, beside those of `core.counts`.
    `details`: what scores say beside their values, key to meaning.
    `revision` rises when the same outputs give other scores. `has_boxes`: whether outputs have
    places in the frame, so that `cut` is there. `has_silhouettes`: whether the truth has masks of
    instances, which training then learns. `has_tracks`: whether objects have tracks, so that
    `tracking` is there.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    revision: ClassVar[int] = 1
    has_boxes: ClassVar[bool] = False
    has_silhouettes: ClassVar[bool] = False
    has_tracks: ClassVar[bool] = False
    quantities: ClassVar[tuple[Quantity, ...]]
    counted: ClassVar[tuple[Quantity, ...]] = ()
    details: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def headline(cls) -> Quantity:
        """The quantity that verdicts, fronts and searches are about."""
        return cls.quantities[0]

    @abstractmethod
    def truth(self, clip: Clip, classes: Sequence[str]) -> Arrays:
        """Return a clip's truth, in native pixels."""

    @abstractmethod
    def hints(self, output: Any) -> Hints | None:
        """Return what the next frame may know of this output; None: nothing."""

    def native(self, output: Any, placed: Placement) -> Any:
        """Return an output in the pixels of its own frame; one without places is as it was."""
        del placed
        return output

    def cut(self, output: Any, content: Size) -> Any:
        """Return an output cut at the border of the frame, which fills `content` of the input.

        Raises UsageError where outputs have no boxes.
        """
        del output, content
        raise UsageError(
            f"outputs of the task {self.name} have no boxes to cut",
            remedy="leave dataset.clip_boxes out",
        )

    def stored_hints(
        self, outputs: Arrays, placed: Placement, frames: int
    ) -> Sequence[Hints] | None:
        """Return what `hints` says of each frame of a clip, from its stored outputs.

        Boxes (n, 4) float64 and scores (n,) are arrays here. None: nothing.
        """
        del outputs, placed, frames
        return None

    @abstractmethod
    def encode(
        self, outputs: Sequence[Any], placed: Placement, label_of: Sequence[int | None]
    ) -> Arrays:
        """Return a clip's outputs, one per frame, as arrays in native pixels.

        `label_of` gives the dataset's class for each of the model's, None for none.
        """

    @abstractmethod
    def match(self, truth: Arrays, outputs: Arrays, classes: Sequence[str]) -> Arrays:
        """Return what a clip's outputs got right and wrong; each clip is matched once."""

    @abstractmethod
    def evaluation(
        self, matches: Sequence[Arrays], ages: Sequence[NDArray[np.int64]], classes: Sequence[str]
    ) -> Evaluation:
        """Return the evaluation of clips; `ages`: frames since the last full one, per clip."""

    def tracking(
        self, clips: Iterable[tuple[Arrays, Arrays]], classes: Sequence[str]
    ) -> Evaluation:
        """Return the evaluation of tracks over clips, each its truth and outputs.

        Raises UsageError where objects have no tracks, MaskvdError where a package is missing.
        """
        del clips, classes
        raise UsageError(
            f"objects of the task {self.name} have no tracks", remedy="leave the metric out"
        )
