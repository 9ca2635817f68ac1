"""MaskVD (WACV 2025, arXiv 2407.12067): skip regions chosen before the frame is seen.

Every `period`-th frame is full. Between, a frame recomputes the tokens of a static mask (regions
where the training set has most objects) and of a dynamic one (boxes of the previous frame), and
takes the rest from caches; how, is told in `masked_execution`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.masks.combined import scheduled
from maskvd_cli.masks.dynamic import dynamic_mask
from maskvd_cli.masks.static import static_mask
from maskvd_cli.methods.base import ClipView, FrameContext
from maskvd_cli.methods.illustration import COMBINED, DYNAMIC, STATIC, Pictured
from maskvd_cli.methods.masked import MaskedMethod, MaskedParams
from maskvd_cli.methods.params import MARGINS, Varied


class MaskVDParams(MaskedParams):
    """P, k_s and the mask's details; the paper's section 3 and its published configuration."""

    mask: Literal["combined", "static", "dynamic"] = Field(
        default="combined", description="static or dynamic mask alone, or the union of both"
    )
    static_keep_rate: Annotated[float, Varied.steps(0.05, 0.9, 0.05)] = Field(
        default=0.1, ge=0, le=1, description="k_s: share of all tokens in the static mask"
    )
    score_threshold: Annotated[float, Varied.steps(0, 0.9, 0.1, with_scores=True)] = Field(
        default=0.5, ge=0, le=1, description="boxes above this score make the dynamic mask"
    )
    margin: Annotated[int, MARGINS] = Field(
        default=0, ge=0, le=16384, description="pixels that grow each box"
    )

    @model_validator(mode="before")
    @classmethod
    def _no_static_share_in_dynamic(cls, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("mask") == "dynamic":
            if data.get("static_keep_rate", 0) != 0:
                raise ValueError("mask: dynamic has no static mask; leave static_keep_rate out")
            return {**data, "static_keep_rate": 0.0}
        if data.get("mask") == "static" and data.get("static_keep_rate") == 0:
            raise ValueError("mask: static needs a static_keep_rate above 0")
        return data


class MaskVD(MaskedMethod[MaskVDParams]):
    """Masked execution with the combined mask.

    The static mask holds the int(k_s N) tokens with the highest region scores; the dynamic one the
    tokens that the boxes of the previous frame touch, or all where there is no box.
    """

    name = "maskvd"
    description = "static mask from a heatmap and dynamic mask from the last boxes, period P"
    paper = "MaskVD (WACV 2025, arXiv 2407.12067)"
    revision = 2
    params_type = MaskVDParams
    naming = ("version", "period", "static_keep_rate")
    columns: ClassVar = {
        "version": "ver.",
        "mask": "mask",
        "period": "P",
        "static_keep_rate": "k_s",
        "score_threshold": "threshold",
        "margin": "margin",
    }
    colour, mark = "#0072b2", "o"

    def __init__(self, params: MaskVDParams, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self._static: tuple[Tensor, Tensor] | None = None

    def choose(self, frame: FrameContext) -> Tensor:
        kept = torch.zeros(frame.grid.area, dtype=torch.bool)
        if self.needs_heatmap(self.params):
            kept |= self._static_mask(frame)
        if self.params.mask != "static":
            kept |= self._dynamic_mask(frame)
        return kept

    def _static_mask(self, frame: FrameContext) -> Tensor:
        scores = frame.region_scores
        if scores is None:
            raise UsageError(
                "the static mask needs region scores", remedy="give the sweep a heatmap"
            )
        if self._static is None or self._static[0] is not scores:
            self._static = (scores, static_mask(scores, self.params.static_keep_rate))
        return self._static[1]

    def _dynamic_mask(self, frame: FrameContext) -> Tensor:
        boxes = torch.empty(0, 4) if frame.boxes is None else frame.boxes
        return dynamic_mask(
            boxes, frame.input, frame.patch, scores=frame.scores,
            score_threshold=self.params.score_threshold, margin=self.params.margin,
        )  # fmt: skip

    @classmethod
    def resolve(cls, params: MaskVDParams, arch: ViTArch) -> MaskVDParams:
        if params.static_keep_rate == 0:
            params = params.model_copy(update={"mask": "dynamic"})
        return super().resolve(params, arch)

    @classmethod
    def needs_heatmap(cls, params: MaskVDParams) -> bool:
        return params.mask != "dynamic" and params.static_keep_rate > 0

    @classmethod
    def pictured(cls, params: MaskVDParams) -> Pictured | None:
        if not cls.needs_heatmap(params):
            return None
        return Pictured(
            params.static_keep_rate,
            params.period,
            params.score_threshold,
            params.margin,
            frames=params.mask == "combined",
        )

    @classmethod
    def illustration(
        cls,
        params: MaskVDParams,
        view: ClipView,
        position: int | None = None,
        boxes: Tensor | None = None,
    ) -> Mapping[str, Tensor] | None:
        if not cls.needs_heatmap(params):
            return None
        scores = view.known(view.region_scores, cls.name)
        static = static_mask(scores, params.static_keep_rate)
        if position is None:
            return {STATIC: static}
        if params.mask != "combined" or position % params.period == 0:
            return None
        known = view.known(boxes, cls.name)
        dynamic = dynamic_mask(known, view.input, view.patch, margin=params.margin)
        return {STATIC: static, DYNAMIC: dynamic, COMBINED: static | dynamic}

    @classmethod
    def planned(cls, params: MaskVDParams, view: ClipView) -> Tensor:
        static = dynamic = None
        if cls.needs_heatmap(params):
            scores = view.known(view.region_scores, cls.name)
            static = static_mask(scores, params.static_keep_rate)
        if params.mask != "static":
            dynamic = view.touched(params.margin, cls.name)
        return scheduled(params.period, view.frames, view.tokens, static=static, dynamic=dynamic)
