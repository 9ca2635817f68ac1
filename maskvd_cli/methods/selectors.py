"""Learned selectors: whether a block computes a token, told from the token's own features.

Of SViT (WACV 2024, arXiv 2306.07050), and as they are in VPP (arXiv 2604.00827). The published code
adds Gumbel noise to the log-probabilities, also where it is evaluated; here noise is drawn where it
is asked for, from a seed.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
# From a shape to standard Gumbel noise of that shape, on the device of the features.
Noise = Callable[..., Tensor]
# Part of the width that is the hidden layer's, as published.
_HIDDEN_PART = 4
_TINY = torch.finfo(torch.float32).tiny


class TokenSelector(nn.Module):
    """LayerNorm (eps 1e-5), D -> hidden, GELU, hidden -> 2, log-softmax: keep first, then drop."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, hidden)
        self.mlp_out = nn.Linear(hidden, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return log-probabilities (..., 2) of tokens (..., D), in single precision at least."""
        logits = self.mlp_out(F.gelu(self.mlp_in(self.norm(tokens))))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def hidden_width(given: int | None, dim: int) -> int:
    """Return the width of a selector's hidden layer: as given, else a quarter of D."""
    return max(dim // _HIDDEN_PART, 1) if given is None else given


def kept_of(
    log_probabilities: Tensor, noise: Tensor | None = None, *, bias: float = 0.0, ties: bool = True
) -> Tensor:
    """Return which tokens are kept (...) bool, from log-probabilities (..., 2).

    `noise` (..., 2) is added to them; its scale, 1 / temperature, is the caller's. `bias` is added
    to keeping. `ties`: whether a token is kept where both are equal, as a maximum over two keeps
    the first; SViT's deterministic rule drops it.
    """
    if noise is not None:
        log_probabilities = log_probabilities + noise
    keep, drop = log_probabilities.unbind(-1)
    return keep + bias >= drop if ties else keep + bias > drop


def gumbel_noise(seed: int, frame: int, device: torch.device) -> Noise:
    """Return what draws one frame's noise, -log(E) with E ~ Exp(1), in float32.

    The draws depend on seed, frame and their order alone: they are made on the CPU.
    """
    high, low = np.random.SeedSequence([seed, frame]).generate_state(2).tolist()
    # Two words of 32 bits: torch takes seeds of up to 64.
    return noise_from(torch.Generator().manual_seed((high >> 1 << 32) | low), device)


def noise_from(generator: torch.Generator, device: torch.device) -> Noise:
    """Return what draws Gumbel noise from a generator of the CPU."""

    def draw(*shape: int) -> Tensor:
        drawn = torch.empty(shape).exponential_(generator=generator)
        return drawn.clamp_(min=_TINY).log_().neg_().to(device)

    return draw


def drawn(make: Callable[[], M], seed: int) -> M:
    """Return a module with weights drawn from `seed`; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds the generators of all GPUs, too.
        torch.default_generator.manual_seed(seed)
        return make()
