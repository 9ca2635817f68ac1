"""Dense: every token of every frame; what all other methods are compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.methods.base import ClipView, Method, Params
from maskvd_cli.models import costs
from maskvd_cli.models.arch import ViTArch
from maskvd_cli.models.costs import Macs, Tokens


class DenseParams(Params):
    """Dense has no hyperparameters."""


class Dense(Method[DenseParams]):
    """The backbone as it is, without state.

    MACs, windowed: L(12ND^2) + windowed and global attention over all tokens; non-windowed:
    `costs.plain_vit`.
    """

    name = "dense"
    description = "the backbone as it is: every token of every frame"
    paper = "ViTDet (ECCV 2022)"
    params_type = DenseParams

    @classmethod
    def select(cls, params: DenseParams, view: ClipView) -> Tensor:
        return torch.ones(view.frames, view.tokens, dtype=torch.bool)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: DenseParams, tokens: Tokens) -> Macs:
        if not arch.windowed_depth:
            return costs.plain_vit(arch, grid, tokens)
        layers = costs.qkv(arch, tokens) + costs.projection_and_mlp(arch, tokens)
        return (
            (layers + costs.residuals(arch, tokens)) * arch.depth
            + costs.windowed_attention(arch, grid) * arch.windowed_depth
            + costs.global_attention(arch, grid, grid.area, grid.area) * len(arch.global_blocks)
            + costs.position_add(arch, grid)
        )

    @classmethod
    def state_bytes(cls, arch: ViTArch, grid: Size, params: DenseParams) -> int:
        return 0
