"""The backbone: blocks in equal windows, with class tokens or without, read at several depths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.attention import attention
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.layout import cut, join


class WindowBlock(Block):
    """A block whose windows cut the grid into equal parts, each with its class token, if any.

    Sequences hold the class tokens of all windows, then the grid (`layout`).
    """

    def __init__(self, arch: ViTArch, *, windowed: bool) -> None:
        super().__init__(arch, windowed=windowed)
        assert isinstance(arch, QueryArch)
        self.arch = arch

    def attend(self, qkv: Tensor, grid: Size, pool: int = 1) -> Tensor:
        """Return the attention output (B, W + N, D) of all tokens from their `qkv`.

        Without class tokens (B, N, D). Raises UsageError for pooled keys beside class tokens, which
        lie on no grid.
        """
        check_unpooled(self.arch, pool)
        if self.window is None:
            return super().attend(qkv, grid, pool)
        window, lead = self.arch.window_on(grid), self.arch.lead
        return join(self.attend_cut(cut(qkv, grid, window, lead)), grid, window, lead)

    def attend_cut(self, qkv: Tensor) -> Tensor:
        """Return the attention output (G, n, D) of groups of tokens, each attending to its own."""
        return self.merge(attention(*self.split(qkv)))

    def in_windows(self, windows: Tensor, images: int) -> Tensor:
        """Run the block densely on tokens that stay in windows, (B W, 1 + w, D).

        A global block takes the windows of each of the `images` B together, in whatever order.
        """
        qkv = self.qkv(self.norm1(windows))
        groups = qkv if self.window is not None else qkv.reshape(images, -1, qkv.shape[-1])
        return self.complete(windows, self.attend_cut(groups).view(windows.shape))


class TappedTransformer(VisionTransformer):
    """A transformer in equal windows that is read at several depths.

    The position of a class token is part of the token here: the sum is the same. Layer scales are
    part of `projection` and `mlp_out`.
    """

    block_type: ClassVar[type[Block]] = WindowBlock

    def __init__(self, arch: QueryArch) -> None:
        super().__init__(arch)
        self.arch: QueryArch = arch
        if arch.class_tokens:
            self.class_token = nn.Parameter(torch.empty(1, 1, arch.dim))
            nn.init.trunc_normal_(self.class_token, std=0.02)

    def forward(self, tokens: Tensor, grid: Size, pool: int = 1) -> Tensor:
        """Return the features (B, N, T D) of embedded patches (B, N, D), every token computed.

        The features of T depths stand side by side, the shallowest first. Raises UsageError for a
        `pool` above 1 beside class tokens.
        """
        check_unpooled(self.arch, pool)
        window, lead = self.arch.window_on(grid), self.arch.lead
        sequence = self.with_class_token(tokens + self.positions_on(grid))
        if pool > 1:
            return self._pooled(sequence, grid, pool)
        # Windows are cut once and stay so: nothing in a block but attention asks where tokens lie.
        windows = cut(sequence, grid, window, lead)
        readings: list[Tensor] = []
        for done, block in enumerate(cast(Sequence[WindowBlock], self.blocks), start=1):
            windows = block.in_windows(windows, len(tokens))
            if done in self.arch.taps:
                readings.append(self.finish(join(windows, grid, window, lead)))
        return self.side_by_side(readings)

    def _pooled(self, sequence: Tensor, grid: Size, pool: int) -> Tensor:
        """Return the features where global blocks attend to means of cells: all on the grid."""
        readings: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            sequence = block(sequence, grid, pool)
            self.read(number, sequence, readings)
        return self.side_by_side(readings)

    def with_class_token(self, tokens: Tensor) -> Tensor:
        """Put a copy of the class token, if any, for every window before (B, n, D) tokens."""
        if self.class_token is None:
            return tokens
        return torch.cat([self.class_token.expand(len(tokens), self.arch.lead, -1), tokens], dim=1)

    def finish(self, sequence: Tensor) -> Tensor:
        """Return one depth's reading (B, n, D) of a sequence, without class tokens.

        After the final norm, where there is one.
        """
        placed = sequence[:, self.arch.lead :]
        return placed if self.final_norm is None else self.final_norm(placed)


class AntialiasedTransformer(TappedTransformer):
    """DINOv2's transformer as RF-DETR cuts it into windows and reads it."""

    def resized(self, grid: Size) -> Tensor:
        """Return the position table resized to a grid, (rows, cols, D).

        Bicubic with antialiasing and in float32 whatever the precision, as the model is defined.
        """
        table = self.positions.float().permute(2, 0, 1)[None]
        made = F.interpolate(
            table, size=tuple(grid), mode="bicubic", align_corners=False, antialias=True
        )
        return made[0].permute(1, 2, 0).to(self.positions.dtype)


def check_unpooled(arch: QueryArch, pool: int) -> None:
    """Raise UsageError for pooled keys where class tokens are among them."""
    if pool > 1 and arch.class_tokens:
        raise UsageError(
            f"pool {pool} is for keys on the grid alone; {arch.name} has class tokens among them",
            remedy="leave pool out",
        )
