"""VPP (arXiv 2604.00827): deep features of the frame before say what early blocks compute.

From the second block on, each frame computes tokens that were worth it in the frame before, found
again by likeness and nearness (`association`); deeper blocks leave out more, by selectors as
SViT's. How tokens are skipped, is told in `skipping`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.association import (
    FrameBefore,
    MappingBlocks,
    MappingSelectors,
    best_share,
    similarity,
    smoothed,
)
from maskvd_cli.methods.base import (
    FrameContext,
    FrameTrace,
    Selection,
    TokenTrace,
    token_bytes,
)
from maskvd_cli.methods.block_list import check_blocks
from maskvd_cli.methods.learned import RANDOM, LearnedParams, LearnedSelection
from maskvd_cli.methods.learning import (
    KEPT_SHARES,
    Learner,
    Learnt,
    SoftWalk,
    check_targets,
    chosen_by,
    straight_through,
)
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.selectors import Noise, hidden_width, kept_of
from maskvd_cli.methods.skipping import (
    Walk,
    blocks_macs,
    layers_of,
    selector_macs,
)

_MAPPED = "mapped"


class VPPParams(MappingBlocks, LearnedParams):
    """What the map keeps, and how selectors decide."""

    keep_rate: Annotated[float, Varied.steps(0.3, 0.9, 0.1)] = Field(
        default=0.7, gt=0, le=1, description="share of all tokens that the map keeps"
    )
    temperature: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="by which noise is divided"
    )


class VPPLearning(MappingBlocks):
    """What the authors train it with; earlier frames are drawn among the last `reach`."""

    keep_rate: float = Field(
        default=0.7, gt=0, le=1, description="share of all tokens that the map keeps"
    )
    targets: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.56, 0.448, 0.358),
        strict=False,
        description="share of the tokens that are to be left from each of the blocks on",
    )
    weight: float = Field(
        default=40.0, ge=0, allow_inf_nan=False, description="of the loss on kept shares"
    )
    map_target: float = Field(
        default=0.5, gt=0, lt=1, description="mean score that mapped tokens are to have"
    )
    map_weight: float = Field(
        default=10.0, ge=0, allow_inf_nan=False, description="of that beside one of the targets"
    )
    temperature: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="by which noise is divided"
    )
    reach: int = Field(default=5, ge=2, description="frames before the last one")

    @model_validator(mode="after")
    def _a_target_for_each(self) -> VPPLearning:
        check_targets(self.targets, self.blocks)
        return self


class VPPLearner(Learner[VPPLearning]):
    """Two earlier frames and the last one, all of which the detector learns.

    Loss of a frame: weight times the weighted mean of (mean score - map_target)^2, on frames with
    a map, and of (kept share - target)^2 for each selector; of all frames their mean.
    """

    settings_type = VPPLearning
    frames = 3

    @property
    def reach(self) -> int:
        return self.settings.reach

    def parameters(self) -> VPPParams:
        own = self.settings.model_dump(include=set(MappingBlocks.model_fields) | {"keep_rate"})
        return VPPParams(selector=RANDOM, **own)

    def run(
        self,
        module: Any,
        backbone: VisionTransformer,
        frames: Sequence[Tensor],
        grid: Size,
        noise: Noise,
    ) -> Learnt:
        memory, features = None, list[Tensor]()
        losses, shares = list[Tensor](), list[dict[int, Tensor]]()
        for tokens in frames:
            walk = SoftWalk(backbone, tokens, grid)
            memory, score, kept = self._through(module, walk, memory, noise)
            features.append(walk.features())
            losses.append(self._loss(score, kept))
            shares.append(kept)
        mean = {
            number: torch.stack([kept[number] for kept in shares if number in kept]).mean()
            for number in shares[-1]
        }
        return Learnt(features, {KEPT_SHARES: torch.stack(losses).mean()}, mean)

    def _through(
        self, module: Any, walk: SoftWalk, before: FrameBefore | None, noise: Noise
    ) -> tuple[FrameBefore, Tensor | None, dict[int, Tensor]]:
        """Run a frame; return what the next one maps, the mean score, and kept shares by block."""
        told, kept = self.settings, dict[int, Tensor]()
        entering = deep = score = active = None
        for number in range(self.arch.depth):
            if number == told.map_block:
                entering = walk.tokens
                if before is not None:
                    active, soft = self._mapped(module.map, entering, before, walk.grid, noise)
                    score, kept[number] = soft.mean(), active.mean()
            if number in told.blocks:
                found = module.selectors[str(number)](walk.tokens)
                chosen = chosen_by(found, noise(*found.shape) / told.temperature)
                active = chosen if active is None else chosen * active
                kept[number] = active.mean()
            walk.through(active)
            if number == told.deep_block:
                everything = torch.ones(walk.tokens.shape[:2], device=walk.tokens.device)
                deep = walk.tokens, (everything if active is None else active.detach()) > 0
        assert entering is not None and deep is not None
        return FrameBefore(entering, *deep), score, kept

    def _mapped(
        self, module: Any, tokens: Tensor, before: FrameBefore, grid: Size, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Return 1 for kept tokens, else 0, and the scores, (B, N) each.

        The association is the product with a one-hot matrix here, so that it has a gradient.
        """
        told = self.settings
        phi = similarity(tokens, before.entering, grid, before.active)
        phi = phi + noise(*phi.shape) / told.temperature
        one_hot = torch.zeros_like(phi).scatter_(2, phi.argmax(2, keepdim=True), 1.0)
        deep = straight_through(one_hot, phi.softmax(2)) @ before.deep.to(phi.dtype)
        smooth = smoothed(module.selector(deep), grid)
        soft = (smooth + noise(*smooth.shape) / told.temperature).softmax(-1)[..., 0]
        return straight_through(best_share(soft, told.keep_rate), soft), soft

    def _loss(self, score: Tensor | None, kept: dict[int, Tensor]) -> Tensor:
        told = self.settings
        pairs = zip(told.blocks, told.targets, strict=True)
        terms = [(kept[number] - target) ** 2 for number, target in pairs]
        summed, weights = torch.stack(terms).sum(), float(len(terms))
        if score is not None:
            summed = summed + told.map_weight * (score - told.map_target) ** 2
            weights += told.map_weight
        return told.weight * summed / weights


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
    learner = VPPLearner
    figure: ClassVar = {"name": "learned", "across": "gmacs"}
    colour, mark = "#999933", "X"

    def __init__(
        self, params: VPPParams, backbone: VisionTransformer, module: nn.Module | None = None
    ) -> None:
        super().__init__(params, backbone, module)
        self.memory: FrameBefore | None = None

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
        self.memory = FrameBefore(entering, *deep)
        return walk.features(), walk.trace(scores, {_MAPPED: int(before is not None)})

    def _mapped(
        self, tokens: Tensor, before: FrameBefore, grid: Size, noise: Noise | None
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
    def new_module(cls, params: MappingBlocks, arch: ViTArch) -> MappingSelectors:
        return MappingSelectors(params, arch)

    @classmethod
    def resolve(cls, params: VPPParams, arch: ViTArch) -> VPPParams:
        check_blocks("blocks", params.blocks, arch)
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
