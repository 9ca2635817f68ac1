"""MaskVD with EViT (MaskVD's figure 7): masked frames drop more of their tokens block by block.

A combination (`composing`) whose name, parameters and figure are published: the mask's tokens enter
the first block, EViT drops among them (see `dropping`), and survivors are written onto the features
of the frame before. Full frames drop nothing. The released file writes onto zeros, which the
paper's text contradicts.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from maskvd_cli.methods.composing import Combination
from maskvd_cli.methods.dropping import WHY_NO_WINDOWS
from maskvd_cli.methods.evit import DroppingParams, EViT, EViTParams
from maskvd_cli.methods.joined_params import Half
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
from maskvd_cli.methods.params import Varied
from maskvd_cli.methods.reducing import NO_EQUAL_WINDOWS, SEQUENCES


class MaskVDEViTParams(DroppingParams, MaskVDParams):
    """MaskVD's parameters, without version, and EViT's, without fusion."""

    keep_rate: Annotated[float, Varied.steps(0.5, 0.95, 0.05)] = Field(
        default=0.7, gt=0, le=1, description="share of a block's tokens that go on where it drops"
    )


class MaskVDEViT(Combination):
    """MaskVD's masks, and in masked frames EViT's drops; non-windowed backbones only.

    A mask that covers all tokens makes a full frame, whether no box was found or boxes cover all.
    """

    name = "maskvd+evit"
    description = "MaskVD's mask, then EViT's drops among its tokens; full frames every P"
    paper = "MaskVD (WACV 2025, arXiv 2407.12067), figure 7"
    revision = 1
    params_type = MaskVDEViTParams
    first, second = MaskVD, EViT
    halves = (
        Half(MaskVDParams, {name: name for name in MaskVDParams.model_fields}),
        Half(EViTParams, {name: name for name in DroppingParams.model_fields}),
    )
    naming = ("period", "static_keep_rate", "keep_rate")
    columns: ClassVar = MaskVD.columns
    knows = SEQUENCES
    refuses: ClassVar = NO_EQUAL_WINDOWS | WHY_NO_WINDOWS
    figure: ClassVar = EViT.figure
    colour, mark = "#56b4e9", "v"
