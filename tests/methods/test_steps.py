"""Methods that lose tokens, on a transformer that is read at its class token: that of ViViT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.vivit.archs import vivit
from maskvd_cli.families.vivit.transformer import ClassTransformer
from maskvd_cli.methods.base import ClipView, FrameContext, TokenTrace
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.fit import unlike
from maskvd_cli.methods.registry import methods

GRID, INPUT, N, FRAMES = Size(4, 6), Size(64, 96), 24, 4
ARCH = vivit(
    "steps", "", dim=32, heads=4, depth=3, temporal_depth=1, patch=16, table=GRID, looks=Looks(2)
)
SOME: dict[str, dict[str, Any]] = {
    "evit": {"keep_rate": 0.6, "drop_blocks": [1]},
    "ats": {"fraction": 0.7},
    "tome": {"r": 3},
    "eventful+ats": {"r": 9, "ats_fraction": 0.7},
}
EVERYTHING: dict[str, dict[str, Any]] = {
    "evit": {"keep_rate": 1.0, "drop_blocks": [1]},
    "ats": {"fraction": 1.0},
    "tome": {"r": 0},
    "eventful+ats": {"r": N + 1, "ats_fraction": 1.0},
}


def backbone() -> ClassTransformer:
    torch.manual_seed(0)
    made = ClassTransformer(ARCH).double().eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return made


def clip() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    scene = torch.randn(1, N, 32, generator=generator, dtype=torch.float64)
    noise = torch.randn(FRAMES, 1, N, 32, generator=generator, dtype=torch.float64)
    return [scene + 0.3 * part for part in noise]


def at(index: int) -> FrameContext:
    return FrameContext(index, INPUT, INPUT, 16)


def made(name: str, params: dict[str, Any]) -> Any:
    kind = methods.load(name)
    return kind(kind.params_type.model_validate(params), backbone())


@pytest.mark.parametrize("name", SOME)
def test_class_tokens_come_out_and_costs_are_those_that_are_counted(name: str) -> None:
    method = made(name, SOME[name])
    traces, counted = [], []
    for index, step in enumerate(clip()):
        with MacCounter() as counter:
            features = method.step(step, at(index))
        assert features.shape == (1, 1, 32)
        traces.append(method.trace)
        counted.append(counter.macs)
    trace = TokenTrace.of(traces)
    macs = method.macs(ARCH, GRID, method.params, trace)
    assert np.asarray(macs.matrix).tolist() == counted
    assert (np.asarray(macs.published) > np.asarray(macs.matrix)).all()
    planned = method.plan(method.params, ARCH, ClipView(FRAMES, INPUT, 16))
    assert planned.tokens.tolist() == pytest.approx(trace.tokens.tolist())
    foretold = method.macs(ARCH, GRID, method.params, planned)
    assert np.asarray(foretold.published).tolist() == np.asarray(macs.published).tolist()


@pytest.mark.parametrize("name", SOME)
def test_keeping_everything_is_the_dense_transformer(name: str) -> None:
    method = made(name, EVERYTHING[name])
    view = ClipView(FRAMES, INPUT, 16)
    for index, step in enumerate(clip()):
        torch.testing.assert_close(method.step(step, at(index)), method.backbone(step, GRID))
    macs = method.macs(ARCH, GRID, method.params, method.plan(method.params, ARCH, view))
    dense = costs.dense(ARCH, GRID)
    assert np.asarray(macs.published)[0] == dense.published
    assert np.asarray(macs.matrix)[0] == dense.matrix


@pytest.mark.parametrize(
    "given", [{"r": 9}, {"r": 9, "update": "qk"}, {"r": 9, "gate": "before_ln"}]
)
def test_gates_on_slots_cost_what_gates_cost_where_none_is_lost(given: dict[str, Any]) -> None:
    """Under both counters, on each frame."""
    whole: Any = methods.load("eventful+ats")
    view = ClipView(FRAMES, INPUT, 16)
    params = whole.resolve(whole.params_type.model_validate({**given, "ats_fraction": 1.0}), ARCH)
    alone = EventfulParams.model_validate(given)
    found = whole.macs(ARCH, GRID, params, whole.plan(params, ARCH, view))
    expected = Eventful.macs(ARCH, GRID, alone, Eventful.plan(alone, ARCH, view))
    assert np.asarray(found.matrix).tolist() == np.asarray(expected.matrix).tolist()
    assert np.asarray(found.published).tolist() == np.asarray(expected.published).tolist()


def test_choosing_ahead_is_not_for_steps() -> None:
    reason = unlike(methods.load("maskvd+evit"), ARCH)
    assert reason is not None and "does not know the" in reason
    assert unlike(methods.load("evit"), ARCH) is None
