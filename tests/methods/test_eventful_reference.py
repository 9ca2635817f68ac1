"""Eventful Transformers and STGT against an independent reference, token by token."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.methods.eventful import changed_cells

from .gated_models import (
    EVEN,
    SMALL,
    UNEVEN,
    backbone,
    clip,
    eventful,
    run,
    stgt,
)


class Reference:
    """Gated blocks as the specification words them, for one clip, on lists of token numbers."""

    def __init__(
        self, model: VisionTransformer, grid: Size, r: int, update: str, pool: int, forgets: bool
    ) -> None:
        self.model, self.grid, self.r = model, grid, r
        self.update, self.pool, self.forgets = update, pool, forgets
        self.kept: dict[str, Tensor] = {}

    def frame(self, tokens: Tensor) -> Tensor:
        table = self.model.positions.permute(2, 0, 1)[None]
        resized = F.interpolate(table, size=tuple(self.grid), mode="bicubic", align_corners=False)
        x = tokens + resized[0].flatten(1).T
        for number, block in enumerate(self.model.blocks):
            qkv, index = self.gate(f"{number}.1", block.norm1(x), block.qkv)
            if block.window is None:
                attended = self.globally(number, block, qkv, index)
            else:
                attended = self.in_windows(block, qkv)
            x = x + self.gate(f"{number}.2", attended, block.projection)[0]
            x = x + self.gate(f"{number}.3", block.norm2(x), block.mlp)[0]
        return x

    def gate(self, name: str, tokens: Tensor, layer: Any) -> tuple[Tensor, list[int] | None]:
        if f"{name}.p" not in self.kept:
            self.kept |= {f"{name}.p": tokens.clone(), f"{name}.b": layer(tokens)}
            return self.kept[f"{name}.b"].clone(), None
        before = self.kept[f"{name}.p"]
        moved = [float((now - then).norm()) for now, then in zip(tokens, before, strict=True)]
        index = sorted(sorted(range(len(moved)), key=lambda i: -moved[i])[: self.r])
        for token in index:
            self.kept[f"{name}.b"][token] = layer(tokens[token])
        for token in range(len(moved)) if self.forgets else index:
            before[token] = tokens[token]
        return self.kept[f"{name}.b"].clone(), index

    def bias(self, block: Block, query: Tensor, size: Size, pool: int) -> Tensor:
        """Return what queries (H, n, c) add to their logits, (H, n, n / pool^2)."""
        assert block.relative is not None
        sides = []
        for table, side in zip((block.relative.rows, block.relative.cols), size, strict=True):
            half = (len(table) + 1) // 2
            grid = torch.stack(
                [torch.stack([table[y - k + half - 1] for k in range(half)]) for y in range(half)]
            ).permute(2, 0, 1)[None]
            if half != side:
                grid = F.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
            sides.append(torch.stack(grid[0].permute(1, 2, 0).split(pool, dim=1)).mean(2))
        rows, cols = sides
        added = query.new_zeros(len(query), size.area, len(rows), len(cols))
        for token in range(size.area):
            y, x = divmod(token, size.cols)
            added[:, token] += (query[:, token] @ rows[:, y].T)[:, :, None]
            added[:, token] += (query[:, token] @ cols[:, x].T)[:, None, :]
        return added.flatten(2)

    @staticmethod
    def heads(block: Block, qkv: Tensor) -> list[Tensor]:
        width = qkv.shape[1] // 3
        return [
            torch.stack(part.split(width // block.heads, dim=1)) for part in qkv.split(width, dim=1)
        ]

    def in_windows(self, block: Block, qkv: Tensor) -> Tensor:
        assert block.window is not None
        out = qkv.new_zeros(self.grid.area, qkv.shape[1] // 3)
        for top, left in itertools.product(
            range(0, self.grid.rows, block.window.rows), range(0, self.grid.cols, block.window.cols)
        ):
            places = [
                (top + y) * self.grid.cols + left + x
                if top + y < self.grid.rows and left + x < self.grid.cols
                else None
                for y, x in itertools.product(range(block.window.rows), range(block.window.cols))
            ]
            inside = torch.stack([block.qkv.bias if p is None else qkv[p] for p in places])
            query, key, value = self.heads(block, inside)
            logits = query @ key.mT / query.shape[-1] ** 0.5
            logits = logits + self.bias(block, query, block.window, 1)
            for row, place in zip(
                torch.cat(list(logits.softmax(-1) @ value), dim=1), places, strict=True
            ):
                if place is not None:
                    out[place] = row
        return out

    def globally(self, number: int, block: Block, qkv: Tensor, index: list[int] | None) -> Tensor:
        query, key, value = self.heads(block, qkv)
        cells: dict[int, list[int]] = {}
        for token in range(self.grid.area):
            y, x = divmod(token, self.grid.cols)
            cell = (y // self.pool) * (self.grid.cols // self.pool) + x // self.pool
            cells.setdefault(cell, []).append(token)
        key, value = (
            torch.stack([part[:, cells[cell]].mean(1) for cell in range(len(cells))], dim=1)
            for part in (key, value)
        )
        # S equals q k^T at all times, as all its changed rows and columns are renewed.
        logits = query @ key.mT / query.shape[-1] ** 0.5
        weights = (logits + self.bias(block, query, self.grid, self.pool)).softmax(-1)
        if self.update == "full" and index is not None:
            # O is the product of stored A and stored v, whose columns and rows differ in age.
            for cell in {c for c, tokens in cells.items() if set(tokens) & set(index)}:
                self.kept[f"{number}.A"][:, :, cell] = weights[:, :, cell]
                self.kept[f"{number}.v"][:, cell] = value[:, cell]
            weights, value = self.kept[f"{number}.A"], self.kept[f"{number}.v"]
        elif self.update == "full":
            self.kept |= {f"{number}.A": weights.clone(), f"{number}.v": value.clone()}
        return torch.cat(list(weights @ value), dim=1)


@pytest.mark.parametrize(
    ("grid", "update", "pool"),
    [
        (UNEVEN, "full", 1), (UNEVEN, "qk", 1), (UNEVEN, "tokenwise", 1), (Size(5, 3), "full", 1),
        (EVEN, "full", 2), (EVEN, "qk", 2), (EVEN, "tokenwise", 4), (EVEN, "full", 4),
    ],
)  # fmt: skip
def test_other_grids_equal_an_independent_reference(grid: Size, update: str, pool: int) -> None:
    model, frames = backbone(SMALL), clip(5, grid)
    method = eventful(model, r=9, update=update, pool=pool)
    features, _ = run(method, frames, grid)
    reference = Reference(model, grid, 9, update, pool, forgets=False)
    with torch.no_grad():
        expected = torch.stack([reference.frame(tokens) for tokens in frames])
    torch.testing.assert_close(features[:, 0], expected, atol=1e-9, rtol=0)


def test_stgt_equals_an_independent_reference() -> None:
    model, frames = backbone(SMALL), clip(5, UNEVEN)
    features, _ = run(stgt(model, r=9), frames, UNEVEN)
    reference = Reference(model, UNEVEN, 9, "tokenwise", 1, forgets=True)
    with torch.no_grad():
        expected = torch.stack([reference.frame(tokens) for tokens in frames])
    torch.testing.assert_close(features[:, 0], expected, atol=1e-9, rtol=0)
    remembering, _ = run(eventful(model, r=9, update="tokenwise"), frames, UNEVEN)
    assert (remembering[2:, 0] - expected[2:]).abs().max() > 1e-3


def test_a_pooled_cell_changes_with_any_of_its_tokens() -> None:
    index = torch.tensor([[0, 1, 13, 29, 95]])
    assert changed_cells(index, EVEN, 2).tolist() == [[0, 8, 23]]
