"""The architectures of LW-DETR, with the numbers of the published configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from maskvd_cli.core.size import Size
from maskvd_cli.families.rfdetr.archs import QueryArch

_PAPER = "LW-DETR (arXiv 2406.03459)"
# Positions are those of pretraining on 224 x 224; windows are cut on the grid of the input.
_TABLE = Size(14, 14)


@dataclass(frozen=True)
class LWDETRArch(QueryArch):
    """A plain ViT in equal windows without class tokens, read at several depths without a norm."""

    class_tokens: ClassVar[bool] = False

    @property
    def made_for(self) -> Size:
        """The grid that `window` is for, whatever the table of positions is."""
        return Size(*(side * self.windows_a_side for side in self.window))


def lwdetr(  # noqa: PLR0913 - the numbers of an architecture
    name: str,
    description: str,
    *,
    dim: int,
    taps: tuple[int, ...],
    global_blocks: tuple[int, ...],
    queries: int = 300,
    heads: int = 12,
    patch: int = 16,
    side: int = 40,
    table: Size = _TABLE,
    windows_a_side: int = 4,
    decoder_layers: int = 3,
    channels: int = 256,
    hidden: int = 2048,
) -> LWDETRArch:
    """Return an LW-DETR that is made for a grid of `side` tokens a side."""
    window = side // windows_a_side
    return LWDETRArch(
        name=name,
        description=description,
        dim=dim,
        heads=heads,
        depth=taps[-1],
        patch=patch,
        global_blocks=global_blocks,
        window=Size(window, window),
        position_table=table,
        relative_table=None,
        paper=_PAPER,
        windows_a_side=windows_a_side,
        read_after=taps,
        channels=channels,
        decoder_layers=decoder_layers,
        hidden=hidden,
        queries=queries,
    )


def _sized(word: str, dim: int, taps: tuple[int, ...], global_blocks: tuple[int, ...],
           queries: int = 300) -> LWDETRArch:  # fmt: skip
    return lwdetr(
        f"lwdetr-{word}",
        f"LW-DETR {word.title()}: {taps[-1]} blocks of width {dim} in 4 x 4 windows, for 640 x "
        f"640, {queries} queries",
        dim=dim,
        taps=taps,
        global_blocks=global_blocks,
        queries=queries,
    )


_ARCHS = (
    _sized("tiny", 192, (2, 4, 6), (1, 3, 5), queries=100),
    _sized("small", 192, (3, 5, 6, 10), (2, 4, 5, 8)),
    _sized("medium", 384, (3, 5, 6, 10), (2, 4, 5, 8)),
)
ARCHS = {arch.name: arch for arch in _ARCHS}
