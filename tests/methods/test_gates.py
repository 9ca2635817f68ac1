"""Policies and token gates: which tokens go through, and what the others keep."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.methods.gates import GateParams, TokenGate, choose, put, take


def identity(rows: Tensor) -> Tensor:
    return rows.clone()


# Few different norms on many tokens: nearly every draw has ties, also at the cut.
NORMS = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=40)


@given(norms=NORMS, data=st.data())
def test_top_r_takes_the_largest_and_of_equals_the_first(norms: list[float], data: Any) -> None:
    r = data.draw(st.integers(1, len(norms)))
    expected = sorted(sorted(range(len(norms)), key=lambda i: (-norms[i], i))[:r])
    found = choose(torch.tensor([norms]), GateParams(r=r))
    assert found.tolist() == [expected]


@given(norms=NORMS, fraction=st.floats(0.01, 1))
def test_top_fraction_is_top_r_of_a_share_rounded_down(norms: list[float], fraction: float) -> None:
    params = GateParams(policy="top_fraction", fraction=fraction)
    r = int(fraction * len(norms))
    found = choose(torch.tensor([norms]), params)
    assert found.shape == (1, r)
    if r:
        assert torch.equal(found, choose(torch.tensor([norms]), GateParams(r=r)))


@given(norms=NORMS)
def test_threshold_takes_what_strictly_exceeds_it(norms: list[float]) -> None:
    found = choose(torch.tensor([norms]), GateParams(policy="threshold", threshold=0.5))
    assert found.tolist() == [[i for i, norm in enumerate(norms) if norm > 0.5]]


def test_each_clip_of_a_batch_chooses_for_itself() -> None:
    norms = torch.tensor([[0.0, 3.0, 1.0, 2.0], [5.0, 0.0, 0.0, 0.0]])
    assert choose(norms, GateParams(r=2)).tolist() == [[1, 3], [0, 1]]


@pytest.mark.parametrize("params", [{"r": 2}, {"policy": "threshold", "threshold": 4.0}])
def test_nan_goes_through_before_all_else(params: dict[str, Any]) -> None:
    norms = torch.tensor([[9.0, 1.0, float("nan"), 5.0]])
    assert 2 in choose(norms, GateParams(**params))[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "policy top_r takes r alone, which is missing"),
        ({"policy": "top_r", "r": 3, "threshold": 1.0}, "takes r alone, not r and threshold"),
        ({"policy": "threshold", "r": 3}, "policy threshold takes threshold alone, not r"),
        ({"policy": "top_fraction"}, "policy top_fraction takes fraction alone"),
        ({"r": 0}, "greater than or equal to 1"),
        ({"policy": "top_fraction", "fraction": 1.5}, "less than or equal to 1"),
        ({"policy": "threshold", "threshold": float("inf")}, "finite"),
        ({"r": 3, "keep": 1}, "Extra inputs"),
    ],
)
def test_a_policy_takes_its_own_measure_alone(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GateParams(**params)


def test_more_tokens_than_there_are_is_refused_with_the_largest() -> None:
    params = GateParams(r=7)
    assert params.count(7) == 7
    with pytest.raises(UsageError, match=r"r 7 is more than the sequence's 6 tokens; .* most 6"):
        params.count(6)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 3])
def test_take_and_put_go_clip_by_clip(dim: int, batch: int) -> None:
    state = torch.arange(batch * 4 * 5 * 6).view(batch, 4, 5, 6)
    index = torch.stack([torch.tensor([clip, 3]) for clip in range(batch)])
    taken = take(state, index, dim)
    for clip in range(batch):
        assert torch.equal(taken[clip], state[clip].index_select(dim - 1, index[clip]))
    written = state.clone()
    put(written, index, -taken, dim)
    assert torch.equal(take(written, index, dim), -taken)
    untouched = [[i for i in range(state.shape[dim]) if i not in row] for row in index.tolist()]
    rest = torch.tensor(untouched)
    assert torch.equal(take(written, rest, dim), take(state, rest, dim))


def test_errors_of_tokens_that_stayed_add_up_until_they_go_through() -> None:
    gate = TokenGate(GateParams(policy="threshold", threshold=2.5))
    frames = [torch.full((1, 1, 1), value) for value in (0.0, 1.0, 2.0, 3.0, 4.0)]
    outputs = [gate(frame, identity)[0].item() for frame in frames]
    assert outputs == [0, 0, 0, 3, 3]


def test_a_gate_that_forgets_never_sees_slow_drift() -> None:
    gate = TokenGate(GateParams(policy="threshold", threshold=2.5), forgets=True)
    frames = [torch.full((1, 1, 1), value) for value in (0.0, 1.0, 2.0, 3.0, 4.0, 9.0)]
    outputs = [gate(frame, identity)[0].item() for frame in frames]
    assert outputs == [0, 0, 0, 0, 0, 9]


def test_only_what_goes_through_meets_the_layer() -> None:
    seen: list[int] = []

    def layer(rows: Tensor) -> Tensor:
        seen.append(rows.shape[1])
        return 2 * rows

    gate = TokenGate(GateParams(r=2))
    gate(torch.zeros(1, 5, 3), layer)
    tokens = torch.zeros(1, 5, 3)
    tokens[0, 1], tokens[0, 3], tokens[0, 4] = 3, -4, 1
    output, index = gate(tokens, layer)
    assert seen == [5, 2]
    assert index is not None and index.tolist() == [[1, 3]]
    assert output[0, :, 0].tolist() == [0, 6, 0, -8, 0]


def test_a_gate_keeps_and_changes_no_tensor_of_its_caller() -> None:
    gate = TokenGate(GateParams(r=1))
    first = torch.zeros(1, 3, 2)
    gate(first, identity)
    second = torch.ones(1, 3, 2)
    gate(second, identity)
    assert first.sum() == 0 and second.sum() == 6
    assert gate.reference is not None
    assert gate.reference.data_ptr() not in (first.data_ptr(), second.data_ptr())


@pytest.mark.parametrize("shape", [(1, 4, 2), (2, 3, 2)])
def test_another_size_within_a_clip_is_refused(shape: tuple[int, ...]) -> None:
    gate = TokenGate(GateParams(r=1))
    gate(torch.zeros(1, 3, 2), identity)
    with pytest.raises(UsageError, match=r"tokens came in a clip of 1 x 3 tokens; reset where"):
        gate(torch.zeros(shape), identity)


def test_norms_that_overflow_half_precision_still_rank() -> None:
    gate = TokenGate(GateParams(r=1))
    gate(torch.zeros(1, 3, 64, dtype=torch.float16), identity)
    tokens = torch.full((1, 3, 64), 20_000.0, dtype=torch.float16)
    tokens[0, 2] = 30_000
    _, index = gate(tokens, identity)
    assert index is not None and index.tolist() == [[2]]
