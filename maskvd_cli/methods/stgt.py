"""STGT in the simplified form that comparisons use: token gates that forget, attention dense.

Three gates per block as in `gated`, whose reference is the gate's input on the frame before:

    e = c - u;  index = policy(|e|_2);  b[index] = f(c[index]);  u = c for all tokens

So what stays below the cut is lost, and slow drift never adds up to an update. All attention is
computed anew from the QKV gate's output. The original (NeurIPS 2021 workshop) learns its gates; the
form here is that of Eventful Transformers' code (ICCV 2023, arXiv 2308.13494, section 5).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.vit import Block
from maskvd_cli.methods.eventful_costs import GlobalUpdate
from maskvd_cli.methods.gated import GatedMethod
from maskvd_cli.methods.gates import GateParams
from maskvd_cli.methods.pooling import Pool


class STGTParams(GateParams):
    """The policy of the gates, where they stand, and the pooling of dense attention."""

    pool: Pool = 1


class STGT(GatedMethod[STGTParams]):
    """Token gates that compare with the previous frame. MACs and state: `eventful_costs`."""

    name = "stgt"
    description = "recomputes tokens that moved since the previous frame; dense attention"
    paper = "STGT (NeurIPS-W 2021), as in Eventful Transformers (ICCV 2023, arXiv 2308.13494)"
    params_type = STGTParams
    figure: ClassVar = {"name": "gates", "across": "gmacs", "labelled": "r"}
    colour, mark = "#e69f00", "D"
    forgets = True

    def attend(
        self, number: int, block: Block, qkv: Tensor, grid: Size, index: Tensor | None
    ) -> tuple[Tensor, int]:
        del number, index
        return block.attend(qkv, grid, self.params.pool), qkv.shape[1] // self.params.pool**2

    @classmethod
    def update(cls, params: STGTParams) -> GlobalUpdate:
        return GlobalUpdate(pool=params.pool)
