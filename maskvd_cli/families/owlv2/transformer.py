"""The backbone of OWLv2: a LayerNorm before the blocks, and a product with the class token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.families.owlv2.archs import Owlv2Arch

_QUICK = 1.702


class QuickBlock(Block):
    """A block whose GELU is approximated: x sigmoid(1.702 x)."""

    def mlp(self, tokens: Tensor) -> Tensor:
        """Return the feed-forward layers of normalised tokens (..., D)."""
        hidden = self.mlp_in(tokens)
        return self.mlp_out(hidden * torch.sigmoid(_QUICK * hidden))


class ProductTransformer(VisionTransformer):
    """A plain transformer whose features are products of each token with the class token.

    The position of the class token is part of it here: the sum is the same. A method that keeps
    features of tokens from earlier frames keeps their product with the class token of that frame.
    """

    block_type = QuickBlock

    def __init__(self, arch: Owlv2Arch) -> None:
        super().__init__(arch)
        if self.class_token is None or self.final_norm is None:
            raise ValueError(f"{arch.name} has no class token, or no final norm")
        self.first_norm = nn.LayerNorm(arch.dim)
        self.product_norm = nn.LayerNorm(arch.dim)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = arch.norm_eps

    def with_class_token(self, tokens: Tensor) -> Tensor:
        """Put the class token before (B, n, D) tokens, and normalise them all."""
        return self.first_norm(super().with_class_token(tokens))

    def finish(self, sequence: Tensor) -> Tensor:
        """Return the normalised products (B, n, D) of tokens and class token after the norm."""
        assert self.final_norm is not None
        normed = self.final_norm(sequence)
        return self.product_norm(normed[:, 1:] * normed[:, :1])
