"""What pruned execution costs and keeps, in closed form; `pruned_execution` tells what it computes.

n = N tokens and those without a place beside them (class and detection tokens), k of them that go
on after the first attention, D width, r the MLP's ratio, L blocks, W windowed and G global ones.
"""

from __future__ import annotations

import numpy as np

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs, Tokens
from maskvd_cli.methods.base import FLOAT32_BYTES, ClipView, TokenTrace, token_bytes

# Whether a frame was pruned, also where so many tokens are kept that it recomputes all of them.
PRUNED = "pruned"


def pruned_trace(view: ClipView, period: int, tokens: int) -> TokenTrace:
    """Return the trace of a clip that recomputes `tokens` on all frames but every `period`-th."""
    pruned = np.arange(view.frames) % period != 0
    through = np.where(pruned, tokens, view.tokens)
    return TokenTrace(
        through.astype(np.float64),
        through == view.tokens,
        {PRUNED: pruned.astype(np.int64)},
    )


def executed(arch: ViTArch, grid: Size, tokens: Tokens) -> Macs:
    """Return the MACs of frames of which so many `tokens` go on, without their choice.

    Matrix products: 4nD^2 + 2rkD^2 in the first block and (4 + 2r)kD^2 in the others; attention of
    all windows; global attention of k queries, in the first block n, to n keys: 2knD + k(R + C)D.
    The published counter is that of RGTP's code, which computes the relative terms of all n
    queries, and adds, under the rules of windowed backbones, biases and residuals of the tokens
    that each layer sees, 2Hn^2 additions of relative terms in global blocks, 2HNp w^2 in windows,
    the padding value and the positions; under torchprofile's, LayerNorms and scalings of what is
    computed, and the patch embedding.
    """
    every = costs.sequence_length(arch, grid)
    kept = tokens + arch.lead + arch.trail
    first, later = _global_blocks(arch)
    layers = _layers(arch, every, kept)
    windows = costs.windowed_attention(arch, grid)
    of_all = costs.global_attention(arch, grid, every, every)
    own = (
        of_all.matrix * first
        + costs.global_attention(arch, grid, kept, every).matrix * later
        + windows.matrix * arch.windowed_depth
    )
    spared = 2 * (every - kept) * every * arch.dim * later
    authors = of_all.matrix * (first + later) - spared + windows.matrix * arch.windowed_depth
    if arch.torchprofiled:
        extras = _torchprofile_extras(arch, grid, every, kept)
    else:
        extras = (
            _additions(arch, every, kept)
            + costs.position_add(arch, grid).published
            + (of_all.published - of_all.matrix) * (first + later)
            + (windows.published - windows.matrix) * arch.windowed_depth
        )
    return Macs(layers + own, layers + authors + extras)


def _global_blocks(arch: ViTArch) -> tuple[int, int]:
    """Return how many global blocks are the first block, none or one, and how many are later."""
    first = int(0 in arch.global_blocks)
    return first, len(arch.global_blocks) - first


def _layers(arch: ViTArch, every: int, kept: Tokens) -> Tokens:
    mlp = 2 * arch.mlp_ratio
    return (4 * every + mlp * kept + (arch.depth - 1) * (4 + mlp) * kept) * arch.dim**2


def _additions(arch: ViTArch, every: int, kept: Tokens) -> Tokens:
    """Return biases, 4nD + (1 + r)kD and (5 + r)kD, and residuals, (n + k)D and 2kD."""
    first = 5 * every + (2 + arch.mlp_ratio) * kept
    return (first + (arch.depth - 1) * (7 + arch.mlp_ratio) * kept) * arch.dim


def _torchprofile_extras(arch: ViTArch, grid: Size, every: int, kept: Tokens) -> Tokens:
    first, later = _global_blocks(arch)
    norms = every + kept + (2 * (arch.depth - 1) + int(arch.final_norm)) * kept
    scalings = arch.heads * (first * every + later * kept) * every
    embedding = grid.area * 3 * arch.patch**2 * arch.dim
    return norms * arch.dim + scalings + embedding


def state_bytes(arch: ViTArch, grid: Size) -> int:
    """Return the bytes of what the blocks keep: QKV of all but the first, 3(L - 1)nD, output ND.

    Where features are read at k depths, the output is kND; that of detection tokens is not kept.
    """
    every = costs.sequence_length(arch, grid)
    cached = 3 * (arch.depth - 1) * every * arch.dim * FLOAT32_BYTES
    return cached if arch.trail else cached + len(arch.taps) * token_bytes(arch, grid)
