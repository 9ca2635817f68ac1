"""Attention that is read: its output, its maps, and importance that flows back through them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.attention import attention
from maskvd_cli.families.blocks.counting import count_macs
from maskvd_cli.families.blocks.relative import RelativeLogits
from maskvd_cli.methods.attention_maps import (
    AttentionMaps,
    attention_weights,
    covered_cells,
    spread_cells,
)

GRID = Size(4, 6)
N, HEADS, WIDTH = GRID.area, 3, 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def qkv(queries: int = N) -> tuple[Tensor, Tensor, Tensor]:
    rows = drawn(1, HEADS, N, WIDTH, seed=1), drawn(1, HEADS, N, WIDTH, seed=2)
    return drawn(1, HEADS, queries, WIDTH), *rows


def relative(queries: int = N) -> RelativeLogits:
    return RelativeLogits(
        drawn(1, HEADS, queries, GRID.rows, seed=5), drawn(1, HEADS, queries, GRID.cols, seed=6)
    )


def cells(grid: Size) -> Tensor:
    """Return the 2 x 2 cell of each token, (N,)."""
    index = torch.arange(grid.area)
    return index // grid.cols // 2 * (grid.cols // 2) + index % grid.cols // 2


@pytest.mark.parametrize("rows", [None, [2, 3, 9, 20]])
def test_reading_changes_nothing_of_the_attention(rows: list[int] | None) -> None:
    count = N if rows is None else len(rows)
    maps = AttentionMaps("rms", "matvec")
    if rows is not None:
        maps.attend(0, *qkv(), relative(), GRID, None)
    index = None if rows is None else torch.tensor(rows)
    found = maps.attend(0, *qkv(count), relative(count), GRID, index)
    expected = attention(*qkv(count), relative(count)).transpose(1, 2).flatten(2)
    assert torch.allclose(found, expected, atol=1e-12)


def test_more_queries_than_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = AttentionMaps("rms", "pooled"), AttentionMaps("rms", "pooled")
    expected = whole.attend(0, *qkv(), relative(), GRID, None)
    monkeypatch.setattr(
        "maskvd_cli.methods.attention_maps.query_chunks",
        lambda total, device: [slice(start, start + 7) for start in range(0, total, 7)],
    )
    assert torch.allclose(parts.attend(0, *qkv(), relative(), GRID, None), expected, atol=1e-12)
    assert torch.allclose(parts.maps[0], whole.maps[0], atol=1e-12)


@pytest.mark.parametrize("fusion", ["rms", "mean"])
def test_heads_are_fused(fusion: Any) -> None:
    maps = AttentionMaps(fusion, "matvec")
    maps.attend(3, *qkv(), None, GRID, None)
    query, key, _ = qkv()
    heads = attention_weights(query, key)[0]
    expected = heads.mean(0) if fusion == "mean" else heads.square().mean(0).sqrt()
    assert torch.allclose(maps.maps[3], expected, atol=1e-12)


def test_rows_of_tokens_that_do_not_ask_stay() -> None:
    maps = AttentionMaps("rms", "matvec")
    maps.attend(0, *qkv(), None, GRID, None)
    before, rows = maps.maps[0].clone(), torch.tensor([1, 7])
    maps.attend(0, drawn(1, HEADS, 2, WIDTH, seed=9), *qkv()[1:], None, GRID, rows)
    changed = (maps.maps[0] != before).any(1).nonzero().flatten()
    assert changed.tolist() == [1, 7]


def test_cells_sum_keys_and_average_the_queries_that_asked() -> None:
    pooled, plain = AttentionMaps("rms", "pooled"), AttentionMaps("rms", "matvec")
    for maps in (pooled, plain):
        maps.attend(0, *qkv(), None, GRID, None)
    cell = torch.nn.functional.one_hot(cells(GRID)).double()
    first = cell.T @ plain.maps[0] @ cell / 4
    assert torch.allclose(pooled.maps[0], first, atol=1e-12)
    # Tokens 0 and 7 lie in cell 0, 14 in cell 4: its row is of one query, all other cells stay.
    rows, query = torch.tensor([0, 7, 14]), drawn(1, HEADS, 3, WIDTH, seed=9)
    for maps in (pooled, plain):
        maps.attend(0, query, *qkv()[1:], None, GRID, rows)
    asked = plain.maps[0] @ cell
    expected = first.clone()
    expected[0], expected[4] = (asked[0] + asked[7]) / 2, asked[14]
    assert torch.allclose(pooled.maps[0], expected, atol=1e-12)


def filled(rollout: Any, blocks: int = 3) -> AttentionMaps:
    maps = AttentionMaps("rms", rollout)
    # In another order than that of the blocks.
    for number in reversed(range(blocks)):
        maps.maps[number] = drawn(N, N, seed=number).softmax(-1)
    return maps


def test_importance_flows_back_through_all_blocks_the_last_first() -> None:
    maps, start = filled("matvec"), drawn(N, seed=7).softmax(-1)
    expected = start
    for number in (2, 1, 0):
        mixed = (maps.maps[number] + torch.eye(N, dtype=torch.float64)) / 2
        expected = (mixed / mixed.sum(1, keepdim=True)).T @ expected
    found = maps.flow_back(start)
    assert torch.allclose(found, expected, atol=1e-15)
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)


def test_the_product_of_all_maps_gives_the_same_at_n_times_the_cost() -> None:
    vector, matrix, start = filled("matvec"), filled("matrix"), drawn(N, seed=7).softmax(-1)
    assert torch.allclose(vector.flow_back(start), matrix.flow_back(start), atol=1e-15)
    assert count_macs(lambda: vector.flow_back(start)) == 3 * N**2
    assert count_macs(lambda: matrix.flow_back(start)) == 2 * N**3 + N**2


def test_half_of_a_cell_covers_it() -> None:
    marked = torch.zeros(*GRID, dtype=torch.bool)
    marked[0, 0] = marked[1, 1] = marked[2, 2] = True
    assert covered_cells(marked.flatten(), GRID).tolist() == [True] + [False] * 5


def test_cells_are_spread_bilinearly() -> None:
    grid = Size(2, 4)
    found = spread_cells(torch.tensor([1.0, 3.0]), grid).view(*grid)
    assert found[0].tolist() == found[1].tolist() == [1.0, 1.5, 2.5, 3.0]
