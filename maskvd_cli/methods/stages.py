"""What a method sees of model and harness: the parts of the model that it may call.

Every call is timed where it happens, so a method neither can nor must read a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import Tensor

from maskvd_cli.families.base import BACKBONE, EMBED, HEAD, Model
from maskvd_cli.machine.stopwatch import NoStopwatch, Stopwatch

T = TypeVar("T")
SELECTION = "mask"


class Stages:
    """The parts of a model on one frame of one clip.

    `last`: the output of the frame before, None at a clip's start; a method that skips a frame
    returns it. `ran`: which of `embed` and `head` were called. What a method does between the
    calls counts as the backbone's time.
    """

    def __init__(
        self, model: Model, watch: Stopwatch | None = None, last: Any | None = None
    ) -> None:
        self._model = model
        self._watch = watch or NoStopwatch()
        self.last = last
        self.ran: set[str] = set()

    def select(self, selection: Callable[[], T]) -> T:
        """Call `selection` and return what it returns; it counts as the time of selecting."""
        self._watch.lap(BACKBONE)
        selected = selection()
        self._watch.lap(SELECTION)
        return selected

    def embed(self, images: Sequence[Tensor]) -> Tensor:
        """Return what the backbone takes of images (3, rows, cols) uint8."""
        self._watch.lap(BACKBONE)
        embedded = self._model.embed(images)
        self.ran.add(EMBED)
        self._watch.lap(EMBED)
        return embedded

    def finish(self, features: Tensor) -> Any:
        """Return the output of the backbone's features of one frame, on the CPU."""
        self._watch.lap(BACKBONE)
        (output,) = self._model.finish(features)
        output = output.to("cpu")
        self.ran.add(HEAD)
        self._watch.lap(HEAD)
        return output

    def conclude(self, outputs: Sequence[Any]) -> Any:
        """Return what the model says of a whole clip, whose outputs these are, on the CPU.

        The harness calls it once the last frame ran.
        """
        self._watch.lap(BACKBONE)
        concluded = self._model.conclude(outputs).to("cpu")
        self.ran.add(HEAD)
        self._watch.lap(HEAD)
        return concluded
