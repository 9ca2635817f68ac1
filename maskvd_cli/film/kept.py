"""How much of the backbone recomputes each token of a frame, from the trace that a method leaves.

Names of index sets are read by `methods.trace_names`.

| method leaves | share of a token |
| :-- | :-- |
| nothing, all tokens | 1 |
| `mask` alone | 1 in the mask, else 0 |
| `blocks.<i>.qkv`, `.projection`, `.mlp` | of the gates that it goes through |
| `blocks.<i>.kept` and `survivors`, perhaps `mask` | of the blocks that it leaves |
| index sets of other names | 1 in any of them, else 0 |

A class token is among the indices of gates, in front, and has no place in the picture.
"""

# torch's own annotations are incomplete.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.methods.base import FrameTrace
from maskvd_cli.methods.trace_names import MASK, SURVIVORS, block_name


@dataclass(frozen=True)
class Kept:
    """`share` (rows, cols) float64 of the token grid in 0..1, and in words what bright tokens are.

    `known` is False where the method leaves no trace of its tokens.
    """

    share: NDArray[np.float64]
    legend: str
    known: bool = True


def kept_tokens(trace: FrameTrace, arch: ViTArch, grid: Size) -> Kept:
    """Return the share of each token, as this module's table says."""
    every = np.ones(grid)
    sets = trace.selected
    named = [block_name(name) for name in sets]
    if named and all(name is not None and name.is_gate for name in named):
        share = _mean_of_gates(sets, grid, lead=int(arch.class_token))
        return Kept(share, f"bright: recomputed at many of {len(sets)} gates")
    if SURVIVORS in sets:
        legend = f"bright: kept through many of {arch.depth} blocks"
        return Kept(_through_blocks(sets, arch.depth, grid), legend)
    if trace.full:
        return Kept(every, "bright: recomputed")
    if not sets:
        return Kept(every, "the method tells no tokens", known=False)
    share = np.zeros(grid)
    for index in sets.values():
        share = np.maximum(share, _marked(index, grid))
    united = "" if len(sets) == 1 else f" by any of {len(sets)} choices"
    return Kept(share, f"bright: recomputed{united}")


def _marked(index: Tensor, grid: Size, lead: int = 0) -> NDArray[np.float64]:
    """Return 1 at the places of flat indices, of which the first `lead` have no place."""
    places = index.detach().cpu().numpy().reshape(-1) - lead
    marked = np.zeros(grid.area)
    marked[places[(places >= 0) & (places < grid.area)]] = 1.0
    return marked.reshape(grid)


def _mean_of_gates(sets: Mapping[str, Tensor], grid: Size, lead: int) -> NDArray[np.float64]:
    return np.mean([_marked(index, grid, lead) for index in sets.values()], axis=0)


def _through_blocks(sets: Mapping[str, Tensor], depth: int, grid: Size) -> NDArray[np.float64]:
    """Return the share of blocks that a token leaves; between drops the tokens stay the same."""
    named = ((block_name(name), index) for name, index in sets.items())
    drops = {name.block: index for name, index in named if name and not name.is_gate}
    leaving = _marked(sets[MASK], grid) if MASK in sets else np.ones(grid)
    total = np.zeros(grid)
    for block in range(depth):
        if block in drops:
            leaving = _marked(drops[block], grid)
        total += leaving
    return total / depth
