"""Pruned execution: all tokens pass the first attention, chosen ones go on, the rest is kept.

A frame of N tokens of which K were chosen, as RGTP's code runs it:

    block 0     attention and its residual on all N; then the MLP on the K
    the others  QKV of the K, written into a cache of all N; windows attend over the whole cache, in
                global blocks the K ask and all N answer; projection and MLP on the K
    output      that of the K, written into the last output of all N

A full frame runs densely and fills the caches. Class and detection tokens always go on. Where
features are read at several depths, the output is that of all of them; where they are those of
detection tokens, nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.attention import attention
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.attention_maps import AttentionMaps
from maskvd_cli.methods.frame import premature


class PrunedExecution:
    """The backbone run on chosen tokens, with what it keeps of the frames before.

    `maps`: read the attention of global blocks into these; None: nobody wants it.
    """

    def __init__(self, backbone: VisionTransformer, maps: AttentionMaps | None = None) -> None:
        self.backbone = backbone
        self.maps = maps
        self.caches: dict[int, Tensor] = {}
        self.output: Tensor | None = None

    def reset(self) -> None:
        """Forget the clip."""
        self.caches = {}
        self.output = None
        if self.maps is not None:
            self.maps.forget()

    def state(self) -> Iterable[Tensor]:
        """Yield caches, output and maps."""
        yield from self.caches.values()
        if self.output is not None:
            yield self.output
        if self.maps is not None:
            yield from self.maps.state()

    def run(self, tokens: Tensor, grid: Size, index: Tensor | None) -> Tensor:
        """Return features (1, N, D) of embedded patches (1, N, D).

        `index` (K,) of the tokens that go on, in any order, on the backbone's device; None runs a
        full frame. Raises UsageError where a pruned frame comes before any full one.
        """
        if index is not None and not self.caches:
            raise premature("pruned frame")
        sequence = self.backbone.with_class_token(tokens + self.backbone.positions_on(grid))
        rows = None if index is None else self._in_sequence(index, grid)
        readings = list[Tensor]()
        for number, block in enumerate(self.backbone.blocks):
            qkv = block.qkv(block.norm1(sequence))
            if number == 0:
                sequence = self._first(block, sequence, qkv, grid, rows)
            else:
                if rows is None:
                    self.caches[number] = qkv
                else:
                    self.caches[number].index_copy_(1, rows, qkv)
                attended = self._attend(number, block, self.caches[number], grid, index, rows)
                sequence = block.complete(sequence, attended)
            sequence = self.backbone.between(number, sequence, grid, rows)
            self.backbone.read(number, sequence, readings)
        features = self.backbone.side_by_side(readings)
        if self.backbone.arch.trail:
            return features
        if index is None or self.output is None:
            self.output = features
        else:
            self.output.index_copy_(1, index, features)
        return self.output.clone()

    def _in_sequence(self, index: Tensor, grid: Size) -> Tensor:
        """Return the places of tokens in the sequence, those before and behind the grid's too."""
        arch, device = self.backbone.arch, index.device
        behind = arch.lead + grid.area + torch.arange(arch.trail, device=device)
        return torch.cat([torch.arange(arch.lead, device=device), index + arch.lead, behind])

    def _first(
        self, block: Block, sequence: Tensor, qkv: Tensor, grid: Size, rows: Tensor | None
    ) -> Tensor:
        attended = self._attend(0, block, qkv, grid, None, None)
        sequence = sequence + block.projection(attended)
        if rows is not None:
            sequence = sequence[:, rows]
        return sequence + block.mlp(block.norm2(sequence))

    def _attend(  # noqa: PLR0913, PLR0917 - the block, what it sees, and who asks
        self,
        number: int,
        block: Block,
        qkv: Tensor,
        grid: Size,
        index: Tensor | None,
        rows: Tensor | None,
    ) -> Tensor:
        """Return the attention output of the tokens at `rows` of all `qkv` (1, n, 3D)."""
        if block.window is not None:
            attended = block.attend(qkv, grid)
            return attended if rows is None else attended[:, rows]
        query, key, value = block.split(qkv)
        if rows is not None:
            query = query[:, :, rows]
        relative = block.relative(query, grid, at=index) if block.relative else None
        if self.maps is None:
            return block.merge(attention(query, key, value, relative))
        return self.maps.attend(number, query, key, value, relative, grid, rows)
