"""The shape of a plain vision-transformer backbone; numbers only, no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from maskvd_cli.core.placement import check_patch
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import traits


@dataclass(frozen=True)
class ViTArch:
    """A pre-norm ViT: `depth` blocks of width `dim`, the `global_blocks` (0-based) attend globally.

    The other blocks attend within windows of `window` tokens. `position_table`: grid of the
    absolute positions, resized to the input's. `relative_table`: grid that the decomposed relative
    positions of global blocks are made for, also resized (windowed blocks have `window`); None:
    no relative positions. `class_token`: one token without a position more. `final_norm`: a
    LayerNorm after the last block. `paper`: where the architecture comes from.
    `published_counter`: the rules behind its published multiply-accumulates (`costs`); None:
    Eventful Transformers' on windowed backbones, torchprofile's on others.

    Raises ValueError for heads that do not divide the width, a global block that is none of the
    blocks, and a class token beside windows or relative positions, in which it has no place.
    """

    name: str
    description: str
    dim: int
    heads: int
    depth: int
    patch: int
    global_blocks: tuple[int, ...]
    window: Size
    position_table: Size
    relative_table: Size | None
    mlp_ratio: int = 4
    paper: str = ""
    published_counter: Literal["eventful", "torchprofile"] | None = None
    class_token: bool = False
    final_norm: bool = False

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width {self.dim}")
        if not set(self.global_blocks) <= set(range(self.depth)):
            raise ValueError(f"global blocks {self.global_blocks} lie outside 0..{self.depth - 1}")
        if self.class_token and (self.windowed_depth or self.relative_table):
            raise ValueError("a class token needs global attention without relative positions")

    @property
    def backbone_name(self) -> str:
        """The model whose backbone this is: what was learnt beside that one fits here, too."""
        return self.name

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.dim // self.heads

    @property
    def torchprofiled(self) -> bool:
        """Whether torchprofile's rules stand behind the published multiply-accumulates."""
        if self.published_counter is None:
            return not self.windowed_depth
        return self.published_counter == "torchprofile"

    @property
    def windowed_depth(self) -> int:
        """Number of blocks with windowed attention."""
        return self.depth - len(self.global_blocks)

    @property
    def has(self) -> frozenset[str]:
        """What the backbone has, in the words of `traits`."""
        words = {
            traits.WINDOWS: self.windowed_depth > 0,
            traits.PADDED_WINDOWS: self.windowed_depth > 0 and self.pads_windows,
            traits.RELATIVE_POSITIONS: self.relative_table is not None,
            traits.CLASS_TOKEN: self.class_token,
        }
        return frozenset((traits.TOKENS, *(word for word, there in words.items() if there)))

    @property
    def lead(self) -> int:
        """How many tokens stand before those of the grid."""
        return int(self.class_token)

    @property
    def taps(self) -> tuple[int, ...]:
        """When features are read, in blocks that are done; the last is `depth`."""
        return (self.depth,)

    @property
    def window_lead(self) -> int:
        """How many tokens without a place every window has of its own."""
        return 0

    @property
    def trail(self) -> int:
        """How many tokens stand behind those of the grid; by default none."""
        return 0

    @property
    def pads_windows(self) -> bool:
        """Whether windows may reach over the grid, and are padded there."""
        return True

    @property
    def backbone(self) -> str:
        """`windowed`, or `non-windowed` where every block attends globally."""
        return "windowed" if self.windowed_depth else "non-windowed"

    def grid(self, input_size: Size) -> Size:
        """Return the token grid of an input. Raises UsageError unless the patch divides it."""
        check_patch(input_size, self.patch)
        return input_size.tiles(self.patch)

    def window_on(self, grid: Size) -> Size:
        """Return the window on a token grid; here it is the same on all."""
        del grid
        return self.window

    def padded(self, grid: Size) -> Size:
        """Return the token grid padded at the bottom and right to whole windows."""
        windows, window = self.windows(grid), self.window_on(grid)
        return Size(windows.rows * window.rows, windows.cols * window.cols)

    def windows(self, grid: Size) -> Size:
        """Return how many windows cover the token grid, downwards and across."""
        return Size(-(-grid.rows // self.window.rows), -(-grid.cols // self.window.cols))
