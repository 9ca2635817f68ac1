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
from maskvd_cli.families.blocks.traits import PADDED_WINDOWS
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.families.blocks.windows import window_layout
from maskvd_cli.methods.groups import Groups, between, in_sequence, laid_out
from maskvd_cli.methods.matching import Matching, match, mergeable
from maskvd_cli.methods.placed_attention import Places, attend_at


class Share(NamedTuple):
    """Windows that hold equally many tokens: how many windows, tokens and padding of each.

    A sequence without windows is one. Tokens without a place are counted in.
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
        return (Share(1, start + arch.lead + arch.trail),)
    if arch.window_lead:
        groups = Groups.on(arch, grid)
        return (Share(groups.count, groups.always + grid.area // groups.count),)
    return tuple(share for share, _ in _windows(grid, arch.window_on(grid)))


def _windows(grid: Size, window: Size) -> list[tuple[Share, Tensor]]:
    """Return each share of a grid with the layout of its windows, (windows, area); N is padding."""
    layout = window_layout(grid, window)
    held = (layout < grid.area).sum(1)
    return [
        (Share(int((held == count).sum()), count, window.area - count), layout[held == count])
        for count in sorted(set(held.tolist()), reverse=True)
    ]


def _padded(
    backbone: VisionTransformer, tokens: Tensor, grid: Size
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Return what enters windows that are padded where they reach over the grid.

    The sequence (B, N, D) of embedded patches (B, N, D), the places (B, N), and the padding.
    """
    windows = _windows(grid, backbone.arch.window)
    entered = torch.cat([layout[layout < grid.area] for _, layout in windows]).to(tokens.device)
    padding = tuple(
        (layout == grid.area).nonzero()[:, 1].view(share.windows, -1).to(tokens.device)
        for share, layout in windows
    )
    sequence = (tokens + backbone.positions_on(grid))[:, entered]
    return sequence, entered.expand(len(tokens), -1), padding


@dataclass(frozen=True)
class Merging:
    """A sequence on its way through the blocks, its tokens share by share, window by window.

    `tokens` (B, n, D), in front of each window, or of the sequence, the `always` tokens without a
    place; `sizes` (B, n): how many tokens each stands for; `places` (B, n): flat grid index, N for
    one without a place; `owner` (B, m): where in the sequence each of the m tokens went that
    entered at flat grid index `entered` (m,). `padding`: of each share the places (windows, p) in
    its windows that hold no token.
    """

    tokens: Tensor
    sizes: Tensor
    places: Tensor
    owner: Tensor
    entered: Tensor
    shares: tuple[Share, ...]
    padding: tuple[Tensor, ...]
    always: int

    @classmethod
    def begin(
        cls, backbone: VisionTransformer, tokens: Tensor, grid: Size, chosen: Tensor | None = None
    ) -> Merging:
        """Start with embedded patches (B, N, D), all or those at `chosen` (n,), without windows."""
        arch, batch, padding = backbone.arch, len(tokens), ()
        groups = Groups.on(arch, grid)
        if PADDED_WINDOWS in arch.has:
            sequence, places, padding = _padded(backbone, tokens, grid)
        else:
            rows, index = laid_out(backbone, tokens, grid, chosen)
            no_place = index.new_full((len(index), groups.always), grid.area)
            sequence, places = (
                part.reshape(batch, -1, *part.shape[2:])
                for part in (rows, torch.cat([no_place, index], dim=1))
            )
        owner = (places[0] < grid.area).nonzero().squeeze(1)
        return cls(
            sequence,
            torch.ones(sequence.shape[:2], device=tokens.device),
            places,
            owner.expand(batch, -1),
            places[0, owner],
            shares_of(arch, grid, len(owner)),
            padding,
            groups.always,
        )

    @property
    def left(self) -> Tensor:
        """The places of the tokens of the grid that are left, (B, m)."""
        parts = [part[:, :, self.always :].flatten(1) for part in self._by_share(self.places)]
        return torch.cat(parts, dim=1)

    def between(self, backbone: VisionTransformer, number: int, grid: Size) -> Merging:
        """Return the sequence as it enters the block after block `number`."""
        index = self.places[:, self.always :]
        moved = between(backbone, number, self.tokens, index, grid)
        return self if moved is self.tokens else replace(self, tokens=moved)

    def read(self, backbone: VisionTransformer) -> tuple[Tensor, Tensor]:
        """Return what is read of it, (B, n, D) after the final norm, and where each token went.

        That is for each of the tokens that entered, (B, m), a row of the former.
        """
        if not self.always:
            return backbone.finish(self.tokens), self.owner
        (share,) = self.shares
        rows = self.tokens.reshape(-1, share.tokens, self.tokens.shape[-1])
        groups = Groups(share.windows, self.always)
        which, inside = self.owner // share.tokens, self.owner % share.tokens
        owner = which * (share.tokens - self.always) + inside - self.always
        return backbone.finish(in_sequence(rows, backbone.arch, groups)), owner

    def through(self, block: Block, grid: Size, count: int, *, proportional: bool) -> Merging:
        """Run one block, after whose attention `count` tokens of each window merge."""
        qkv = block.qkv(block.norm1(self.tokens))
        attended = self._attended(block, qkv, grid, proportional)
        moved = replace(self, tokens=self.tokens + block.projection(attended))
        if any(share.after(count, self.always) != share for share in self.shares):
            metric = block.split(qkv)[1].mean(1)
            moved = moved.merged(metric, count)
        return replace(moved, tokens=moved.tokens + block.mlp(block.norm2(moved.tokens)))

    def merged(self, metric: Tensor, count: int) -> Merging:
        """Merge `count` tokens of each window, whose likeness is that of `metric` (B, n, c)."""
        batch = len(metric)
        shares = tuple(share.after(count, self.always) for share in self.shares)
        to, own = [], []
        before = behind = 0
        for share, left, rows in zip(self.shares, shares, self._by_share(metric), strict=True):
            found = match(rows.flatten(0, 1), share.tokens - left.tokens, self.always)
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
        first = sum(share.windows for share in self.shares) * self.always
        untouched = self.tokens.shape[1] == len(self.entered) + first
        sizes = None if untouched or not proportional else self.sizes
        if block.window is None:
            return attend_at(block, qkv, Places(grid, self.places), sizes)
        if not self.padding:
            return self._attended_in_windows(block, qkv, sizes)
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

    def _attended_in_windows(self, block: Block, qkv: Tensor, sizes: Tensor | None) -> Tensor:
        """Return the attention output of tokens in equal windows, none of them padded."""
        (share,) = self.shares
        groups, at, size = (
            None if part is None else part.reshape(-1, share.tokens, *part.shape[2:])
            for part in (qkv, self.places, sizes)
        )
        assert groups is not None and at is not None and block.window is not None
        attended = attend_at(block, groups, Places(block.window, at), size)
        return attended.view(*qkv.shape[:2], -1)

    def _by_share(self, rows: Tensor) -> Iterator[Tensor]:
        """Yield for each share its part of (B, n, ...), (B, windows, tokens, ...)."""
        start = 0
        for share in self.shares:
            yield rows[:, start : start + share.total].unflatten(1, (share.windows, share.tokens))
            start += share.total
