"""Dense without padding, a control: how much of a method's gain any code would have for free.

A 370x672 frame in a 672x672 input leaves 43 % of all tokens to padding, and masks that keep "57 %"
may keep every token that sees anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.traits import TAPS, TRAIL_TOKENS
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Params,
    Selection,
    TokenMethod,
    TokenTrace,
    scatter,
)
from maskvd_cli.methods.trace import MASK

_NO_PADDING = "leaves padding out, and frames fill the inputs of {model}, so that it has none"


class DenseUnpaddedParams(Params):
    """No hyperparameters: the frame's size decides."""


class DenseUnpadded(TokenMethod[DenseUnpaddedParams]):
    """Dense on the tokens that reach into the frame; the features of the others are zero.

    Absolute and relative positions are those of the padded grid. Windows that reach over the frame
    are filled up as windows that reach over the grid are, with the QKV of a zero vector.
    MACs: those of dense on the frame's grid, R x C of relative terms on the padded one.
    """

    name = "dense-unpadded"
    description = "control: dense on the tokens that are not wholly padding"
    paper = "control"
    params_type = DenseUnpaddedParams
    refuses: ClassVar = dict.fromkeys((TAPS, TRAIL_TOKENS), _NO_PADDING)
    batched = True
    role = "control"
    colour, mark = "#7f7f7f", "P"

    def forget(self) -> None:
        """Do nothing: no state is kept."""

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        backbone, grid = self.backbone, frame.grid
        inside = frame.content.tiles(frame.patch)
        real = real_tokens(frame.content, frame.input, frame.patch)
        index = real.nonzero().squeeze(1).to(tokens.device)
        counts = {"rows": inside.rows, "cols": inside.cols}
        trace = FrameTrace(inside.area, inside == grid, counts, {MASK: index}, {MASK: 1.0})
        # Nothing to leave out: a control must not pay for indexing that no code would do.
        if inside == grid:
            return backbone(tokens, grid), trace
        sequence = tokens + backbone.positions_on(grid)
        sequence = backbone.with_class_token(sequence[:, index])
        for block in backbone.blocks:
            qkv = block.qkv(block.norm1(sequence))
            if block.window is not None:
                attended = block.attend(qkv, inside)
            else:
                attended = block.attend_among(qkv, grid, index)
            sequence = block.complete(sequence, attended)
        return scatter(torch.zeros_like(tokens), index, backbone.finish(sequence)), trace

    def state(self) -> Iterable[Tensor]:
        return ()

    @classmethod
    def constant_on_repeats(cls, params: DenseUnpaddedParams) -> bool:
        return True

    @classmethod
    def plan(cls, params: DenseUnpaddedParams, arch: ViTArch, view: ClipView) -> TokenTrace:
        flat = view.known(view.real, cls.name)
        real = flat.view(*view.grid)
        inside = Size(int(real.any(1).sum()), int(real.any(0).sum()))
        ones = costs.ones(view.frames)
        return TokenTrace(
            np.full(view.frames, inside.area, dtype=np.float64),
            np.full(view.frames, inside == view.grid),
            {"rows": ones * inside.rows, "cols": ones * inside.cols},
            flat.expand(view.frames, -1),
        )

    @classmethod
    def macs(
        cls, arch: ViTArch, grid: Size, params: DenseUnpaddedParams, trace: TokenTrace
    ) -> Macs:
        frames = list(zip(trace.counts["rows"], trace.counts["cols"], strict=True))
        cost_of = {inside: _cost(arch, grid, Size(*map(int, inside))) for inside in set(frames)}
        return Macs(
            np.array([cost_of[inside].matrix for inside in frames]),
            np.array([cost_of[inside].published for inside in frames]),
        )

    @classmethod
    def planned_state_bytes(cls, arch: ViTArch, grid: Size, params: DenseUnpaddedParams) -> int:
        return 0


def _cost(arch: ViTArch, grid: Size, inside: Size) -> Macs:
    tokens = inside.area
    if arch.torchprofiled:
        return costs.plain_vit(arch, grid, tokens)
    layers = costs.qkv(arch, tokens) + costs.projection_and_mlp(arch, tokens)
    return (
        (layers + costs.residuals(arch, tokens)) * arch.depth
        + costs.windowed_attention(arch, inside) * arch.windowed_depth
        + costs.global_attention(arch, grid, tokens, tokens) * len(arch.global_blocks)
        + costs.position_add(arch, grid)
    )
