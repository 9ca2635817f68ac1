"""Matching against a reference that merges one pair after another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskvd_cli.methods.matching import match, mergeable, sides


def drawn(length: int, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return metrics (B, T, 5), tokens (B, T, 3) and sizes (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    metric, tokens = (
        torch.randn(batch, length, width, generator=generator, dtype=torch.float64)
        for width in (5, 3)
    )
    return metric, tokens, torch.randint(1, 5, (batch, length), generator=generator).double()


def naive(
    metric: Tensor, tokens: Tensor, sizes: Tensor, count: int, lead: int, trail: int
) -> tuple[list[Tensor], list[float], list[list[int]]]:
    """Return the tokens of one clip that are left, their sizes, and which each stands for."""
    end = len(metric) - trail
    even = [place for place in range(lead, end) if place % 2 == 0]
    odd = [place for place in range(lead, end) if place % 2 == 1]
    unit = metric / metric.norm(dim=-1, keepdim=True)
    best = {
        place: max((float(unit[place] @ unit[other]), -other) for other in odd) for place in even
    }
    ranked = sorted(even, key=lambda place: -best[place][0])
    groups = {place: [place] for place in range(len(metric))}
    for place in ranked[:count]:
        groups[-int(best[place][1])] += groups.pop(place)
    kept = [place for place in ranked[count:]]
    order = [*range(lead), *(sorted(kept) if lead else kept), *odd, *range(end, len(metric))]
    total = [sum(float(sizes[one]) for one in groups[place]) for place in order]
    left = [
        torch.stack([tokens[one] * sizes[one] for one in groups[place]]).sum(0) / size
        for place, size in zip(order, total, strict=True)
    ]
    return left, total, [sorted(groups[place]) for place in order]


@pytest.mark.parametrize(("lead", "trail"), [(0, 0), (1, 0), (2, 0), (0, 3), (1, 2), (3, 1)])
@pytest.mark.parametrize("length", [8, 13])
@pytest.mark.parametrize("count", [1, 3, 100])
def test_merging_equals_a_naive_reference(length: int, count: int, lead: int, trail: int) -> None:
    metric, tokens, sizes = drawn(length)
    count = min(count, mergeable(length, lead, trail))
    matching = match(metric, count, lead, trail)
    merged, total = matching.merged(tokens, sizes)
    assert merged.shape[1] == length - count
    for clip in range(2):
        left, weights, groups = naive(metric[clip], tokens[clip], sizes[clip], count, lead, trail)
        torch.testing.assert_close(merged[clip], torch.stack(left), rtol=0, atol=1e-12)
        assert total[clip].tolist() == weights
        for place, group in enumerate(groups):
            assert (matching.to[clip] == place).nonzero().flatten().tolist() == group
            assert int(matching.own[clip, place]) in group
    back = matching.unmerged(merged)
    assert torch.equal(back[0, 4], merged[0, matching.to[0, 4]])


def test_protected_tokens_stay_alone_whatever_they_are_like() -> None:
    """All tokens are the same but for the class token and two detection tokens, which are too."""
    metric = torch.ones(1, 12, 4)
    matching = match(metric, mergeable(12, 1, 2), lead=1, trail=2)
    _, sizes = matching.merged(metric, torch.ones(1, 12))
    # Nine may merge, four of them do, all into the first odd token.
    assert sizes.tolist() == [[1, 5, 1, 1, 1, 1, 1, 1]]
    assert matching.to[0, 0] == 0
    assert matching.to[0, -2:].tolist() == [6, 7]


def test_equal_likeness_goes_by_position() -> None:
    matching = match(torch.ones(1, 8, 2), 2)
    assert matching.own.tolist() == [[4, 6, 1, 3, 5, 7]]
    assert matching.to.tolist() == [[2, 2, 2, 3, 0, 4, 1, 5]]


@pytest.mark.parametrize("length", range(8))
@pytest.mark.parametrize("lead", range(3))
def test_so_many_can_merge(length: int, lead: int) -> None:
    even, odd = sides(length, lead)
    count = mergeable(length, lead)
    assert count <= len(even)
    assert count == 0 or odd
    assert mergeable(length, lead) == max(length - lead, 0) // 2


def test_sums_of_half_precision_do_not_overflow() -> None:
    tokens = torch.full((1, 64, 2), 6e4, dtype=torch.float16)
    matching = match(torch.ones(1, 64, 2), 32)
    merged, sizes = matching.merged(tokens, torch.ones(1, 64))
    assert merged.dtype == torch.float16
    assert bool((merged == tokens[:, :32]).all())
    assert float(sizes.sum()) == 64
