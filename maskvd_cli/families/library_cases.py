"""A small model with drawn weights, as ours and as another library has it, and what both compute.

`maskvd verify` compares them; a family gives its case, and nothing else knows the library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from maskvd_cli.core.size import Size

# Of drawn weights and images; any would do.
SEED = 11


class ComparedPart(NamedTuple):
    """What a model computes on its way, of one shape in both: where, by us and by the library."""

    where: str
    ours: Tensor
    theirs: Tensor


@dataclass(frozen=True)
class LibraryCase:
    """A model to compare with that of an installed package.

    `library`: the package, as it is imported and installed; `extra`: that of maskvd that brings it.
    `parts` builds both models in a precision, with the same weights and images, and gives what they
    compute: features at every depth that is read, then boxes as shares of the input, and scores.
    It may raise UsageError, for example for a version of the library that was not tested.
    """

    library: str
    extra: str
    parts: Callable[[torch.dtype], Iterable[ComparedPart]]


def drawn_images(count: int, size: Size) -> list[Tensor]:
    """Return images (3, rows, cols) uint8 of noise, the same on every call."""
    generator = torch.Generator().manual_seed(SEED)
    return list(torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator))


@torch.no_grad()
def redraw(module: nn.Module, seed: int, spread: float = 0.3) -> None:
    """Draw every parameter and buffer anew, so that none hides behind a zero or a one.

    Vectors (norms, biases, layer scales) lie around one half, variances above it. Integers, which
    count or index, stay.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + drawn.square())
        else:
            tensor.copy_(spread * drawn + (0.5 if tensor.ndim == 1 else 0))


def library_model(made: Callable[[], nn.Module], spread: float) -> nn.Module:
    """Return a model of a library with all weights redrawn, for inference.

    `made` builds it. The global random state stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        model = made()
    redraw(model, SEED, spread)
    return model.requires_grad_(False).eval()


def corners(boxes: Tensor) -> Tensor:
    """Return boxes (..., 4) xyxy of centres and sizes."""
    centre, sides = boxes.split(2, dim=-1)
    return torch.cat([centre - sides / 2, centre + sides / 2], dim=-1)
