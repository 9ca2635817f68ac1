"""Four 3 x 3 convolutions with norms: how every head begins that looks at pooled regions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.families.blocks.channel_norm import ChannelNorm

_DEPTH = 4


class RegionConvs(nn.Module):
    """The base of such a head; it says itself with which weights the convolutions begin."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        convs = [nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(_DEPTH)]
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in convs)

    def convolved(self, pooled: Tensor) -> Tensor:
        """Return what the convolutions make of pooled features, both (n, channels, s, s)."""
        hidden = pooled
        for conv, norm in zip(self.convs, self.norms, strict=True):
            hidden = F.relu(norm(conv(hidden)))
        return hidden
