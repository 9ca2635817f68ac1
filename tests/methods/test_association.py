"""VPP's mapping-selective module against its formulas, written out token by token."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.methods.association import (
    FrameBefore,
    MappingSelective,
    best_share,
    nearness,
    similarity,
    smoothed,
)

GRID, DIM = Size(4, 5), 6
N = GRID.area


def tokens(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, DIM, generator=generator, dtype=torch.float64)


def memory(active: Tensor | None = None) -> FrameBefore:
    everything = torch.ones(N, dtype=torch.bool)
    return FrameBefore(tokens(1), tokens(2), everything if active is None else active)


def module() -> MappingSelective:
    torch.manual_seed(0)
    return MappingSelective(DIM, 3).double().requires_grad_(False)


def test_likeness_and_nearness() -> None:
    found = similarity(tokens(0), tokens(1), GRID, None)
    for i, j in ((0, 0), (7, 13), (0, N - 1), (19, 4)):
        away = abs(i // 5 - j // 5) / 3 + abs(i % 5 - j % 5) / 4
        expected = float(tokens(0)[i] @ tokens(1)[j]) + math.log10(10 * (2 - away) / 2 + 1e-6)
        assert float(found[i, j]) == pytest.approx(expected, abs=1e-9)
    ends = nearness(GRID, torch.float64, torch.device("cpu"))
    assert float(ends.max()) == pytest.approx(1, abs=1e-6)
    assert float(ends[0, -1]) == pytest.approx(-6, abs=1e-9)


@pytest.mark.parametrize("grid", [Size(1, 6), Size(6, 1), Size(1, 1)])
def test_a_grid_of_one_row_or_column_has_no_distance_across(grid: Size) -> None:
    assert nearness(grid, torch.float32, torch.device("cpu")).isfinite().all()


def test_only_active_tokens_are_found_again() -> None:
    active = torch.zeros(N, dtype=torch.bool)
    active[[3, 8]] = True
    mapped = module()(tokens(0), memory(active), GRID, 0.5)
    assert set(mapped.source.tolist()) == {3, 8}


def test_where_no_token_was_active_all_count() -> None:
    nothing = torch.zeros(N, dtype=torch.bool)
    found = similarity(tokens(0), tokens(1), GRID, nothing)
    assert torch.equal(found, similarity(tokens(0), tokens(1), GRID, None))


def test_taking_rows_is_the_published_product_with_a_one_hot_matrix() -> None:
    mapped = module()(tokens(0), memory(), GRID, 0.5)
    phi = similarity(tokens(0), memory().entering, GRID, None)
    one_hot = torch.nn.functional.one_hot(phi.argmax(1), N).double()
    selector = module().selector
    assert torch.equal(mapped.log_probabilities, selector(one_hot @ memory().deep))


def test_scores_are_means_over_nine_tokens_with_the_border_repeated() -> None:
    scores = torch.stack([tokens(3)[:, 0], tokens(4)[:, 0]], dim=1)
    found, laid = smoothed(scores, GRID), scores.reshape(*GRID, 2)
    for row, col in ((0, 0), (2, 3), (3, 4)):
        around = [
            laid[min(max(row + y, 0), 3), min(max(col + x, 0), 4)]
            for y in range(-4, 5)
            for x in range(-4, 5)
        ]
        torch.testing.assert_close(found[row * 5 + col], torch.stack(around).mean(0))


def test_smoothed_scores_are_not_normalised_again() -> None:
    mapped = module()(tokens(0), memory(), GRID, 0.5)
    assert torch.equal(mapped.soft, mapped.smooth.softmax(-1)[:, 0])
    assert float((mapped.smooth.exp().sum(-1) - 1).abs().max()) > 1e-6


def test_the_share_is_rounded_down_and_ties_go_to_the_lower_index() -> None:
    scores = torch.tensor([0.5, 0.9, 0.5, 0.5, 0.1])
    assert best_share(scores, 0.5).tolist() == [True, True, False, False, False]
    assert best_share(scores, 0.79).tolist() == [True, True, True, False, False]
    assert best_share(scores, 1.0).all() and not best_share(scores, 0.1).any()


def test_noise_is_drawn_for_the_association_first() -> None:
    shapes: list[tuple[int, ...]] = []

    def draw(*shape: int) -> Tensor:
        shapes.append(shape)
        return torch.zeros(shape, dtype=torch.float64)

    quiet, still = module()(tokens(0), memory(), GRID, 0.5), None
    still = module()(tokens(0), memory(), GRID, 0.5, draw)
    assert shapes == [(N, N), (N, 2)]
    assert torch.equal(quiet.kept, still.kept) and torch.equal(quiet.soft, still.soft)


def test_the_temperature_divides_the_noise() -> None:
    loud = torch.zeros(N, N, dtype=torch.float64)
    loud[:, 4] = 1e3

    def draw(*shape: int) -> Tensor:
        return loud if shape == (N, N) else torch.zeros(shape, dtype=torch.float64)

    found = [
        module()(tokens(0), memory(), GRID, 0.5, draw, temperature).source.tolist()
        for temperature in (1.0, 1e6)
    ]
    assert found[0] == [4] * N
    assert found[1] == module()(tokens(0), memory(), GRID, 0.5).source.tolist()
