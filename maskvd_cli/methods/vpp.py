"""VPP (arXiv 2604.00827): deep features of the frame before say what early blocks compute.

From the second block on, each frame computes tokens that were worth it in the frame before, found
again by likeness and nearness (`association`); deeper blocks leave out more, by selectors as
SViT's. How tokens are skipped, is told in `skipping`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.association import MappingSelective, Memory
from maskvd_cli.methods.base import (
    FrameContext,
    FrameTrace,
    Params,
    Selection,
    TokenTrace,
    token_bytes,
)
from maskvd_cli.methods.learned import LearnedParams, LearnedSelection
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.selectors import Noise, TokenSelector, hidden_width, kept_of
from maskvd_cli.methods.skipping import (
    Blocks,
    Walk,
    blocks_macs,
    check_blocks,
    layers_of,
    selector_macs,
)

_MAPPED = "mapped"


class MappingBlocks(Params):
    """Where tokens are mapped and chosen, and how wide selectors are."""

    map_block: int = Field(
        default=1, ge=0, description="block before which the frame before is mapped onto this one"
    )
    deep_block: int = Field(
        default=5, ge=0, description="block after which features are kept for the next frame"
    )
    blocks: Blocks = Field(
        default=(3, 6, 9),
        strict=False,
        min_length=1,
        description="blocks before which a selector leaves out more tokens",
    )
    hidden: int | None = Field(
        default=None, ge=1, description="width inside a selector; default: a quarter of the model's"
    )
    map_hidden: int | None = Field(
        default=None, ge=1, description="the same in the selector of mapped tokens; default: the "
        "model's width",
    )  # fmt: skip


class VPPParams(MappingBlocks, LearnedParams):
    """What the map keeps, and how selectors decide."""

    keep_rate: Annotated[float, Varied.steps(0.3, 0.9, 0.1)] = Field(
        default=0.7, gt=0, le=1, description="share of all tokens that the map keeps"
    )
    temperature: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="by which noise is divided"
    )


class VPP(LearnedSelection[VPPParams]):
    """A clip's first frame has no map: its blocks are dense up to the first selector.

    Between frames it keeps the tokens that entered `map_block`, those after `deep_block`, and which
    of them that block computed. They are copies from before `map_block` changed anything, as in
    training; the published code keeps the tensor itself, of which two blocks then change the kept
    tokens.
    MACs: `skipping.blocks_macs`; N^2 D for the association and N (D + 2) map_hidden for its
    selector on frames with a map; (D + 2) hidden for each token that another selector sees.
    """

    name = "vpp"
    description = "computes tokens that the frame before found worth it, ever fewer with depth"
    paper = "VPP (arXiv 2604.00827)"
    params_type = VPPParams
    naming = ("keep_rate",)
    figure: ClassVar = {"name": "learned", "across": "gmacs", "labelled": "keep_rate"}
    colour, mark = "#999933", "X"

    def __init__(
        self, params: VPPParams, backbone: VisionTransformer, module: nn.Module | None = None
    ) -> None:
        super().__init__(params, backbone, module)
        self.memory: Memory | None = None

    def forget(self) -> None:
        self.memory = None

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        params, before = self.params, self.memory
        walk, noise = Walk(self.backbone, tokens, frame.grid), self.draws(frame.index)
        entering = deep = active = None
        scores: dict[int, Tensor] = {}
        for number in range(self.backbone.arch.depth):
            if number == params.map_block:
                entering = walk.tokens.clone()
                if before is not None:
                    active, scores[number] = self._mapped(entering, before, frame.grid, noise)
            if number in params.blocks:
                active, scores[number] = self._fewer(number, walk.tokens, active, noise)
            walk.through(active)
            if number == params.deep_block:
                everything = torch.ones(frame.grid.area, dtype=torch.bool, device=tokens.device)
                deep = walk.tokens.clone(), everything if active is None else active
        assert entering is not None and deep is not None
        self.memory = Memory(entering, *deep)
        return walk.features(), walk.trace(scores, {_MAPPED: int(before is not None)})

    def _mapped(
        self, tokens: Tensor, before: Memory, grid: Size, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        params = self.params
        mapped = self.module.map(tokens, before, grid, params.keep_rate, noise, params.temperature)
        return mapped.kept, mapped.soft

    def _fewer(
        self, number: int, tokens: Tensor, active: Tensor | None, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        """Return which tokens are active from a block on, and their scores, NaN for the others.

        A token that was left out before is not asked: it cannot come back.
        """
        asked = tokens if active is None else tokens[active]
        found = self.module.selectors[str(number)](asked)
        drawn = None
        if noise is not None:
            drawn = noise(len(tokens), 2) / self.params.temperature
            drawn = drawn if active is None else drawn[active]
        kept, score = kept_of(found, drawn, bias=self.params.bias), found[:, 0]
        if active is None:
            return kept, score
        scores = score.new_full((len(tokens),), torch.nan).masked_scatter(active, score)
        return active.masked_scatter(active, kept), scores

    def state(self) -> Iterable[Tensor]:
        if self.memory is not None:
            yield from (self.memory.entering, self.memory.deep, self.memory.active)

    @classmethod
    def new_module(cls, params: MappingBlocks, arch: ViTArch) -> VPPModule:
        return VPPModule(params, arch)

    @classmethod
    def resolve(cls, params: VPPParams, arch: ViTArch) -> VPPParams:
        check_blocks(params.blocks, arch)
        last = params.deep_block
        if not params.map_block <= last < arch.depth:
            raise UsageError(
                f"deep_block {last} is not between map_block {params.map_block} and the last block "
                f"{arch.depth - 1} of {arch.name}",
                remedy="choose one of these",
            )
        if params.blocks[0] <= params.map_block:
            raise UsageError(
                f"block {params.blocks[0]} has a selector before tokens are mapped, at block "
                f"{params.map_block}",
                remedy="let blocks begin after map_block",
            )
        return super().resolve(params, arch)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: VPPParams, trace: TokenTrace) -> Macs:
        layers = layers_of(trace.counts, arch.depth)
        total = blocks_macs(arch, grid, layers)
        for block in params.blocks:
            asked = layers[block - 1]
            total += selector_macs(arch, asked, hidden_width(params.hidden, arch.dim))
        association = grid.area**2 * arch.dim
        width = arch.dim if params.map_hidden is None else params.map_hidden
        mapped = selector_macs(arch, grid.area, width) + Macs(association, association)
        return total + mapped * trace.counts[_MAPPED]

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: VPPParams) -> int:
        return 2 * token_bytes(arch, grid) + grid.area


class VPPModule(nn.Module):
    """What VPP learns: the selector of mapped tokens, `map`, and one for each of the blocks."""

    def __init__(self, params: MappingBlocks, arch: ViTArch) -> None:
        super().__init__()
        width = arch.dim if params.map_hidden is None else params.map_hidden
        hidden = hidden_width(params.hidden, arch.dim)
        self.map = MappingSelective(arch.dim, width)
        self.selectors = nn.ModuleDict(
            {str(block): TokenSelector(arch.dim, hidden) for block in params.blocks}
        )
