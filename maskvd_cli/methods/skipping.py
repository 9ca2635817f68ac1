"""Skipped tokens: a block computes some tokens of the sequence and leaves the others as they are.

SViT's propagation (WACV 2024, arXiv 2306.07050, section 3): chosen tokens are gathered, run through
the block among themselves, and written back; a token that one block skips may be computed by the
next. So the map of tokens stays whole. Class and detection tokens are always computed. Positions
that are added between blocks are added to all tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor

from maskvd_cli.core.counts import block_count
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs, Tokens
from maskvd_cli.families.blocks.traits import (
    CLASS_TOKEN,
    DETECTION_TOKENS,
    PADDED_WINDOWS,
    RELATIVE_POSITIONS,
    TOKENS,
    WINDOWS,
)
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.trace import FrameTrace

SKIPS_IN = frozenset((TOKENS, RELATIVE_POSITIONS, CLASS_TOKEN)) | DETECTION_TOKENS
WHY_NO_WINDOWS = {
    PADDED_WINDOWS: "runs a block on its chosen tokens alone, and the windows of {model} need all "
    "of them",
    WINDOWS: "runs a block on its chosen tokens alone, and the windows of {model} would hold "
    "different numbers of them",
}


class Walk:
    """A frame on its way through the blocks of a backbone.

    `sequence` (1, [1 +] N [+ T], D), class token first, detection tokens last; it is never changed
    in place, so that what a method keeps of it stays as it was.
    """

    def __init__(self, backbone: VisionTransformer, tokens: Tensor, grid: Size) -> None:
        self.backbone, self.grid = backbone, grid
        self.sequence = backbone.with_class_token(tokens + backbone.positions_on(grid))
        self.lead, self.trail = backbone.arch.lead, backbone.arch.trail
        self._computed: list[Tensor | None] = []
        self._chosen: Tensor | None = None

    @property
    def tokens(self) -> Tensor:
        """The tokens of the grid as they are now, (N, D), a view."""
        return self.sequence[0, self.lead : self.lead + self.grid.area]

    def through(self, chosen: Tensor | None) -> None:
        """Run the next block on the tokens that are `chosen` (N,) bool; None: on all.

        A choice that holds for several blocks is given as the same tensor.
        """
        block = self.backbone.blocks[len(self._computed)]
        index = self._computed[-1] if self._computed else None
        if chosen is not self._chosen:
            index = None if chosen is None else chosen.nonzero().squeeze(1)
            if index is not None and len(index) == self.grid.area:
                index = None
        left = skipping(block, self.sequence, self.grid, index, self.trail)
        self.sequence = self.backbone.between(len(self._computed), left, self.grid)
        self._computed.append(index)
        self._chosen = chosen

    def features(self) -> Tensor:
        """Return the features (1, N, D) after the last block."""
        return self.backbone.finish(self.sequence)

    def trace(
        self, scores: Mapping[int, Tensor] | None = None, counts: Mapping[str, int] | None = None
    ) -> FrameTrace:
        """Return what the blocks computed; `tokens` is the mean over them.

        Selected are `blocks.<i>.kept`, each for the blocks from i on that have the same set.
        """
        depth, area = len(self._computed), self.grid.area
        layers = tuple(area if index is None else len(index) for index in self._computed)
        selected: dict[str, Tensor] = {}
        shares: dict[str, float] = {}
        for _, run in groupby(enumerate(self._computed), key=lambda pair: id(pair[1])):
            numbers = [number for number, _ in run]
            index = self._computed[numbers[0]]
            if index is not None:
                selected[f"blocks.{numbers[0]}.kept"] = index
                shares[f"blocks.{numbers[0]}.kept"] = len(numbers) / depth
        return FrameTrace(
            sum(layers) / depth,
            all(count == area for count in layers),
            dict(counts or {}),
            selected,
            shares,
            f"computed in many of {depth} blocks",
            layers=layers,
            scores=dict(scores or {}),
        )


def skipping(
    block: Block, sequence: Tensor, grid: Size, index: Tensor | None, trail: int = 0
) -> Tensor:
    """Return the sequence (1, n, D) after a block that computes tokens `index` (m,) alone.

    Indices count tokens of the grid, in rising order; None computes all. Those before the grid and
    the `trail` behind it are always computed.
    """
    if index is None:
        return block(sequence, grid)
    lead = sequence.shape[1] - grid.area - trail
    if not lead + len(index) + trail:
        return sequence
    behind = lead + grid.area + torch.arange(trail, device=index.device)
    places = torch.cat([torch.arange(lead, device=index.device), index + lead, behind])
    rows = sequence[:, places]
    attended = block.attend_among(block.qkv(block.norm1(rows)), grid, index)
    return sequence.index_copy(1, places, block.complete(rows, attended))


def blocks_macs(arch: ViTArch, grid: Size, layers: Sequence[Tokens]) -> Macs:
    """Return the MACs of a backbone whose blocks compute so many tokens of the grid each.

    A block on n of them, m with class and detection tokens: 12 m D^2 + 2 m^2 D, relative terms on
    top where the backbone has them. The published counter (torchprofile's) adds patch embedding,
    LayerNorms and attention scaling as `costs.plain_vit` does.
    """
    total = Macs(0, grid.area * 3 * arch.patch**2 * arch.dim)
    for computed in layers:
        sequence = computed + arch.lead + arch.trail
        linear = costs.qkv(arch, sequence) + costs.projection_and_mlp(arch, sequence)
        attention = costs.global_attention(arch, grid, sequence, sequence)
        matrix = linear.matrix + attention.matrix
        more = 2 * sequence * arch.dim + arch.heads * sequence**2
        total += Macs(matrix, matrix + more)
    norm = int(arch.final_norm) * costs.sequence_length(arch, grid) * arch.dim
    return total + Macs(0, norm)


def selector_macs(arch: ViTArch, tokens: Tokens, hidden: int) -> Macs:
    """Return the MACs of a selector on n tokens: n (D + 2) hidden; published: its LayerNorm too."""
    matrix = tokens * (arch.dim + 2) * hidden
    return Macs(matrix, matrix + tokens * arch.dim)


def layers_of(counts: Mapping[str, Tokens], depth: int) -> list[Tokens]:
    """Return the tokens that each block computed, from the counts of a trace."""
    return [counts[block_count(number)] for number in range(depth)]
