"""Tracking: scores follow what patches look like; ties, places outside, and zeros as published."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.methods.tracking import best, tracked

GRID = Size(3, 4)
N = GRID.area
SCORES = torch.arange(1.0, N + 1)


def at(row: int, col: int) -> int:
    return row * GRID.cols + col


def distinct() -> Tensor:
    """Return embeddings whose dot product is 1 with themselves and 0 with all others, (N, N)."""
    return torch.eye(N)


def literally(scores: Tensor, tokens: Tensor, before: Tensor, grid: Size, radius: int) -> Tensor:
    """Return the tracked scores token by token, as the definition reads."""
    found: list[float] = []
    span = range(-radius, radius + 1)
    for row in range(grid.rows):
        for col in range(grid.cols):
            largest, score = float("-inf"), 0.0
            for y, x in ((row + dy, col + dx) for dy in span for dx in span):
                inside = 0 <= y < grid.rows and 0 <= x < grid.cols
                here = y * grid.cols + x if inside else 0
                likeness = float(tokens[row * grid.cols + col] @ before[here]) if inside else 0.0
                likeness = likeness or -100.0
                if likeness > largest:
                    largest, score = likeness, float(scores[here])
            found.append(score)
    return torch.tensor(found, dtype=scores.dtype)


def test_scores_move_with_what_tokens_look_like() -> None:
    before = distinct()
    now = before.view(*GRID, N).roll((1, -1), (0, 1)).reshape(N, N)
    found = tracked(SCORES, now, before, GRID, 1)
    assert found[at(1, 0)] == SCORES[at(0, 1)]
    assert found[at(2, 2)] == SCORES[at(1, 3)]


def test_what_moved_farther_than_the_radius_is_not_found() -> None:
    before = distinct()
    now = before.view(*GRID, N).roll(2, 1).reshape(N, N)
    assert tracked(SCORES, now, before, GRID, 2)[at(1, 2)] == SCORES[at(1, 0)]
    assert tracked(SCORES, now, before, GRID, 1)[at(1, 2)] != SCORES[at(1, 0)]


def test_radius_0_tracks_nothing() -> None:
    drawn = torch.rand(2, N, 5)
    assert torch.equal(tracked(SCORES, drawn[0], drawn[1], GRID, 0), SCORES)


def test_zeros_tie_and_the_first_offset_wins() -> None:
    """It lies at (-1, -1); outside, in the first row and column, it gives the score of token 0."""
    nothing = torch.zeros(N, 5)
    found = tracked(SCORES, nothing, nothing, GRID, 1).view(*GRID)
    assert torch.equal(found[1:, 1:], SCORES.view(*GRID)[:-1, :-1])
    assert found[0].eq(SCORES[0]).all() and found[:, 0].eq(SCORES[0]).all()


@pytest.mark.parametrize(("product", "outside"), [(-99.0, False), (-101.0, True)])
def test_a_place_outside_counts_as_minus_100(product: float, outside: bool) -> None:
    before = torch.full((N, 1), 1.0)
    now = torch.full((N, 1), product)
    expected = SCORES[0] if outside else SCORES[at(0, 2)]
    # Of the last column, offsets (-1, *) lie outside and come first, (0, -1) inside.
    assert tracked(SCORES, now, before, GRID, 1)[at(0, 3)] == expected


def test_equal_embeddings_take_the_first_place_inside() -> None:
    same = torch.randn(1, 7, generator=torch.Generator().manual_seed(0)).expand(N, -1)
    found = tracked(SCORES, same, same, GRID, 1).view(*GRID)
    assert torch.equal(found[1:, 1:], SCORES.view(*GRID)[:-1, :-1])
    # At the left border (-1, 0) is the first inside; in the first row (0, -1).
    assert found[1, 0] == SCORES[at(0, 0)] and found[2, 0] == SCORES[at(1, 0)]
    assert found[0, 2] == SCORES[at(0, 1)]


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("grid", [Size(3, 4), Size(5, 2), Size(1, 6)])
def test_it_is_the_definition(radius: int, grid: Size) -> None:
    generator = torch.Generator().manual_seed(radius)
    drawn = torch.randn(3, grid.area, 6, generator=generator, dtype=torch.float64)
    drawn[:, ::3] = 0
    drawn[0, 1::4] *= -60
    scores = torch.rand(grid.area, generator=generator, dtype=torch.float64)
    found = tracked(scores, drawn[0], drawn[1], grid, radius)
    assert torch.equal(found, literally(scores, drawn[0], drawn[1], grid, radius))


def test_half_precision_does_not_overflow() -> None:
    large = torch.full((N, 64), 100.0, dtype=torch.float16)
    assert tracked(SCORES, large, large, GRID, 1).isfinite().all()


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    scores = torch.tensor([0.1, 0.5, 0.2, 0.5, 0.2, 0.5, 0.2])
    assert best(scores, 5).tolist() == [1, 3, 5, 2, 4]
    many = torch.zeros(5000)
    many[2500:] = 1
    assert best(many, 3000).tolist() == [*range(2500, 5000), *range(500)]
