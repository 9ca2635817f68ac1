"""VPP's mapping-selective module: features of the frame before, carried to where they are now.

VPP (arXiv 2604.00827). With x the tokens of this frame, x' those of the frame before at the same
depth, and y' its deeper features:

    phi_ij = <x_i, x'_j> + log10(10 (2 - L1_ij) / 2 + 1e-6)     L1: distance on the grid, 0..2
    a(i) = argmax_j phi_ij + g_ij / 10                          among tokens selected before
    s = log-probabilities of y'_a(i), each channel averaged over 9 x 9 tokens
    kept: the int(keep_rate N) tokens with the highest softmax(s + g' / 10)

The published code multiplies a one-hot matrix with y'; taking rows gives the same numbers without
the second N x N product. g and g' are Gumbel noise, 0 by default.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.methods.block_list import Blocks
from maskvd_cli.methods.params import Params
from maskvd_cli.methods.selectors import Noise, TokenSelector, hidden_width

# Tokens to each side that scores are averaged over.
REACH = 4
_SHARPNESS, _FLOOR = 10.0, 1e-6


@dataclass(frozen=True)
class FrameBefore:
    """What is kept of a frame for the next one: copies, on the device.

    `entering` (N, D): tokens as they entered the block before which the next frame maps; `deep`
    (N, D): tokens after a later block; `active` (N,) bool: those that this block computed.
    """

    entering: Tensor
    deep: Tensor
    active: Tensor


@dataclass(frozen=True)
class Mapped:
    """How a frame's tokens are told by the frame before.

    `source` (N,) int64: which token each was; `log_probabilities` (N, 2), `smooth` (N, 2) and the
    score `soft` (N,), from which `kept` (N,) bool follows.
    """

    source: Tensor
    log_probabilities: Tensor
    smooth: Tensor
    soft: Tensor
    kept: Tensor


class MappingSelective(nn.Module):
    """Scores tokens by what they were; the association itself has no parameters."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.selector = TokenSelector(dim, hidden)

    def forward(  # noqa: PLR0913, PLR0917 - the frame, what is known of the one before, and how
        self,
        tokens: Tensor,
        memory: FrameBefore,
        grid: Size,
        keep_rate: float,
        noise: Noise | None = None,
        temperature: float = 10.0,
    ) -> Mapped:
        """Map tokens (N, D) of a grid. `noise` draws N x N numbers, then N x 2."""
        phi = similarity(tokens, memory.entering, grid, memory.active)
        if noise is not None:
            phi = phi + noise(*phi.shape) / temperature
        source = phi.argmax(1)
        log_probabilities = self.selector(memory.deep[source])
        smooth = smoothed(log_probabilities, grid)
        logits = smooth if noise is None else smooth + noise(*smooth.shape) / temperature
        soft = logits.softmax(-1)[:, 0]
        return Mapped(source, log_probabilities, smooth, soft, best_share(soft, keep_rate))


def similarity(tokens: Tensor, before: Tensor, grid: Size, active: Tensor | None) -> Tensor:
    """Return phi (..., N, N) in single precision at least; -inf to tokens that were not active.

    `tokens` and `before` (..., N, D), `active` (..., N) bool; where none was active, all count.
    """
    wide = torch.promote_types(tokens.dtype, torch.float32)
    # In half precision neighbours could not be told apart.
    with torch.autocast(tokens.device.type, enabled=False):
        phi = tokens.to(wide) @ before.to(wide).mT
    phi = phi + nearness(grid, wide, tokens.device)
    if active is None:
        return phi
    active = active | ~active.any(-1, keepdim=True)
    return phi.masked_fill(~active[..., None, :], -torch.inf)


def nearness(grid: Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return what near tokens gain over far ones, (N, N): 1 at the same place, -6 at the farthest.

    Rows and columns are both normalised to 0..1, whatever their number.
    """
    rows = torch.arange(grid.rows, device=device, dtype=dtype) / max(grid.rows - 1, 1)
    cols = torch.arange(grid.cols, device=device, dtype=dtype) / max(grid.cols - 1, 1)
    apart = rows[:, None] + cols
    gain = (_SHARPNESS * (2 - apart) / 2 + _FLOOR).log10()
    index = torch.arange(grid.area, device=device)
    row, col = index // grid.cols, index % grid.cols
    return gain[(row[:, None] - row).abs(), (col[:, None] - col).abs()]


def smoothed(log_probabilities: Tensor, grid: Size) -> Tensor:
    """Return (..., N, 2), each channel a mean over 9 x 9 tokens, those at the border repeated."""
    lead = log_probabilities.shape[:-2]
    laid = log_probabilities.reshape(-1, *grid, 2).permute(0, 3, 1, 2)
    padded = F.pad(laid, (REACH,) * 4, mode="replicate")
    mean = F.avg_pool2d(padded, 2 * REACH + 1, stride=1)
    return mean.permute(0, 2, 3, 1).reshape(*lead, grid.area, 2)


def best_share(scores: Tensor, keep_rate: float) -> Tensor:
    """Return the int(keep_rate N) tokens with the highest scores (..., N), as (..., N) bool.

    Of equal scores the token with the lower index goes first.
    """
    count = int(scores.shape[-1] * keep_rate)
    order = scores.argsort(dim=-1, descending=True, stable=True)[..., :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, order, True)


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


class MappingSelectors(nn.Module):
    """What is learnt: the selector of mapped tokens, `map`, and one for each of the blocks."""

    def __init__(self, params: MappingBlocks, arch: ViTArch) -> None:
        super().__init__()
        width = arch.dim if params.map_hidden is None else params.map_hidden
        hidden = hidden_width(params.hidden, arch.dim)
        self.map = MappingSelective(arch.dim, width)
        self.selectors = nn.ModuleDict(
            {str(block): TokenSelector(arch.dim, hidden) for block in params.blocks}
        )
