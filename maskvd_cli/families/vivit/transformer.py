"""The two transformers of a factorised encoder, and what embeds their steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.vivit.archs import ViViTArch

# How much larger new kernels are than torch draws them: what changes within a step is small.
_CHANGES = 4.0


class TubeletEmbedding(nn.Module):
    """One token per patch of a step: a convolution over all of its frames, stride and kernel.

    New kernels take the first frame from the last, so that a model that is learnt from nothing sees
    what moves, and not at first the thousand looks of what stands still. Published weights replace
    them.
    """

    def __init__(self, arch: ViViTArch) -> None:
        super().__init__()
        kernel = (arch.looks.tubelet, arch.patch, arch.patch)
        self.conv = nn.Conv3d(3, arch.dim, kernel, kernel)
        if arch.looks.tubelet > 1:
            with torch.no_grad():
                weight = self.conv.weight
                last = _CHANGES * weight[:, :, -1]
                weight.zero_()
                weight[:, :, 0], weight[:, :, -1] = -last, last

    def forward(self, steps: Tensor) -> Tensor:
        """Embed (B, 3, tubelet, rows, cols) normalised pixels as (B, N, D) tokens."""
        return self.conv(steps).flatten(2).transpose(1, 2)


class ClassTransformer(VisionTransformer):
    """A plain transformer that is read at its class token alone.

    The position that the published model adds to its class token is part of the token here: the sum
    is the same.
    """

    def __init__(self, arch: ViTArch) -> None:
        super().__init__(arch)
        if self.class_token is None or self.final_norm is None:
            raise ValueError(f"{arch.name} has no class token, or no final norm")
        nn.init.trunc_normal_(self.class_token, std=0.02)

    def finish(self, sequence: Tensor) -> Tensor:
        """Return the class tokens (B, 1, D) after the final norm."""
        assert self.final_norm is not None
        return self.final_norm(sequence[:, :1])
