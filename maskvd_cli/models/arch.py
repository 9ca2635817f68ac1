"""The shape of a plain vision-transformer backbone; numbers only, no weights."""

from __future__ import annotations

from dataclasses import dataclass

from maskvd_cli.core.placement import check_patch
from maskvd_cli.core.size import Size


@dataclass(frozen=True)
class ViTArch:
    """A pre-norm ViT: `depth` blocks of width `dim`, the `global_blocks` (0-based) attend globally.

    The other blocks attend within `window` x `window` tokens. `relative_positions`: decomposed
    relative position terms in every attention. `class_token`: one token without a position more.
    `final_norm`: a LayerNorm after the last block.
    """

    name: str
    description: str
    dim: int
    heads: int
    depth: int
    patch: int
    global_blocks: tuple[int, ...]
    window: int
    mlp_ratio: int = 4
    relative_positions: bool = True
    class_token: bool = False
    final_norm: bool = False

    @property
    def windowed_depth(self) -> int:
        """Number of blocks with windowed attention."""
        return self.depth - len(self.global_blocks)

    @property
    def backbone(self) -> str:
        """`windowed`, or `non-windowed` where every block attends globally."""
        return "windowed" if self.windowed_depth else "non-windowed"

    def grid(self, input_size: Size) -> Size:
        """Return the token grid of an input. Raises UsageError unless the patch divides it."""
        check_patch(input_size, self.patch)
        return input_size.tiles(self.patch)

    def padded(self, grid: Size) -> Size:
        """Return the token grid padded at the bottom and right to whole windows."""
        windows = grid.tiles(self.window)
        return Size(windows.rows * self.window, windows.cols * self.window)
