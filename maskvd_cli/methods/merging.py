"""Token merging on a detector's backbone: in every block some tokens of the sequence become one.

ToMe (ICLR 2023, arXiv 2210.09461): after the attention residual and before the MLP, the tokens
whose keys, means over heads, are most alike merge (see `matching`). A token that stands for s
tokens is a key for s: log s is added to the logits towards it (proportional attention).

On windowed backbones tokens merge with tokens of their own window, in each window as many, so that
windows stay equally large and one batch; also in global blocks, whose attention is that of all
tokens that are left. Where windows reach over the grid, those that hold equally many tokens go
together. A merged token keeps the place of the one that it went to, for relative positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.families.blocks.windows import window_layout
from maskvd_cli.methods.matching import Matching, match, mergeable
from maskvd_cli.methods.placed_attention import Places, attend_at


class Share(NamedTuple):
    """Windows that hold equally many tokens: how many windows, tokens and padding of each.

    A sequence without windows is one, its class token counted in.
    """

    windows: int
    tokens: int
    padding: int = 0

    @property
    def total(self) -> int:
        """The tokens of all its windows."""
        return self.windows * self.tokens

    def after(self, count: int, lead: int = 0) -> Share:
        """Return what is left where `count` tokens of each window merge, or as many as can."""
        return self._replace(tokens=self.tokens - min(count, mergeable(self.tokens, lead)))


def shares_of(arch: ViTArch, grid: Size, start: int) -> tuple[Share, ...]:
    """Return how the tokens that enter are shared out: `start`, or with windows all of a grid."""
    if not arch.windowed_depth:
        return (Share(1, start + arch.lead),)
    return tuple(share for share, _ in _windows(grid, arch.window))


def _windows(grid: Size, window: Size) -> list[tuple[Share, Tensor]]:
    """Return each share of a grid with the layout of its windows, (windows, area); N is padding."""
    layout = window_layout(grid, window)
    held = (layout < grid.area).sum(1)
    return [
        (Share(int((held == count).sum()), count, window.area - count), layout[held == count])
        for count in sorted(set(held.tolist()), reverse=True)
    ]


@dataclass(frozen=True)
class Merging:
    """A sequence on its way through the blocks, its tokens share by share, window by window.

    `tokens` (B, n, D), the `lead` class tokens first; `sizes` (B, n): how many tokens each stands
    for; `places` (B, n): flat grid index, N for a class token; `owner` (B, m): where in the
    sequence each of the m tokens went that entered at flat grid index `entered` (m,). `padding`: of
    each share the places (windows, p) in its windows that hold no token.
    """

    tokens: Tensor
    sizes: Tensor
    places: Tensor
    owner: Tensor
    entered: Tensor
    shares: tuple[Share, ...]
    padding: tuple[Tensor, ...]
    lead: int

    @classmethod
    def begin(
        cls, backbone: VisionTransformer, tokens: Tensor, grid: Size, chosen: Tensor | None = None
    ) -> Merging:
        """Start with embedded patches (B, N, D), all or those at `chosen` (n,), without windows."""
        arch, device, batch = backbone.arch, tokens.device, len(tokens)
        padding: tuple[Tensor, ...] = ()
        if arch.windowed_depth:
            windows = _windows(grid, arch.window)
            entered = torch.cat([layout[layout < grid.area] for _, layout in windows]).to(device)
            padding = tuple(
                (layout == grid.area).nonzero()[:, 1].view(share.windows, -1).to(device)
                for share, layout in windows
            )
        else:
            entered = torch.arange(grid.area, device=device) if chosen is None else chosen
        sequence = (tokens + backbone.positions_on(grid))[:, entered]
        sequence = backbone.with_class_token(sequence)
        places = torch.cat([entered.new_full((arch.lead,), grid.area), entered])
        return cls(
            sequence,
            torch.ones(sequence.shape[:2], device=device),
            places.expand(batch, -1),
            torch.arange(arch.lead, len(places), device=device).expand(batch, -1),
            entered,
            shares_of(arch, grid, len(entered)),
            padding,
            arch.lead,
        )

    def through(self, block: Block, grid: Size, count: int, *, proportional: bool) -> Merging:
        """Run one block, after whose attention `count` tokens of each window merge."""
        qkv = block.qkv(block.norm1(self.tokens))
        attended = self._attended(block, qkv, grid, proportional)
        moved = replace(self, tokens=self.tokens + block.projection(attended))
        if any(share.after(count, self.lead) != share for share in self.shares):
            metric = block.split(qkv)[1].mean(1)
            moved = moved.merged(metric, count)
        return replace(moved, tokens=moved.tokens + block.mlp(block.norm2(moved.tokens)))

    def merged(self, metric: Tensor, count: int) -> Merging:
        """Merge `count` tokens of each window, whose likeness is that of `metric` (B, n, c)."""
        batch = len(metric)
        shares = tuple(share.after(count, self.lead) for share in self.shares)
        to, own = [], []
        before = behind = 0
        for share, left, rows in zip(self.shares, shares, self._by_share(metric), strict=True):
            found = match(rows.flatten(0, 1), share.tokens - left.tokens, self.lead)
            window = torch.arange(share.windows, device=metric.device)[:, None]
            local_to = found.to.view(batch, share.windows, -1) + window * left.tokens
            local_own = found.own.view(batch, share.windows, -1) + window * share.tokens
            to.append(local_to.flatten(1) + behind)
            own.append(local_own.flatten(1) + before)
            before, behind = before + share.total, behind + left.total
        matching = Matching(torch.cat(to, dim=1), torch.cat(own, dim=1))
        tokens, sizes = matching.merged(self.tokens, self.sizes)
        return replace(
            self,
            tokens=tokens,
            sizes=sizes,
            places=self.places.gather(1, matching.own),
            owner=matching.to.gather(1, self.owner),
            shares=shares,
        )

    def _attended(self, block: Block, qkv: Tensor, grid: Size, proportional: bool) -> Tensor:
        untouched = self.tokens.shape[1] == len(self.entered) + self.lead
        sizes = None if untouched or not proportional else self.sizes
        if block.window is None:
            return attend_at(block, qkv, Places(grid, self.places), sizes)
        rows, cols = self.places // grid.cols, self.places % grid.cols
        inside = rows % block.window.rows * block.window.cols + cols % block.window.cols
        parts: list[Tensor] = []
        parted = zip(
            self._by_share(qkv),
            self._by_share(inside),
            self._by_share(self.sizes),
            self.padding,
            strict=True,
        )
        for own, at, size, empty in parted:
            places = Places(
                block.window, at.flatten(0, 1), empty.expand(len(qkv), -1, -1).flatten(0, 1)
            )
            weights = None if sizes is None else size.flatten(0, 1)
            attended = attend_at(block, own.flatten(0, 1), places, weights)
            parts.append(attended.unflatten(0, own.shape[:2]).flatten(1, 2))
        return torch.cat(parts, dim=1)

    def _by_share(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield for each share its part of (B, n, ...), (B, windows, tokens, ...)."""
        start = 0
        for share in self.shares:
            yield rows[:, start : start + share.total].unflatten(1, (share.windows, share.tokens))
            start += share.total
