"""Method plug-in: run every second frame, or fewer, and hold the last output between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from maskvd_cli.methods.base import FrameContext, FrameTrace, Method, Params, Selection, Stages
from maskvd_cli.methods.params import Varied


class AlternateParams(Params):
    """How far apart the frames lie that run."""

    every: Annotated[int, Field(ge=1), Varied((2, 3, 6))] = 2


class Alternate(Method[AlternateParams]):
    """Every second frame of a clip runs densely; the others repeat what was seen before."""

    name = "alternate"
    description = "every second frame, the last output between"
    paper = ""
    params_type = AlternateParams
    role = "control"
    colour, mark = "#117733", "p"

    def run(self, images: Sequence[Tensor], frame: FrameContext, stages: Stages) -> Any:
        if frame.index % self.params.every == 0:
            return super().run(images, frame, stages)
        self.trace = FrameTrace(0, full=False)
        return stages.last

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        return self.backbone(tokens, frame.grid), FrameTrace(frame.grid.area, full=True)

    def forget(self) -> None:
        """Do nothing: the harness holds the last output."""

    def state(self) -> Iterable[Tensor]:
        return ()
