"""How a sequence lies that loses tokens: in groups that stay equally large.

A group is the whole sequence, or on backbones with equal windows one window of it. After the
embedding nothing in a block but attention asks where tokens lie, so windows that lose equally many
tokens stay one batch. In front of each group stand its tokens without a place, which are never
lost: its class token, then detection tokens. In blocks with global attention the groups of an image
attend to each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.traits import MID_POSITIONS
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.blocks.windows import window_layout


@dataclass(frozen=True)
class Groups:
    """How many groups an image has, and how many tokens without a place stand in front of each."""

    count: int
    always: int

    @classmethod
    def on(cls, arch: ViTArch, grid: Size) -> Groups:
        """Return the groups of a backbone on a grid."""
        if arch.windowed_depth:
            return cls(arch.windows(grid).area, arch.window_lead)
        return cls(1, arch.lead + arch.trail)

    def of(self, placed: int) -> int:
        """Return how many tokens all groups have that hold `placed` tokens of the grid each."""
        return self.count * (self.always + placed)

    def attention(
        self, arch: ViTArch, grid: Size, number: int, asking: int, answering: int
    ) -> tuple[int, int]:
        """Return logits of a head and products of attention in block `number`.

        Of `asking` to `answering` tokens of each group, those without a place among them.
        """
        windowed = number not in arch.global_blocks
        times, together = (self.count, 1) if windowed else (1, self.count)
        queries, keys = together * asking, together * answering
        products = int(costs.global_attention(arch, grid, queries, keys).matrix)
        return times * queries * keys, times * products


def check_groups(arch: ViTArch) -> None:
    """Raise UsageError for a backbone whose groups nobody can score.

    Windows with relative positions would need places in them; where detection tokens stand in
    front of a group, a class token must vote.
    """
    if arch.windowed_depth and arch.relative_table:
        raise UsageError(
            f"tokens are dropped in windows without relative positions, and {arch.name} has some",
            remedy="use another model",
        )
    if arch.trail and not arch.class_token:
        raise UsageError(
            f"no class token of {arch.name} votes beside its detection tokens",
            remedy="use another model",
        )


def has_class_token(arch: ViTArch) -> bool:
    """Return whether a class token stands in front of each group."""
    return arch.class_token or arch.window_lead > 0


def laid_out(
    backbone: VisionTransformer, tokens: Tensor, grid: Size, chosen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return what enters the first block, group by group, from embedded patches (B, N, D).

    All of them, or without windows those at `chosen` (n,). Groups G are those of all images, image
    by image: (G, always + n, D), and the flat grid index (G, n) of those with a place.
    """
    arch, batch, device = backbone.arch, len(tokens), tokens.device
    placed = tokens + backbone.positions_on(grid)
    if arch.windowed_depth:
        layout = window_layout(grid, arch.window_on(grid)).to(device)
        own = torch.arange(arch.lead, device=device).view(len(layout), -1)
        order = torch.cat([own, layout + arch.lead], dim=1)
        rows = backbone.with_class_token(placed)[:, order.flatten()]
        return rows.view(-1, order.shape[1], rows.shape[-1]), layout.repeat(batch, 1)
    index = torch.arange(grid.area, device=device) if chosen is None else chosen
    rows = backbone.with_class_token(placed if chosen is None else placed[:, chosen])
    if arch.trail:
        first, middle, last = rows.split((arch.lead, len(index), arch.trail), dim=1)
        rows = torch.cat([first, last, middle], dim=1)
    return rows, index.expand(batch, -1)


def in_sequence(rows: Tensor, arch: ViTArch, groups: Groups) -> Tensor:
    """Return groups (G, always + n, D) as the model has them, (B, lead + m + trail, D).

    First class tokens, then the m tokens of all groups of an image, then detection tokens.
    """
    if groups.count == 1 and not arch.trail:
        return rows
    images = rows.view(-1, groups.count, *rows.shape[1:])
    placed = images[:, :, groups.always :].flatten(1, 2)
    own = images[:, :, : groups.always].flatten(1, 2)
    return torch.cat([own[:, : arch.lead], placed, own[:, arch.lead :]], dim=1)


def between(
    backbone: VisionTransformer, number: int, rows: Tensor, index: Tensor, grid: Size
) -> Tensor:
    """Return what enters the block after block `number`, (B, always + n, D), from what left that.

    Positions are those of the tokens at `index` (B, n); one without a place, N, gets none.
    """
    arch = backbone.arch
    if MID_POSITIONS not in arch.has:
        return rows
    own = torch.arange(arch.lead + arch.trail, device=rows.device)
    own = own + (own >= arch.lead) * grid.area
    at = torch.cat([own.expand(len(index), -1), index + arch.lead], dim=1)
    moved = backbone.between(number, rows, grid, at)
    there = torch.cat([torch.ones_like(at[:, : len(own)], dtype=torch.bool), index < grid.area], 1)
    return moved.where(there[..., None], rows)


def joined(rows: Tensor, together: int) -> Tensor:
    """Return (G, n, ...) as groups of `together` times as many tokens."""
    if together == 1:
        return rows
    groups, length, *width = rows.shape
    return rows.reshape(groups // together, together * length, *width)


def parted(rows: Tensor, together: int) -> Tensor:
    """Return what `joined` put together, (G, n, ...), again."""
    if together == 1:
        return rows
    return rows.unflatten(1, (together, rows.shape[1] // together)).flatten(0, 1)


def parted_heads(heads: Tensor, together: int) -> Tensor:
    """Return (B, H, `together` x n, ...) group by group, (G, H, n, ...)."""
    if together == 1:
        return heads
    return heads.unflatten(2, (together, -1)).transpose(1, 2).flatten(0, 1)


def of_own_group(weights: Tensor, together: int) -> Tensor:
    """Return (B, H, W, W x n), one row per group, for each group its own part: (G, H, n)."""
    own = weights.unflatten(-1, (together, -1)).diagonal(dim1=2, dim2=3)
    return own.permute(0, 3, 1, 2).flatten(0, 1)


def in_joined(places: Tensor, always: int, size: int, together: int) -> Tensor:
    """Return where `places` (G, k) of groups of `size` tokens stand in joined ones, (B, ...).

    Places count those of the grid; the `always` tokens in front come along.
    """
    own = torch.arange(always, device=places.device).expand(len(places), -1)
    inside = torch.cat([own, places + always], dim=1).unflatten(0, (-1, together))
    start = torch.arange(together, device=places.device)[:, None] * size
    return (inside + start).flatten(1)
