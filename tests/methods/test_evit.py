from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import ClipView, FrameContext, TokenTrace
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.dropping import stages_of
from maskvd_cli.methods.evit import EViT, EViTParams
from maskvd_cli.work.plan import fitted_on

GLOBAL = get_arch("vitdet-b-global")
AT_672 = Size(42, 42)
GRID = Size(5, 7)
INPUT = Size(80, 112)
KINDS = {"class token": (True, False), "no class token": (False, False), "relative": (False, True)}


def small(kind: str, depth: int = 5) -> ViTArch:
    class_token, relative = KINDS[kind]
    return ViTArch(
        name="small", description="", dim=32, heads=4, depth=depth, patch=16,
        global_blocks=tuple(range(depth)), window=Size(4, 4), position_table=Size(3, 3),
        relative_table=GRID if relative else None, class_token=class_token, final_norm=True,
    )  # fmt: skip


def backbone_of(kind: str, seed: int = 0) -> VisionTransformer:
    torch.manual_seed(seed)
    backbone = VisionTransformer(small(kind)).double().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return backbone


def embedded(batch: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, GRID.area, 32, generator=generator, dtype=torch.float64)


def at(index: int = 0) -> FrameContext:
    return FrameContext(index, INPUT, INPUT, 16)


def params_of(**given: Any) -> EViTParams:
    return EViTParams.model_validate({"keep_rate": 0.6, "drop_blocks": [1, 2, 4]} | given)


def test_clips_of_a_batch_keep_different_tokens() -> None:
    method = EViT(params_of(fuse=True), backbone_of("class token"))
    method.step(embedded(batch=2), at())
    assert method.trace is not None
    survivors = method.trace.selected["survivors"]
    rates = method.params.keep_rates(method.backbone.arch)
    assert survivors.shape == (2, stages_of(35, rates, fuse=True)[-1].leaving)
    assert survivors[0].tolist() != survivors[1].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [{"keep_rate": 1.0}, {"keep_rate": 0.99, "fuse": True}])
def test_dropping_nothing_is_dense_and_costs_what_dense_costs(
    kind: str, given: dict[str, Any]
) -> None:
    backbone, tokens = backbone_of(kind), embedded(batch=2)
    dense, evit = Dense(DenseParams(), backbone), EViT(params_of(**given), backbone)
    torch.testing.assert_close(evit.step(tokens, at()), dense.step(tokens, at()), rtol=0, atol=1e-9)
    assert evit.trace is not None
    assert evit.trace.full
    trace = TokenTrace.of([evit.trace])
    found = EViT.macs(backbone.arch, GRID, evit.params, trace)
    assert found == costs.dense(backbone.arch, GRID)


@pytest.mark.parametrize("given", [{}, {"fuse": True}, {"keep_rate": 0.2}, {"keep_rate": 1.0}])
@pytest.mark.parametrize("kind", KINDS)
def test_closed_form_equals_counted_operations(kind: str, given: dict[str, Any]) -> None:
    method = EViT(params_of(**given), backbone_of(kind))
    with MacCounter() as counter:
        method.step(embedded(), at())
    assert method.trace is not None
    arch = method.backbone.arch
    trace = TokenTrace.of([method.trace])
    macs = EViT.macs(arch, GRID, method.params, trace)
    assert np.asarray(macs.matrix).tolist() == [counter.macs]
    planned = EViT.plan(method.params, arch, ClipView(1, INPUT, 16))
    assert planned.tokens.tolist() == trace.tokens.tolist()
    assert planned.full.tolist() == trace.full.tolist()
    assert planned.counts["start"].tolist() == trace.counts["start"].tolist()


@pytest.mark.parametrize(
    ("keep_rate", "gmacs"),
    [
        (1.0, 207.329),
        (0.9, 175.385),
        (0.8, 149.492),
        (0.7, 128.499),
        (0.6, 111.542),
        (0.5, 97.751),
    ],
)
def test_published_counter_at_672(keep_rate: float, gmacs: float) -> None:
    params = EViTParams(keep_rate=keep_rate)
    trace = EViT.plan(params, GLOBAL, ClipView(2, Size(672, 672), 16))
    macs = EViT.macs(GLOBAL, AT_672, params, trace)
    assert isinstance(macs.matrix, np.ndarray)
    assert isinstance(macs.published, np.ndarray)
    leaving = 1764
    extras = 1764 * 3 * 16**2 * 768
    for block in range(12):
        entering = leaving
        if block in (3, 6, 9):
            leaving = math.ceil(keep_rate * entering)
        extras += (entering + leaving + 2) * 768 + 12 * (entering + 1) ** 2
    extras += (leaving + 1) * 768
    products = macs.published - extras
    assert [round(int(frame) / 1e9, 3) for frame in products] == [gmacs, gmacs]
    assert (macs.matrix <= products).all()
    assert (macs.matrix == products).all() == (keep_rate == 1)


def test_nothing_is_kept_and_nothing_shared() -> None:
    method, tokens = EViT(params_of(), backbone_of("class token")), embedded()
    before = tokens.clone()
    first = method.step(tokens, at())
    again = method.step(tokens, at(1))
    assert torch.equal(first, again)
    assert torch.equal(tokens, before)
    assert first.untyped_storage().data_ptr() != tokens.untyped_storage().data_ptr()
    assert list(method.state()) == []
    assert EViT.planned_state_bytes(method.backbone.arch, GRID, method.params) == 0
    assert EViT.constant_on_repeats(method.params)


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_other_precisions_stay_near_double(kind: str, dtype: torch.dtype, fuse: bool) -> None:
    tokens = embedded()
    exact = EViT(params_of(fuse=fuse), backbone_of(kind)).step(tokens, at())
    method = EViT(params_of(fuse=fuse), backbone_of(kind).to(dtype))
    found = method.step(tokens.to(dtype), at())
    assert found.dtype == dtype
    both = (found.double().abs().sum(-1) > 0) & (exact.abs().sum(-1) > 0)
    # Rounding may exchange tokens of nearly equal scores.
    assert int(both.sum()) >= 0.6 * int((exact.abs().sum(-1) > 0).sum())
    if dtype == torch.float32:
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-3)


def test_backbones_and_blocks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"windows of vitdet-b need .* use vitdet-b-global or vitdet-ti-global"
    ):
        fitted_on("vitdet-b", EViT, EViTParams())
    with pytest.raises(UsageError, match=r"\[3, 6, 12\]: vitdet-b-global has blocks 0\.\.11"):
        EViT.resolve(EViTParams(drop_blocks=(12, 3, 6)), GLOBAL)
    assert EViT.resolve(EViTParams(), GLOBAL) == EViTParams()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep_rate": 0.0}, "greater than 0"),
        ({"keep_rate": 1.1}, "less than or equal to 1"),
        ({"drop_blocks": []}, "at least 1 item"),
        ({"drop_blocks": [-1]}, "greater than or equal to 0"),
        ({"drop_blocks": [3, 3]}, "stands there twice"),
        ({"drop_blocks": ["3"]}, "valid integer"),
        ({"fuse": 1}, "valid boolean"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        params_of(**given)


def test_a_recipes_list_of_blocks_is_put_in_order() -> None:
    assert params_of(drop_blocks=[9, 3]).drop_blocks == (3, 9)
