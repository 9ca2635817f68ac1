"""SViT (WACV 2024, arXiv 2306.07050): every block chooses the tokens that it computes.

Each frame by itself. How tokens are skipped, is told in `skipping`; who chooses, in `selectors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import FrameContext, FrameTrace, Params, Selection, TokenTrace
from maskvd_cli.methods.block_list import Blocks, check_blocks
from maskvd_cli.methods.learned import RANDOM, LearnedParams, LearnedSelection
from maskvd_cli.methods.learning import (
    KEPT_SHARES,
    Learner,
    Learnt,
    SoftWalk,
    check_targets,
    chosen_by,
)
from maskvd_cli.methods.selectors import Noise, TokenSelector, hidden_width, kept_of
from maskvd_cli.methods.skipping import (
    Walk,
    blocks_macs,
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


class SViTLearning(SelectingBlocks):
    """What the paper trains its selectors with."""

    targets: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.7, 0.7, 0.7, 0.49, 0.49, 0.49, 0.343, 0.343, 0.343),
        strict=False,
        description="share of the tokens that each of the blocks is to keep",
    )
    weight: float = Field(
        default=4.0, ge=0, allow_inf_nan=False, description="of the loss on kept shares"
    )
    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="by which noise is divided"
    )

    @model_validator(mode="after")
    def _a_target_for_each(self) -> SViTLearning:
        check_targets(self.targets, self.blocks)
        return self


class SViTLearner(Learner[SViTLearning]):
    """Loss: weight times the mean over blocks of (kept share - target)^2."""

    settings_type = SViTLearning

    def parameters(self) -> SViTParams:
        told = self.settings
        return SViTParams(selector=RANDOM, blocks=told.blocks, hidden=told.hidden)

    def run(
        self,
        module: Any,
        backbone: VisionTransformer,
        frames: Sequence[Tensor],
        grid: Size,
        noise: Noise,
    ) -> Learnt:
        (tokens,) = frames
        walk, kept = SoftWalk(backbone, tokens, grid), dict[int, Tensor]()
        for number in range(self.arch.depth):
            chosen = None
            if number in self.settings.blocks:
                found = module[str(number)](walk.tokens)
                chosen = chosen_by(found, noise(*found.shape) / self.settings.temperature)
                kept[number] = chosen.mean()
            walk.through(chosen)
        apart = torch.stack(list(kept.values())) - tokens.new_tensor(self.settings.targets)
        loss = self.settings.weight * apart.pow(2).mean()
        return Learnt((walk.features(),), {KEPT_SHARES: loss}, kept)


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
    learner = SViTLearner
    figure: ClassVar = {"name": "learned", "across": "gmacs"}
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
    def new_module(cls, params: SViTParams, arch: ViTArch) -> nn.ModuleDict:
        """Return a selector for each of the blocks, under its number."""
        hidden = hidden_width(params.hidden, arch.dim)
        return nn.ModuleDict(
            {str(block): TokenSelector(arch.dim, hidden) for block in params.blocks}
        )

    @classmethod
    def resolve(cls, params: SViTParams, arch: ViTArch) -> SViTParams:
        check_blocks("blocks", params.blocks, arch)
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
