"""Dense: every token of every frame; what all other methods are compared with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import TOKENS
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Method,
    Params,
    Selection,
    TokenTrace,
    every_token,
)
from maskvd_cli.methods.pooling import Pool, check_pool, check_poolable


class DenseParams(Params):
    """Dense has one hyperparameter, the pooling that Eventful Transformers add to it."""

    pool: Pool = 1


class Dense(Method[DenseParams]):
    """Any family's backbone as it is, without state.

    MACs of plain ViTs, windowed: L(12ND^2) + windowed and global attention over all tokens;
    non-windowed: `costs.plain_vit`. With pooling, global blocks have N / pool^2 keys (Eventful
    Transformers, section 4.3, where it is called spatial).
    """

    name = "dense"
    description = "the backbone as it is: every token of every frame"
    paper = "ViTDet (ECCV 2022)"
    params_type = DenseParams
    batched = True
    role = "baseline"
    colour, mark = "#000000", "*"

    def forget(self) -> None:
        """Do nothing: dense keeps no state."""

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        grid, pool = frame.grid, self.params.pool
        trace = FrameTrace(grid.area, full=True)
        if TOKENS not in self.backbone.arch.has:
            return self.backbone(tokens, grid), trace
        check_pool(grid, pool)
        return self.backbone(tokens, grid, pool), trace

    def state(self) -> Iterable[Tensor]:
        return ()

    @classmethod
    def resolve(cls, params: DenseParams, arch: Any) -> DenseParams:
        if TOKENS in arch.has:
            check_poolable(arch, params.pool)
        elif params.pool > 1:
            raise UsageError(
                f"pool {params.pool} is for backbones on tokens; {arch.name} is none",
                remedy="leave pool out",
            )
        return params

    @classmethod
    def has_closed_forms(cls, arch: Any) -> bool:
        return isinstance(arch, ViTArch)

    @classmethod
    def plan(cls, params: DenseParams, arch: Any, view: ClipView) -> TokenTrace:
        if params.pool > 1:
            check_pool(view.grid, params.pool)
        return every_token(view.frames, view.grid)

    @classmethod
    def macs(cls, arch: Any, grid: Size, params: DenseParams, trace: TokenTrace) -> Macs | None:
        if not isinstance(arch, ViTArch):
            return None
        return costs.dense(arch, grid, params.pool) * costs.ones(len(trace.tokens))

    @classmethod
    def published_at(cls, arch: Any, grid: Size, params: DenseParams, tokens: int) -> int | None:
        if not isinstance(arch, ViTArch):
            return None
        return int(costs.dense(arch, grid, params.pool).published)

    @classmethod
    def constant_on_repeats(cls, params: DenseParams) -> bool:
        return True

    @classmethod
    def planned_state_bytes(cls, arch: Any, grid: Size, params: DenseParams) -> int:
        return 0
