"""Relative positions and chunked attention against the definition, entry by entry."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import attention as attention_module
from maskvd_cli.families.blocks.attention import attention
from maskvd_cli.families.blocks.relative import KeyPlaces, RelativePositions, resize_bicubic

GRID = Size(3, 5)
HEADS, WIDTH = 2, 4


def relative(table: Size) -> RelativePositions:
    made = RelativePositions(table, WIDTH).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return made


def heads(tokens: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, HEADS, tokens, WIDTH, generator=generator, dtype=torch.float64)


def bias_by_definition(made: RelativePositions, queries: torch.Tensor) -> torch.Tensor:
    """logits[i, j] gain q_i . R_y[y_i - y_j + S - 1] + q_i . R_x[x_i - x_j + S - 1]."""
    bias = torch.zeros(2, HEADS, GRID.area, GRID.area, dtype=torch.float64)
    for i in range(GRID.area):
        for j in range(GRID.area):
            y, x = i // GRID.cols - j // GRID.cols, i % GRID.cols - j % GRID.cols
            vector = made.rows[y + GRID.rows - 1] + made.cols[x + GRID.cols - 1]
            bias[:, :, i, j] = queries[:, :, i] @ vector.detach()
    return bias


def test_bias_follows_the_definition() -> None:
    made, queries = relative(GRID), heads(GRID.area, 1)
    with torch.no_grad():
        found = made(queries, GRID).bias(slice(None), None)
    assert torch.allclose(found, bias_by_definition(made, queries), atol=1e-12)


def test_some_queries_and_keys_get_their_part_of_the_bias() -> None:
    made, queries = relative(GRID), heads(GRID.area, 1)
    index, keys = torch.tensor([0, 7, 14]), torch.tensor([1, 13])
    with torch.no_grad():
        whole = made(queries, GRID).bias(slice(None), None)
        part = made(queries[:, :, index], GRID, at=index)
        assert torch.allclose(part.bias(slice(None), None), whole[:, :, index], atol=1e-12)
        found = part.bias(slice(1, None), KeyPlaces.of(keys, GRID))
    assert torch.allclose(found, whole[:, :, index[1:]][..., keys], atol=1e-12)


def test_indices_may_differ_within_a_batch() -> None:
    made, queries = relative(GRID), heads(GRID.area, 1)
    at = torch.tensor([[0, 7], [3, 4]])
    picked = torch.stack([queries[clip, :, index] for clip, index in enumerate(at)])
    with torch.no_grad():
        whole = made(queries, GRID).bias(slice(None), None)
        found = made(picked, GRID, at=at).bias(slice(None), None)
    expected = torch.stack([whole[clip, :, index] for clip, index in enumerate(at)])
    assert torch.allclose(found, expected, atol=1e-12)


def test_each_table_is_resized_along_its_own_axis() -> None:
    made = relative(Size(4, 6))
    with torch.no_grad():
        rows, cols = made.tables(GRID)
        expanded = made.rows[torch.arange(4)[:, None] - torch.arange(4) + 3]
    assert rows.shape == (3, 3, WIDTH)
    assert cols.shape == (5, 5, WIDTH)
    expected = F.interpolate(
        expanded.permute(2, 0, 1)[None], size=(3, 3), mode="bicubic", align_corners=False
    )
    assert torch.equal(rows, expected[0].permute(1, 2, 0))


def test_pooled_keys_average_their_rows_and_columns() -> None:
    made, grid = relative(Size(4, 6)), Size(4, 6)
    with torch.no_grad():
        rows, cols = made.tables(grid)
        pooled_rows, pooled_cols = made.tables(grid, 2)
    assert torch.allclose(pooled_rows[:, 1], (rows[:, 2] + rows[:, 3]) / 2)
    assert torch.allclose(pooled_cols[:, 2], (cols[:, 4] + cols[:, 5]) / 2)


def test_kept_tables_follow_the_weights() -> None:
    made = relative(Size(4, 6))
    with torch.no_grad():
        before = made.tables(GRID)[0].clone()
        made.rows.mul_(2)
        assert torch.allclose(made.tables(GRID)[0], 2 * before)
        assert made.float().tables(GRID)[0].dtype == torch.float32


def test_tables_carry_a_gradient_in_training() -> None:
    made = relative(Size(4, 6))
    made(heads(GRID.area, 1), GRID).rows.sum().backward()
    assert made.rows.grad is not None
    assert made.rows.grad.abs().sum() > 0


@pytest.mark.parametrize("chunk", [1, 4, 15, 100])
def test_chunks_do_not_change_attention(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attention_module._QUERIES_AT_ONCE, "cpu", chunk)
    made = relative(GRID)
    query, key, value = (heads(GRID.area, seed) for seed in (1, 2, 3))
    with torch.no_grad():
        found = attention(query, key, value, made(query, GRID))
    logits = query @ key.mT / WIDTH**0.5 + bias_by_definition(made, query)
    assert torch.allclose(found, logits.softmax(-1) @ value, atol=1e-12)


def test_half_precision_tables_are_resized_in_float32() -> None:
    table = torch.randn(7, 7, 3, generator=torch.Generator().manual_seed(0))
    half = resize_bicubic(table.bfloat16(), GRID)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, resize_bicubic(table.bfloat16().float(), GRID).bfloat16())
