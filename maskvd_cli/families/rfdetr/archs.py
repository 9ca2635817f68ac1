"""The architectures of RF-DETR."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import traits
from maskvd_cli.families.blocks.arch import ViTArch

_PAPER = "RF-DETR (arXiv 2511.09554), sizes as in rfdetr 1.11.2"


@dataclass(frozen=True)
class QueryArch(ViTArch):
    """A ViT in `windows_a_side` x `windows_a_side` equal windows, read at several depths.

    All fields of ViTArch are the backbone's; `window` is that on the grid `made_for`, on another
    grid it is as many times smaller (`window_on`). Features are read, after the final norm, if any,
    when `read_after` blocks are done; the last is `depth`. With `class_tokens`, every window has a
    class token of its own, all of them start equal.

    `channels` of projector and decoder; `bottlenecks` of the projector, half as wide;
    `decoder_layers` with `self_heads` and `cross_heads`, which sample `points` places each, and
    `hidden` units. `queries` where no weights file says another number.

    Raises ValueError for taps that do not rise to `depth`, and for a `window` of another grid.
    """

    class_tokens: ClassVar[bool] = True

    windows_a_side: int = 2
    read_after: tuple[int, ...] = ()
    channels: int = 256
    bottlenecks: int = 3
    decoder_layers: int = 3
    self_heads: int = 8
    cross_heads: int = 16
    points: int = 2
    hidden: int = 2048
    queries: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.taps != tuple(sorted(set(self.taps))) or not self.taps or self.taps[0] < 1:
            raise ValueError(f"taps {self.taps} are no rising numbers of blocks")
        if self.taps[-1] != self.depth:
            raise ValueError(f"the last of the taps {self.taps} is not after {self.depth} blocks")
        if self.window != self.window_on(self.made_for):
            raise ValueError(f"window {self.window} is not that of the table {self.position_table}")

    @property
    def made_for(self) -> Size:
        """The grid that `window` is for: that of the position table."""
        return self.position_table

    @property
    def taps(self) -> tuple[int, ...]:
        """When features are read, in blocks that are done; the last is `depth`."""
        return self.read_after

    @property
    def has(self) -> frozenset[str]:
        """What the backbone has, in the words of `traits`."""
        own = {traits.WINDOW_CLASS_TOKENS} if self.class_tokens else set[str]()
        return super().has | {traits.TAPS} | own

    @property
    def window_lead(self) -> int:
        """How many class tokens a window has."""
        return int(self.class_tokens)

    @property
    def lead(self) -> int:
        """How many tokens stand before those of the grid: the class tokens of all windows."""
        return self.window_lead * self.windows_a_side**2

    def grid(self, input_size: Size) -> Size:
        """Return the token grid. Raises UsageError unless patch and windows divide the input."""
        step = self.patch * self.windows_a_side
        if input_size.rows % step or input_size.cols % step:
            tiles = input_size.tiles(step)
            raise UsageError(
                f"input {input_size} is no multiple of {step}, which {self.windows_a_side} windows "
                f"a side of {self.patch} x {self.patch} patches need",
                remedy=f"use for example {tiles.rows * step}x{tiles.cols * step}",
            )
        return super().grid(input_size)

    def window_on(self, grid: Size) -> Size:
        """Return the window on a token grid, which the windows divide."""
        return Size(grid.rows // self.windows_a_side, grid.cols // self.windows_a_side)

    def windows(self, grid: Size) -> Size:
        """Return how many windows cover the token grid, downwards and across."""
        del grid
        return Size(self.windows_a_side, self.windows_a_side)

    @property
    def pads_windows(self) -> bool:
        """Whether windows may reach over the grid: they divide every one."""
        return False


def on_table(arch: QueryArch, table: Size | None) -> QueryArch:
    """Return the architecture with another table of positions; itself where that is None.

    Raises UsageError for a table that its windows do not cut.
    """
    if table is None:
        return arch
    if table.rows % arch.windows_a_side or table.cols % arch.windows_a_side:
        raise UsageError(
            f"{arch.windows_a_side} windows a side of {arch.name} do not cut {table} positions",
            remedy="give weights that were trained with as many windows",
        )
    return replace(arch, position_table=table, window=arch.window_on(table))


def rfdetr(  # noqa: PLR0913 - the numbers of an architecture
    name: str,
    description: str,
    *,
    side: int,
    decoder_layers: int,
    dim: int = 384,
    heads: int = 6,
    taps: tuple[int, ...] = (3, 6, 9, 12),
    patch: int = 16,
    windows_a_side: int = 2,
    channels: int = 256,
    hidden: int = 2048,
) -> QueryArch:
    """Return an RF-DETR whose native grid has `side` tokens a side.

    Blocks with the number of a tap, counted from 0, attend globally: those right after the reading.
    """
    depth = taps[-1]
    window = side // windows_a_side
    return QueryArch(
        name=name,
        description=description,
        dim=dim,
        heads=heads,
        depth=depth,
        patch=patch,
        global_blocks=tuple(tap for tap in taps if tap < depth),
        window=Size(window, window),
        position_table=Size(side, side),
        relative_table=None,
        paper=_PAPER,
        final_norm=True,
        windows_a_side=windows_a_side,
        read_after=taps,
        channels=channels,
        decoder_layers=decoder_layers,
        hidden=hidden,
    )


def _sized(word: str, side: int, decoder_layers: int) -> QueryArch:
    return rfdetr(
        f"rfdetr-{word}",
        f"RF-DETR {word.title()}: DINOv2 ViT-S in 2 x 2 windows, for {16 * side} x {16 * side}, "
        f"{decoder_layers} decoder layers",
        side=side,
        decoder_layers=decoder_layers,
    )


# The backbone of vitdet-ti-global, whose weights it can start from, in windows.
_TINY = QueryArch(
    name="rfdetr-ti",
    description="small RF-DETR: width 128 in 2 x 2 windows, for 192 x 640, 2 decoder layers",
    dim=128,
    heads=4,
    depth=12,
    patch=16,
    global_blocks=(3, 6, 9),
    window=Size(6, 20),
    position_table=Size(12, 40),
    relative_table=None,
    paper="ours, after RF-DETR",
    final_norm=True,
    read_after=(3, 6, 9, 12),
    channels=128,
    decoder_layers=2,
    self_heads=4,
    cross_heads=8,
    points=4,
    hidden=512,
    queries=60,
)

_ARCHS = (
    _sized("nano", 24, 2),
    _sized("small", 32, 3),
    _sized("medium", 36, 4),
    _sized("large", 44, 4),
    _TINY,
)
ARCHS = {arch.name: arch for arch in _ARCHS}
