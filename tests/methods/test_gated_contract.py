"""What Eventful Transformers and STGT promise as every method does, in all their ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.methods.base import TokenTrace
from maskvd_cli.methods.dense import Dense, DenseParams

from .gated_models import (
    BARE,
    EVEN,
    PLAIN,
    SMALL,
    UNEVEN,
    backbone,
    clip,
    context,
    eventful,
    methods_on,
    run,
)


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_letting_everything_through_equals_dense_on_every_frame(arch: ViTArch) -> None:
    model, frames = backbone(arch), clip(5, UNEVEN)
    expected, _ = run(Dense(DenseParams(), model), frames, UNEVEN)
    length = UNEVEN.area + int(arch.class_token)
    ways: list[dict[str, Any]] = [{"r": length}, {"policy": "top_fraction", "fraction": 1.0}]
    if not arch.class_token:
        # A class token enters every frame unchanged, and does not go through the first gate.
        ways.append({"policy": "threshold", "threshold": 0.0})
    for params in ways:
        for method in methods_on(model, **params):
            found, traces = run(method, frames, UNEVEN)
            torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
            assert all(trace.full and trace.tokens == UNEVEN.area for trace in traces)


@pytest.mark.parametrize("update", ["full", "qk", "tokenwise"])
@pytest.mark.parametrize("pool", [2, 4])
def test_letting_everything_through_equals_dense_with_pooling(update: str, pool: int) -> None:
    model, frames = backbone(SMALL), clip(4, EVEN)
    expected, _ = run(Dense(DenseParams(pool=pool), model), frames, EVEN)
    found, _ = run(eventful(model, r=EVEN.area, update=update, pool=pool), frames, EVEN)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_rounding_stays_small_over_fifty_frames() -> None:
    grid = Size(6, 6)
    model = backbone(SMALL, torch.float32)
    generator = torch.Generator().manual_seed(3)
    frames = torch.randn(50, grid.area, 16, generator=generator)
    expected, _ = run(Dense(DenseParams(), model), frames, grid)
    found, _ = run(eventful(model, r=grid.area), frames, grid)
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize("arch", [SMALL, PLAIN], ids=lambda arch: arch.name)
def test_reset_forgets(arch: ViTArch) -> None:
    model, frames = backbone(arch), clip(3, UNEVEN)
    for method in methods_on(model, r=9):
        first, _ = run(method, frames, UNEVEN)
        run(method, clip(2, UNEVEN, seed=9), UNEVEN)
        method.reset()
        assert method.state_bytes() == 0
        again, _ = run(method, frames, UNEVEN)
        assert torch.equal(again, first)


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_no_storage_is_shared(arch: ViTArch, guard: Any) -> None:
    model, frames = backbone(arch), clip(3, UNEVEN)
    half = {"r": 9, "av_precision": "half"}
    for method in (*methods_on(model, r=9), eventful(model, **half)):
        inputs, outputs = [tokens[None].clone() for tokens in frames], []
        with guard():
            for index, tokens in enumerate(inputs):
                outputs.append(method.step(tokens, context(index, UNEVEN)))
        assert all(torch.equal(a[0], b) for a, b in zip(inputs, frames, strict=True)), (
            "inputs were changed"
        )
        pointers = [
            tensor.untyped_storage().data_ptr()
            for tensor in (*method.state(), *inputs, *outputs, *model.parameters())
        ]
        assert len(pointers) == len(set(pointers))


def test_stored_outputs_are_not_changed_by_later_frames() -> None:
    model, frames = backbone(SMALL), clip(3, UNEVEN)
    for method in methods_on(model, r=9):
        with torch.inference_mode():
            first = method.step(frames[:1], context(0, UNEVEN))
            copy = first.clone()
            method.step(frames[1:2], context(1, UNEVEN))
        assert torch.equal(first, copy)


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_state_is_as_large_as_planned(arch: ViTArch) -> None:
    model, frames = backbone(arch, torch.float32), clip(2, EVEN, torch.float32)
    ways = [*methods_on(model, r=9), eventful(model, r=9, av_precision="half")]
    if arch.windowed_depth:
        ways += [eventful(model, r=9, pool=2, update=u) for u in ("full", "qk", "tokenwise")]
    for method in ways:
        run(method, frames, EVEN)
        assert method.state_bytes() == method.planned_state_bytes(arch, EVEN, method.params)


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_matrix_products_equal_what_torch_counts(arch: ViTArch) -> None:
    model = backbone(arch, torch.float32)
    for grid in (UNEVEN, EVEN):
        frames = clip(3, grid, torch.float32)
        ways = [
            *methods_on(model, r=9),
            eventful(model, policy="threshold", threshold=1.0),
            eventful(model, r=9, av_precision="half"),
        ]
        if arch.windowed_depth and grid == EVEN:
            ways += [eventful(model, r=9, pool=2, update=u) for u in ("full", "qk", "tokenwise")]
        for method in ways:
            for index, tokens in enumerate(frames):
                with MacCounter() as counter, torch.no_grad():
                    method.step(tokens[None], context(index, grid))
                assert method.trace is not None
                trace = TokenTrace.of([method.trace])
                macs = method.macs(arch, grid, method.params, trace)
                assert np.asarray(macs.matrix).tolist() == [counter.macs]


@pytest.mark.parametrize("arch", [SMALL, PLAIN, BARE], ids=lambda arch: arch.name)
def test_clips_side_by_side_equal_clips_alone(arch: ViTArch) -> None:
    model = backbone(arch)
    clips = [clip(4, UNEVEN, seed=seed) for seed in (1, 2)]
    for together in methods_on(model, r=9):
        both, traces = run(together, torch.stack(clips, dim=1), UNEVEN)
        for number, frames in enumerate(clips):
            together.reset()
            alone, own = run(together, frames, UNEVEN)
            torch.testing.assert_close(both[:, number], alone[:, 0], atol=1e-9, rtol=0)
            for joint, single in zip(traces, own, strict=True):
                assert (joint.tokens, joint.counts) == (single.tokens, single.counts)
                for name, index in single.selected.items():
                    assert torch.equal(joint.selected[name][number], index[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_precision_runs(dtype: torch.dtype) -> None:
    for arch in (SMALL, PLAIN):
        exact, rounded = backbone(arch), backbone(arch, dtype)
        frames = clip(1, UNEVEN).repeat(4, 1, 1)
        for method, same in zip(methods_on(exact, r=9), methods_on(rounded, r=9), strict=True):
            expected, _ = run(method, frames, UNEVEN)
            found, _ = run(same, frames.to(dtype), UNEVEN)
            assert found.dtype == dtype
            # A still clip: whatever is selected, features are those of the first frame.
            relative = (found.double() - expected).norm() / expected.norm()
            assert relative < {torch.float32: 1e-4}.get(dtype, 0.25)


def test_a_still_clip_stays_as_it_is() -> None:
    model = backbone(SMALL)
    frames = clip(1, UNEVEN).repeat(4, 1, 1)
    for method in methods_on(model, r=9):
        features, _ = run(method, frames, UNEVEN)
        torch.testing.assert_close(features, features[:1].expand_as(features), atol=1e-9, rtol=0)
        assert method.constant_on_repeats(method.params)
