"""MaskVD with EViT (MaskVD's figure 7): masked frames drop more of their tokens block by block.

The mask's tokens enter the first block, EViT drops among them (see `dropping`), and survivors are
written onto the features of the frame before. Full frames drop nothing. The released file writes
onto zeros, which the paper's text contradicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import ClipView, FrameTrace, TokenTrace
from maskvd_cli.methods.dropping import ProgressiveDropping
from maskvd_cli.methods.evit import (
    DROPS_IN,
    WHY_NO_WINDOWS,
    DroppingParams,
    EViT,
    dropping_macs,
    dropping_trace,
    fitting,
)
from maskvd_cli.methods.illustration import Pictured
from maskvd_cli.methods.masked_execution import MaskedExecution
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.trace import MASK


class MaskVDEViTParams(DroppingParams, MaskVDParams):
    """MaskVD's parameters, without version, and EViT's."""

    keep_rate: Annotated[float, Varied.steps(0.5, 0.95, 0.05)] = Field(
        default=0.7, gt=0, le=1, description="share of a block's tokens that go on where it drops"
    )


class DroppingExecution(MaskedExecution):
    """Masked execution on a non-windowed backbone whose blocks drop tokens of masked frames.

    `keep_rates`: one per block; `fill` as in MaskedExecution.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        keep_rates: Sequence[float],
        fill: Literal["reference", "zeros"] = "reference",
    ) -> None:
        super().__init__(backbone, None, fill)
        self.dropping = ProgressiveDropping(backbone, keep_rates)

    def run(
        self, tokens: Tensor, grid: Size, kept: Tensor, *, drop: bool | None = None
    ) -> tuple[Tensor, FrameTrace]:
        """Return features (1, N, D) of embedded patches, recomputing `kept` (N,) bool on the CPU.

        Blocks drop unless all tokens are kept, or as `drop` says. The trace is that of
        `ProgressiveDropping.run`, with the mask as well. Raises UsageError where a mask comes
        before any full frame.
        """
        full = bool(kept.all())
        drop = not full if drop is None else drop
        # Where all tokens are computed and none is dropped, nothing shows of what lies below.
        base = tokens if full and not drop else self._base(tokens)
        mask = kept.nonzero().squeeze(1).to(tokens.device)
        if len(mask):
            survivors = self.dropping.run(tokens, grid, None if full else mask, drop=drop)
            features, trace = survivors.onto(base), survivors.trace
        else:
            features = base
            trace = FrameTrace(0, full=False, counts={"start": 0}, selected={"survivors": mask})
        self.reference = features.clone()
        # Between the mask and the first drop, blocks see the tokens of the mask.
        shares = {MASK: 1.0 - sum(trace.shares.values()), **trace.shares}
        selected = {MASK: mask, **trace.selected}
        return features, replace(trace, selected=selected, shares=shares)


class MaskVDEViT(MaskVD):
    """MaskVD's masks, and in masked frames EViT's drops; non-windowed backbones only.

    A mask that covers all tokens makes a full frame, whether no box was found or boxes cover all.
    MACs: `dropping_macs`; state: the reference output.
    """

    name = "maskvd+evit"
    description = "MaskVD's mask, then EViT's drops among its tokens; full frames every P"
    paper = "MaskVD (WACV 2025, arXiv 2407.12067), figure 7"
    revision = 1
    params_type = MaskVDEViTParams
    naming = ("period", "static_keep_rate", "keep_rate")
    knows = DROPS_IN
    refuses = WHY_NO_WINDOWS
    figure: ClassVar = EViT.figure
    colour, mark = "#56b4e9", "v"

    def __init__(self, params: MaskVDParams, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.execution = DroppingExecution(backbone, _rates(self.params, backbone.arch))

    @classmethod
    def resolve(cls, params: MaskVDParams, arch: ViTArch) -> MaskVDParams:
        return super().resolve(fitting(_own(params), arch), arch)

    @classmethod
    def pictured(cls, params: MaskVDParams) -> Pictured | None:
        """Return the static mask alone: blocks drop tokens, so no mask tells what a frame runs."""
        made = super().pictured(params)
        return None if made is None else replace(made, frames=False)

    @classmethod
    def illustration(
        cls,
        params: MaskVDParams,
        view: ClipView,
        position: int | None = None,
        boxes: Tensor | None = None,
    ) -> Mapping[str, Tensor] | None:
        return super().illustration(params, view) if position is None else None

    @classmethod
    def constant_on_repeats(cls, params: MaskVDParams) -> bool:
        return False

    @classmethod
    def plan(cls, params: MaskVDParams, arch: ViTArch, view: ClipView) -> TokenTrace:
        start = cls.planned(params, view).sum(1).numpy()
        return dropping_trace(start, start == view.tokens, _rates(params, arch), view.grid)

    @classmethod
    def macs(cls, arch: ViTArch, grid: Size, params: MaskVDParams, trace: TokenTrace) -> Macs:
        return dropping_macs(arch, grid, trace, _rates(params, arch))

    @classmethod
    def published_at(
        cls, arch: ViTArch, grid: Size, params: MaskVDParams, tokens: int
    ) -> int | None:
        """Return None: the mean over blocks does not tell how many tokens enter which."""
        return None


def _own(params: MaskVDParams) -> MaskVDEViTParams:
    assert isinstance(params, MaskVDEViTParams)
    return params


def _rates(params: MaskVDParams, arch: ViTArch) -> tuple[float, ...]:
    return _own(params).keep_rates(arch)
