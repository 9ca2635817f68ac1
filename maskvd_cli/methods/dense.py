"""Dense: every token of every frame; what all other methods are compared with."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Method,
    Params,
    TokenTrace,
    every_token,
)
from maskvd_cli.methods.pooling import Pool, check_pool, check_poolable


class DenseParams(Params):
    """Dense has one hyperparameter, the pooling that Eventful Transformers add to it."""

    pool: Pool = 1


class Dense(Method[DenseParams]):
    """The backbone as it is, without state.

    MACs, windowed: L(12ND^2) + windowed and global attention over all tokens; non-windowed:
    `costs.plain_vit`. With pooling, global blocks have N / pool^2 keys (Eventful Transformers,
    section 4.3, where it is called spatial).
    """

    name = "dense"
    description = "the backbone as it is: every token of every frame"
    paper = "ViTDet (ECCV 2022)"
    params_type = DenseParams
    batched = True

    def forget(self) -> None:
        """Do nothing: dense keeps no state."""

    def compute(self, tokens: Tensor, frame: FrameContext) -> tuple[Tensor, FrameTrace]:
        grid, pool = frame.grid, self.params.pool
        check_pool(grid, pool)
        return self.backbone(tokens, grid, pool), FrameTrace(grid.area, full=True)

    def state(self) -> Iterable[Tensor]:
        return ()

    @classmethod
    def resolve(cls, params: DenseParams, arch: ViTArch) -> DenseParams:
        check_poolable(arch, params.pool)
        return params

    @classmethod
    def plan(cls, params: DenseParams, arch: ViTArch, view: ClipView) -> TokenTrace:
        check_pool(view.grid, params.pool)
        return every_token(view.frames, view.grid)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: DenseParams, trace: TokenTrace) -> Macs:
        return costs.dense(arch, grid, params.pool) * costs.ones(len(trace.tokens))

    @classmethod
    def published_at(
        cls, arch: ViTArch, grid: Size, params: DenseParams, tokens: int
    ) -> int | None:
        return int(costs.dense(arch, grid, params.pool).published)

    @classmethod
    def constant_on_repeats(cls, params: DenseParams) -> bool:
        return True

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: DenseParams) -> int:
        return 0
