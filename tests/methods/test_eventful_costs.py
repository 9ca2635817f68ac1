"""Closed forms of Eventful Transformers and STGT against published numbers and runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import ClipView, FrameTrace, TokenTrace
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.eventful_costs import key_count
from maskvd_cli.methods.stgt import STGT, STGTParams

from .gated_models import (
    BARE,
    EVEN,
    PATCH,
    PLAIN,
    SMALL,
    UNEVEN,
    backbone,
    clip,
    context,
    methods_on,
    run,
)

WINDOWED = get_arch("vitdet-b")


def published(side: int, tokens: int, **params: Any) -> float:
    grid = WINDOWED.grid(Size(side, side))
    found = Eventful.published_at(WINDOWED, grid, EventfulParams(r=1, **params), tokens)
    assert found is not None
    return found / 1e9


@pytest.mark.parametrize(
    ("side", "params", "at_none", "per_token"),
    [
        (672, {}, 5.620527, 0.106696704),
        (1024, {}, 17.084937, 0.135352320),
        (672, {"update": "qk"}, 15.014039, 0.095855616),
        (1024, {"update": "qk"}, 67.781490, 0.110183424),
        (672, {"update": "tokenwise"}, 24.573169, 0.085017600),
        (1024, {"update": "tokenwise"}, 119.321097, 0.085017600),
    ],
)
def test_published_costs_of_later_frames(
    side: int, params: dict[str, Any], at_none: float, per_token: float
) -> None:
    assert published(side, 0, **params) == pytest.approx(at_none, abs=5e-7)
    for tokens in (1, 256, 1024):
        slope = (published(side, tokens, **params) - published(side, 0, **params)) / tokens
        assert slope == pytest.approx(per_token, abs=1e-12)
    if params.get("update") == "tokenwise":
        grid = WINDOWED.grid(Size(side, side))
        assert STGT.published_at(WINDOWED, grid, STGTParams(r=1), 256) == round(
            published(side, 256, **params) * 1e9
        )


@pytest.mark.parametrize(
    ("side", "r", "least", "most"),
    [
        (672, 128, 16.629, 18.190), (672, 256, 28.205, 31.327), (672, 384, 39.781, 44.464),
        (672, 512, 51.357, 56.446), (672, 768, 74.509, 78.557), (672, 1024, 97.661, 100.669),
        (1024, 256, 39.444, 46.693), (1024, 512, 64.430, 78.927), (1024, 768, 89.416, 111.161),
        (1024, 1024, 114.402, 143.395), (1024, 1536, 164.374, 188.535),
        (1024, 2048, 214.346, 233.675),
    ],
)  # fmt: skip
def test_published_bounds_with_pooling(side: int, r: int, least: float, most: float) -> None:
    grid, params = WINDOWED.grid(Size(side, side)), EventfulParams(r=r, pool=2)
    for keys, gmacs in ((-(-r // 4), least), (min(r, key_count(WINDOWED, grid, 2)), most)):
        counts = {gate: r * 12 for gate in ("qkv", "projection", "mlp")}
        counts |= {"global_qkv": r * 4, "global_keys": keys * 4, "dense": 0}
        trace = TokenTrace.of([FrameTrace(r, full=False, counts=counts)])
        found = np.asarray(Eventful.macs(WINDOWED, grid, params, trace).published)[0]
        assert found / 1e9 == pytest.approx(gmacs, abs=5.1e-4)
    assert Eventful.published_at(WINDOWED, grid, params, r) is None


@pytest.mark.parametrize(
    ("params", "megabytes"),
    [
        ({}, (1758.47, 7751.07)),
        ({"av_precision": "half"}, (1438.07, 6090.13)),
        ({"update": "qk"}, (1117.67, 4429.19)),
        ({"update": "tokenwise"}, (520.22, 1207.96)),
        ({"pool": 2}, (846.04, 2881.49)),
    ],
)
def test_state_of_vitdet_b(params: dict[str, Any], megabytes: tuple[float, float]) -> None:
    for side, expected in zip((672, 1024), megabytes, strict=True):
        grid = WINDOWED.grid(Size(side, side))
        found = Eventful.planned_state_bytes(WINDOWED, grid, EventfulParams(r=1, **params))
        assert found / 1e6 == pytest.approx(expected, abs=0.0051)
        if params.get("update") == "tokenwise":
            assert STGT.planned_state_bytes(WINDOWED, grid, STGTParams(r=1)) == found


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_a_plan_equals_what_is_then_run(arch: ViTArch) -> None:
    model, frames = backbone(arch), clip(4, UNEVEN)
    pixels = context(0, UNEVEN).input
    for params in ({"r": 9}, {"policy": "top_fraction", "fraction": 0.3}):
        for method in methods_on(model, **params):
            plan = method.plan(method.params, arch, ClipView(4, pixels, PATCH))
            _, traces = run(method, frames, UNEVEN)
            ran = TokenTrace.of(traces)
            assert plan.tokens.tolist() == ran.tokens.tolist()
            assert plan.full.tolist() == ran.full.tolist() == [True, False, False, False]
            assert {name: counts.tolist() for name, counts in plan.counts.items()} == {
                name: counts.tolist() for name, counts in ran.counts.items()
            }
            macs = method.macs(arch, UNEVEN, method.params, plan)
            dense = Dense.macs(arch, UNEVEN, DenseParams(), plan)
            assert macs is not None and dense is not None
            assert np.asarray(macs.published)[0] == np.asarray(dense.published)[0]
            assert np.asarray(macs.published)[1] == method.published_at(
                arch, UNEVEN, method.params, int(plan.tokens[1])
            )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"policy": "threshold", "threshold": 1.0}, "depends on the pixels; choose policy top_r"),
        ({"r": 9, "pool": 2}, "update full depends on the pixels; leave pool out, choose"),
        ({"r": 9, "pool": 2, "update": "qk"}, "update qk depends on the pixels"),
        ({"r": 97}, "r 97 is more than the sequence's 96 tokens"),
        ({"r": 9, "pool": 5, "update": "tokenwise"}, "pool 5 does not divide"),
    ],
)
def test_what_depends_on_pixels_cannot_be_planned(params: dict[str, Any], message: str) -> None:
    view = ClipView(3, context(0, EVEN).input, PATCH)
    with pytest.raises(UsageError, match=message):
        Eventful.plan(EventfulParams(**params), SMALL, view)


def test_torchprofiles_rules_on_a_backbone_without_windows() -> None:
    # Frames that all go through densely cost as much as dense; fewer tokens leave out the
    # LayerNorms of the others only where gates stand before them.
    grid, length, dim = UNEVEN, UNEVEN.area + 1, PLAIN.dim
    ways: list[tuple[str, int]] = [("after_ln", 2 * PLAIN.depth * length), ("before_ln", 2 * 2 * 9)]
    for gate, normed in ways:
        params = STGTParams.model_validate({"r": 9, "gate": gate})
        plan = STGT.plan(params, PLAIN, ClipView(2, context(0, grid).input, PATCH))
        macs = STGT.macs(PLAIN, grid, params, plan)
        linear = PLAIN.depth * 12 * 9 * dim**2
        attention = PLAIN.depth * 2 * length**2 * dim
        scaling = PLAIN.depth * PLAIN.heads * length**2
        embedding = grid.area * 3 * PATCH**2 * dim
        assert np.asarray(macs.matrix)[1] == linear + attention
        assert np.asarray(macs.published)[1] == (
            linear + attention + scaling + embedding + (normed + length) * dim
        )


def test_torchprofiles_rules_scale_only_logits_that_are_computed() -> None:
    grid, length = UNEVEN, UNEVEN.area + 1
    view = ClipView(2, context(0, grid).input, PATCH)
    extras: dict[str, int] = {}
    for update in ("tokenwise", "qk", "full"):
        params = EventfulParams.model_validate({"r": 9, "update": update})
        macs = Eventful.macs(PLAIN, grid, params, Eventful.plan(params, PLAIN, view))
        extras[update] = int((np.asarray(macs.published) - np.asarray(macs.matrix))[1])
    spared = PLAIN.depth * PLAIN.heads * (length**2 - 2 * 9 * length)
    assert extras["tokenwise"] - extras["qk"] == spared
    assert extras["full"] == extras["qk"]
