"""What a recogniser returns of a step, and of a whole look at a video."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Recognised:
    """The features (D,) of one step; `logits` (classes,) of the look that ends with it, or None."""

    features: Tensor
    logits: Tensor | None = None

    def to(self, device: torch.device | str) -> Recognised:
        """Return the same on another device."""
        logits = None if self.logits is None else self.logits.to(device)
        return Recognised(self.features.to(device), logits)
