"""SViT (WACV 2024, arXiv 2306.07050): every block chooses the tokens that it computes.

Each frame by itself. How tokens are skipped, is told in `skipping`; who chooses, in `selectors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.methods.base import FrameContext, FrameTrace, Params, Selection, TokenTrace
from maskvd_cli.methods.learned import LearnedParams, LearnedSelection
from maskvd_cli.methods.selectors import Noise, TokenSelector, hidden_width, kept_of
from maskvd_cli.methods.skipping import (
    Blocks,
    Walk,
    blocks_macs,
    check_blocks,
    layers_of,
    selector_macs,
)


class SelectingBlocks(Params):
    """Which blocks have a selector, and how wide it is."""

    blocks: Blocks = Field(
        default=(3, 4, 5, 6, 7, 8, 9, 10, 11),
        strict=False,
        min_length=1,
        description="blocks that choose their tokens, from 0",
    )
    hidden: int | None = Field(
        default=None, ge=1, description="width inside a selector; default: a quarter of the model's"
    )


class SViTParams(SelectingBlocks, LearnedParams):
    """The paper's blocks, and how their selectors decide."""

    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="by which noise is divided"
    )


class SViT(LearnedSelection[SViTParams]):
    """Selectors see all tokens that enter their block; a token that one skips may come back.

    By default a token is kept where keeping is more likely than dropping. The published detection
    is evaluated with noise: `noise: true`.
    MACs: `skipping.blocks_macs`, and N (D + 2) hidden for each selector.
    """

    name = "svit"
    description = "every block computes the tokens that its own trained selector chooses"
    paper = "SViT (WACV 2024, arXiv 2306.07050)"
    params_type = SViTParams
    figure: ClassVar = {"name": "learned", "across": "gmacs", "labelled": "bias"}
    colour, mark = "#661100", "P"

    def forget(self) -> None:
        """Do nothing: no state is kept."""

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        walk, noise = Walk(self.backbone, tokens, frame.grid), self.draws(frame.index)
        scores: dict[int, Tensor] = {}
        for number in range(self.backbone.arch.depth):
            chosen = None
            if number in self.params.blocks:
                found = self.module[str(number)](walk.tokens)
                chosen, scores[number] = self._choose(found, noise), found[:, 0]
            walk.through(chosen)
        return walk.features(), walk.trace(scores)

    def _choose(self, log_probabilities: Tensor, noise: Noise | None) -> Tensor:
        drawn = None
        if noise is not None:
            drawn = noise(*log_probabilities.shape) / self.params.temperature
        return kept_of(log_probabilities, drawn, bias=self.params.bias, ties=noise is not None)

    def state(self) -> Iterable[Tensor]:
        return ()

    @classmethod
    def new_module(cls, params: SelectingBlocks, arch: ViTArch) -> nn.ModuleDict:
        return selectors_of(params, arch)

    @classmethod
    def resolve(cls, params: SViTParams, arch: ViTArch) -> SViTParams:
        check_blocks(params.blocks, arch)
        return super().resolve(params, arch)

    @classmethod
    def constant_on_repeats(cls, params: SViTParams) -> bool:
        return not params.noise

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: SViTParams, trace: TokenTrace) -> Macs:
        selector = selector_macs(arch, grid.area, hidden_width(params.hidden, arch.dim))
        layers = layers_of(trace.counts, arch.depth)
        return blocks_macs(arch, grid, layers) + selector * len(params.blocks)

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: SViTParams) -> int:
        return 0


def selectors_of(params: SelectingBlocks, arch: ViTArch) -> nn.ModuleDict:
    """Return a selector for each of the blocks, under its number."""
    hidden = hidden_width(params.hidden, arch.dim)
    return nn.ModuleDict({str(block): TokenSelector(arch.dim, hidden) for block in params.blocks})
