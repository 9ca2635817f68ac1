"""Masked execution: recompute chosen tokens, take the rest from the frames before.

One set of tokens serves all blocks of a frame. MaskVD and the controls differ in how they choose
it; this file is what they share. Windowed backbones come in three versions:

C  Every block caches the QKV of all N tokens; chosen tokens attend to the cache. What MaskVD's
   published code computes; it also computes, and throws away, the attention of all other tokens.
T  Windowed blocks cache their N input tokens and derive keys and values from them; global blocks
   attend among the chosen tokens alone. The paper's text.
H  Windowed blocks as C, global blocks as T.

Non-windowed backbones run on the chosen tokens alone. In all of them the output of tokens that
were not chosen is the last one computed, at each depth where features are read.

Tokens without a place are chosen on every frame that has a chosen token: class tokens of windows (C
alone), through which alone a window hears of itself as a whole, and detection tokens, which see
nothing but what they attend to, so that backbones with them run as C alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.attention import attention
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.families.blocks.windows import window_layout, window_places
from maskvd_cli.methods.base import FrameTrace, scatter
from maskvd_cli.methods.frame import premature
from maskvd_cli.methods.masked_costs import Version, full_counts
from maskvd_cli.methods.trace import MASK


@dataclass(frozen=True)
class Chosen:
    """The chosen tokens of a frame, and how they lie in windows; on the backbone's device.

    `index` (n,) sorted, on the grid; `rows` (r,) sorted, of the sequence, tokens without a place
    among them. Windows without a chosen token are left out. `near` (m,) sorted: all rows of the
    other windows; `layout` (windows, places): where in `near` each place's token stands, `laid` its
    row, and `outside` where there is none but padding, None where all have one. Row i of `rows` is
    query `slot[i]` of window `window[i]`; `places` (windows, most queries) tells where in its
    window each query lies.
    """

    index: Tensor
    rows: Tensor
    near: Tensor
    layout: Tensor
    laid: Tensor
    outside: Tensor | None
    window: Tensor
    slot: Tensor
    places: Tensor

    @classmethod
    def of(cls, kept: Tensor, grid: Size, arch: ViTArch, device: torch.device) -> Chosen:
        """Lay out the tokens of a mask (N,) bool on the CPU; without windows, how they stand alone.

        Class tokens of windows stand before the others in each; those of all windows stand before
        the grid, window by window.
        """
        index = kept.nonzero().squeeze(1)
        rows = index + arch.lead
        if len(index):
            behind = arch.lead + grid.area + torch.arange(arch.trail)
            rows = torch.cat([torch.arange(arch.lead), rows, behind])
        if not arch.windowed_depth:
            none = index.new_empty(0)
            return cls(index.to(device), rows.to(device), none, none, none, None, none, none, none)
        tokens, where = _laid_out(grid, arch.window_on(grid), arch.window_lead)
        which, place = where[rows].unbind(1)
        active, which, counts = which.unique(return_inverse=True, return_counts=True)
        order = which.argsort(stable=True)
        first = counts.cumsum(0) - counts
        slot = torch.empty_like(order)
        slot[order] = torch.arange(len(order)) - first.repeat_interleave(counts)
        places = torch.zeros(len(active), max(counts.tolist(), default=0), dtype=torch.int64)
        places[which, slot] = place
        tokens = tokens[active]
        outside = tokens == len(where)
        near = tokens[~outside].sort().values
        layout = torch.searchsorted(near, tokens).clamp(max=max(len(near) - 1, 0))
        laid = near[layout] if len(near) else layout
        parts = (index, rows, near, layout, laid, which, slot, places)
        index, rows, near, layout, laid, which, slot, places = (part.to(device) for part in parts)
        padded = outside.to(device) if outside.any() else None
        return cls(index, rows, near, layout, laid, padded, which, slot, places)

    @property
    def counts(self) -> dict[str, int]:
        """What the closed forms of windowed backbones need; nothing without windows."""
        if self.places.dim() < 2:
            return {}
        return {"window_queries": self.places.numel(), "window_keys": len(self.near)}


class MaskedExecution:
    """The backbone run on chosen tokens, with what it keeps of the frames before.

    `version` is for windowed backbones, and C for those with detection tokens. `fill`: the output
    of tokens that were not chosen is taken from the last frame, or zero (what MaskVD's released
    non-windowed file does).
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        version: Version | None,
        fill: Literal["reference", "zeros"] = "reference",
    ) -> None:
        self.backbone = backbone
        self.version = version
        self.fill = fill
        self.caches: dict[int, Tensor] = {}
        self.reference: Tensor | None = None

    def reset(self) -> None:
        """Forget the clip."""
        self.caches = {}
        self.reference = None

    def state(self) -> Iterable[Tensor]:
        """Yield the caches and the reference output."""
        yield from self.caches.values()
        if self.reference is not None:
            yield self.reference

    def run(self, tokens: Tensor, grid: Size, kept: Tensor) -> tuple[Tensor, FrameTrace]:
        """Return features (1, N, D) of embedded patches, recomputing `kept` (N,) bool on the CPU.

        Raises UsageError where a mask comes before any full frame.
        """
        sequence = tokens + self.backbone.positions_on(grid)
        if bool(kept.all()):
            features = self._full(sequence, grid)
            counts = full_counts(self.backbone.arch, grid)
            index = torch.arange(grid.area, device=tokens.device)
        else:
            base = self._base(tokens)
            chosen = Chosen.of(kept, grid, self.backbone.arch, tokens.device)
            counts, index = chosen.counts, chosen.index
            features = self._masked(base, sequence, grid, chosen)
        self.reference = features.clone()
        trace = FrameTrace(len(index), len(index) == grid.area, counts, {MASK: index}, {MASK: 1.0})
        return features, trace

    def _full(self, sequence: Tensor, grid: Size) -> Tensor:
        sequence, readings = self.backbone.with_class_token(sequence), list[Tensor]()
        for number, block in enumerate(self.backbone.blocks):
            qkv = block.qkv(block.norm1(sequence))
            kept = {"qkv": qkv, "input": sequence, None: None}[self._caches_what(block)]
            if kept is not None:
                self.caches[number] = kept.clone()
            sequence = block.complete(sequence, block.attend(qkv, grid))
            sequence = self.backbone.between(number, sequence, grid)
            self.backbone.read(number, sequence, readings)
        return self.backbone.side_by_side(readings)

    def _base(self, tokens: Tensor) -> Tensor:
        """Return the features that tokens keep which are not chosen."""
        if self.fill == "zeros":
            return torch.zeros_like(tokens)
        if self.reference is None:
            raise premature()
        return self.reference

    def _masked(self, base: Tensor, sequence: Tensor, grid: Size, chosen: Chosen) -> Tensor:
        if not len(chosen.index):
            return base.clone()
        sequence = self.backbone.with_class_token(sequence[:, chosen.index])
        readings = list[Tensor]()
        for number, block in enumerate(self.backbone.blocks):
            attended = self._attend(number, block, sequence, grid, chosen)
            sequence = block.complete(sequence, attended)
            sequence = self.backbone.between(number, sequence, grid, chosen.rows)
            self.backbone.read(number, sequence, readings)
        features = self.backbone.side_by_side(readings)
        return features if self.backbone.arch.trail else scatter(base, chosen.index, features)

    def _attend(
        self, number: int, block: Block, sequence: Tensor, grid: Size, chosen: Chosen
    ) -> Tensor:
        """Return the attention output of the chosen rows, renewing the block's cache."""
        normed = block.norm1(sequence)
        caches = self._caches_what(block)
        if caches is None:
            return block.attend_among(block.qkv(normed), grid, chosen.index)
        dim = self.backbone.arch.dim
        cache = self.caches[number]
        if caches == "input":
            cache.index_copy_(1, chosen.rows, sequence)
            near = block.keys_values(block.norm1(cache[:, chosen.near]))
            return _in_windows(block, block.queries(normed), near[0, chosen.layout], chosen)
        qkv = block.qkv(normed)
        cache.index_copy_(1, chosen.rows, qkv)
        if block.window is not None:
            # Laid out in one step: every copy of the keys and values takes time.
            return _in_windows(block, qkv[..., :dim], cache[0, :, dim:][chosen.laid], chosen)
        query, _, _ = block.split(qkv)
        _, key, value = block.split(cache)
        relative = block.relative(query, grid, at=chosen.index) if block.relative else None
        return block.merge(attention(query, key, value, relative))

    def _caches_what(self, block: Block) -> Literal["qkv", "input", None]:
        if self.version == "C":
            return "qkv"
        if self.version is None or block.window is None:
            return None
        return "qkv" if self.version == "H" else "input"


@lru_cache(maxsize=64)
def _laid_out(grid: Size, window: Size, lead: int) -> tuple[Tensor, Tensor]:
    """Return the row of the sequence at each place of each window, and of each row both.

    (windows, places) and (rows, 2) int64, as `window_layout` and `window_places` tell them without
    class tokens; the number of rows is padding.
    """
    tokens, where = window_layout(grid, window), window_places(grid, window)
    if not lead:
        return tokens, where
    before = lead * len(tokens)
    own = torch.arange(before).view(len(tokens), lead)
    places = torch.arange(before)[:, None]
    return (
        torch.cat([own, tokens + before], dim=1),
        torch.cat([torch.cat([places // lead, places % lead], dim=1),
                   where + torch.tensor([0, lead])]),
    )  # fmt: skip


def _in_windows(block: Block, queries: Tensor, keys_values: Tensor, chosen: Chosen) -> Tensor:
    """Return the windowed attention (1, n, D) of the chosen tokens.

    `queries` (1, n, D) are theirs, `keys_values` (windows, places, 2D) those of their windows.
    Windows differ in how many queries they hold; short ones are filled up.
    """
    dim = queries.shape[-1]
    filled = queries.new_zeros(*chosen.places.shape, dim)
    filled[chosen.window, chosen.slot] = queries[0]
    if chosen.outside is not None:
        keys_values = torch.where(chosen.outside[..., None], block.qkv.bias[dim:], keys_values)
    query, key, value = (block.to_heads(part) for part in (filled, *keys_values.split(dim, dim=-1)))
    assert block.window is not None
    relative = block.relative(query, block.window, at=chosen.places) if block.relative else None
    return block.merge(attention(query, key, value, relative))[chosen.window, chosen.slot][None]
