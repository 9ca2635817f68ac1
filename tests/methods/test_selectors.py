"""Selectors: their formula, ties, bias and noise, against what the text says."""

from __future__ import annotations

import math

import pytest
import torch

from maskvd_cli.methods.selectors import (
    TokenSelector,
    drawn,
    gumbel_noise,
    hidden_width,
    kept_of,
)

CPU = torch.device("cpu")


def test_the_formula() -> None:
    """LayerNorm with eps 1e-5, exact GELU, log-softmax, written out for one token."""
    torch.manual_seed(0)
    selector = TokenSelector(3, 2).double()
    with torch.no_grad():
        for parameter in selector.parameters():
            parameter.copy_(torch.randn_like(parameter))
    token = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    mean = token.mean()
    normed = (token - mean) / ((token - mean).pow(2).mean() + 1e-5).sqrt()
    normed = normed * selector.norm.weight + selector.norm.bias
    inner = selector.mlp_in.weight @ normed + selector.mlp_in.bias
    inner = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
    logits = selector.mlp_out.weight @ inner + selector.mlp_out.bias
    expected = logits - logits.exp().sum().log()
    torch.testing.assert_close(selector(token), expected, atol=1e-12, rtol=0)


def test_half_precision_is_told_apart_in_single() -> None:
    assert TokenSelector(4, 2).bfloat16()(torch.randn(5, 4).bfloat16()).dtype == torch.float32


def test_ties_bias_and_noise() -> None:
    equal = torch.full((3, 2), -math.log(2))
    assert kept_of(equal).tolist() == [True] * 3
    assert kept_of(equal, ties=False).tolist() == [False] * 3
    assert kept_of(equal, ties=False, bias=1e-3).tolist() == [True] * 3
    assert kept_of(equal, bias=-1e-3).tolist() == [False] * 3
    noise = torch.tensor([[0.1, 0.0], [0.0, 0.1], [0.0, 0.0]])
    assert kept_of(equal, noise, ties=False).tolist() == [True, False, False]


def test_noise_is_standard_gumbel_and_follows_the_seed() -> None:
    draws = gumbel_noise(3, 0, CPU)
    first, second = draws(200_000), draws(200_000)
    # Mean: Euler's constant; variance: pi^2 / 6.
    assert float(first.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(first.var()) == pytest.approx(math.pi**2 / 6, abs=0.02)
    assert not torch.equal(first, second)
    assert torch.equal(gumbel_noise(3, 0, CPU)(200_000), first)
    for other in (gumbel_noise(4, 0, CPU), gumbel_noise(3, 1, CPU)):
        assert not torch.equal(other(200_000), first)


def test_drawing_a_module_leaves_the_global_state_alone() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, other = (drawn(lambda: TokenSelector(8, 4), seed) for seed in (1, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.mlp_in.weight, other.mlp_in.weight)
    assert not torch.equal(one.mlp_in.weight, drawn(lambda: TokenSelector(8, 4), 2).mlp_in.weight)


def test_the_hidden_layer_is_a_quarter_as_wide() -> None:
    assert [hidden_width(None, 768), hidden_width(None, 3), hidden_width(7, 768)] == [192, 1, 7]
