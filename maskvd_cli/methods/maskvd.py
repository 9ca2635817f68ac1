"""MaskVD (WACV 2025, arXiv 2407.12067): skip regions chosen before the frame is seen.

Every `period`-th frame is full. Between, a frame recomputes the tokens of a static mask (regions
where the training set has most objects) and of a dynamic one (boxes of the previous frame), and
takes the rest from caches.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.masks.combined import scheduled
from maskvd_cli.masks.dynamic import dynamic_masks
from maskvd_cli.masks.static import static_mask
from maskvd_cli.methods.base import ClipView, Method, Params, token_bytes
from maskvd_cli.models import costs
from maskvd_cli.models.arch import ViTArch
from maskvd_cli.models.costs import Macs, Tokens


class MaskVDParams(Params):
    """P, k_s and the mask's details; the paper's section 3 and its published configuration."""

    version: Literal["C", "T", "H"] | None = Field(
        default=None,
        description="windowed backbones only: C caches QKV in every block and attends over all "
        "tokens (published code, the default); T caches block inputs in windowed blocks and global "
        "blocks see kept tokens only (paper's text); H caches QKV in windowed blocks, else as T",
    )
    mask: Literal["combined", "static", "dynamic"] = Field(
        default="combined", description="static or dynamic mask alone, or the union of both"
    )
    period: int = Field(default=8, ge=1, description="P: every P-th frame of a clip is full")
    static_keep_rate: float = Field(
        default=0.1, ge=0, le=1, description="k_s: share of all tokens in the static mask"
    )
    score_threshold: float = Field(
        default=0.5, ge=0, le=1, description="boxes above this score make the dynamic mask"
    )
    margin: int = Field(default=0, ge=0, description="pixels that grow each box")

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


class MaskVD(Method[MaskVDParams]):
    """Masked execution with the combined mask.

    With n kept of N tokens, windowed: linear layers, biases and residuals of every block on n
    tokens. C: all attention over N queries and keys. T: QKV of windowed blocks on N, global
    attention among n. H: QKV on n, global attention among n. Non-windowed: `costs.plain_vit` on n
    tokens. State with T = bytes of one N x D tensor: C 3LT + T, T (windowed blocks)T + T,
    H 3(windowed blocks)T + T, non-windowed T.
    """

    name = "maskvd"
    description = "static mask from a heatmap and dynamic mask from the last boxes, period P"
    paper = "MaskVD (WACV 2025, arXiv 2407.12067)"
    params_type = MaskVDParams
    naming = ("version", "period", "static_keep_rate")

    @classmethod
    def resolve(cls, params: MaskVDParams, arch: ViTArch) -> MaskVDParams:
        if params.static_keep_rate == 0:
            params = params.model_copy(update={"mask": "dynamic"})
        if arch.windowed_depth:
            return params.model_copy(update={"version": params.version or "C"})
        if params.version is not None:
            raise UsageError(
                f"version {params.version} is for windowed backbones; {arch.name} has none",
                remedy="leave version out",
            )
        return params

    @classmethod
    def needs_heatmap(cls, params: MaskVDParams) -> bool:
        return params.mask != "dynamic" and params.static_keep_rate > 0

    @classmethod
    def select(cls, params: MaskVDParams, view: ClipView) -> Tensor:
        static = dynamic = None
        if cls.needs_heatmap(params):
            assert view.region_scores is not None
            static = static_mask(view.region_scores, params.static_keep_rate)
        if params.mask != "static":
            dynamic = dynamic_masks(
                view.boxes, view.frame_of, view.frames, view.input, view.patch,
                score_threshold=params.score_threshold, margin=params.margin,
            )  # fmt: skip
        return scheduled(params.period, view.frames, view.tokens, static=static, dynamic=dynamic)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: MaskVDParams, tokens: Tokens) -> Macs:
        if not arch.windowed_depth:
            return costs.plain_vit(arch, grid, tokens)
        everywhere = costs.projection_and_mlp(arch, tokens) + costs.residuals(arch, tokens)
        qkv_in_windowed = grid.area if params.version == "T" else tokens
        attending = grid.area if params.version == "C" else tokens
        return (
            everywhere * arch.depth
            + costs.qkv(arch, qkv_in_windowed) * arch.windowed_depth
            + costs.qkv(arch, tokens) * len(arch.global_blocks)
            + costs.windowed_attention(arch, grid) * arch.windowed_depth
            + costs.global_attention(arch, grid, attending, attending) * len(arch.global_blocks)
            + costs.position_add(arch, grid)
        )

    @classmethod
    def state_bytes(cls, arch: ViTArch, grid: Size, params: MaskVDParams) -> int:
        cached = {
            "C": 3 * arch.depth,
            "T": arch.windowed_depth,
            "H": 3 * arch.windowed_depth,
            None: 0,
        }[params.version]
        return (cached + 1) * token_bytes(arch, grid)
