"""Oracle, a control: the tokens of this very frame's annotated boxes, which no method can know."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.masks.combined import scheduled
from maskvd_cli.masks.dynamic import dynamic_mask
from maskvd_cli.methods.base import ClipView, FrameContext
from maskvd_cli.methods.masked import MaskedMethod, MaskedParams
from maskvd_cli.methods.params import MARGINS


class OracleParams(MaskedParams):
    """How far boxes are grown."""

    margin: Annotated[int, MARGINS] = Field(
        default=0, ge=0, le=16384, description="pixels that grow each box"
    )


class Oracle(MaskedMethod[OracleParams]):
    """The tokens that the frame's own annotated boxes touch, or all where there is no box."""

    name = "oracle"
    description = "control: tokens of the frame's own annotated boxes, masked execution"
    paper = "control"
    params_type = OracleParams
    naming = ("version", "period")
    needs_truth = True
    role = "control"
    columns: ClassVar = {"version": "ver.", "period": "P", "margin": "margin"}
    colour, mark = "#cc79a7", "X"

    def choose(self, frame: FrameContext) -> Tensor:
        if frame.truth is None:
            raise UsageError(
                "the oracle needs the annotated boxes of every frame",
                remedy="run it on an annotated dataset",
            )
        return dynamic_mask(frame.truth, frame.input, frame.patch, margin=self.params.margin)

    @classmethod
    def planned(cls, params: OracleParams, view: ClipView) -> Tensor:
        own = view.touched(params.margin, cls.name)
        return scheduled(params.period, view.frames, view.tokens, own=own)
