from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.size import Size
from maskvd_cli.masks.combined import scheduled
from maskvd_cli.masks.padding import real_tokens


def test_full_frames_at_multiples_of_the_period_and_unions_between() -> None:
    static = torch.tensor([True, False, False, False])
    dynamic = torch.eye(4, dtype=torch.bool)[[1, 2, 3, 1, 2]]
    kept = scheduled(3, 5, 4, static=static, dynamic=dynamic)
    assert kept.int().tolist() == [
        [1, 1, 1, 1],
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        [1, 1, 1, 1],
        [1, 1, 0, 0],
    ]


@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 2**31))
def test_masked_frames_keep_exactly_the_union(period: int, frames: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    static = torch.rand(7, generator=generator) < 0.3
    dynamic = torch.rand(frames, 7, generator=generator) < 0.3
    kept = scheduled(period, frames, 7, static=static, dynamic=dynamic)
    for frame in range(frames):
        full = frame % period == 0
        expected = torch.ones(7, dtype=torch.bool) if full else static | dynamic[frame - 1]
        assert torch.equal(kept[frame], expected)


def test_one_mask_may_stand_alone() -> None:
    static = torch.tensor([True, False])
    assert scheduled(2, 2, 2, static=static).tolist() == [[True, True], [True, False]]
    dynamic = torch.tensor([[False, True], [True, True]])
    assert scheduled(2, 2, 2, dynamic=dynamic).tolist() == [[True, True], [False, True]]


def test_period_one_keeps_every_frame_full() -> None:
    assert scheduled(1, 4, 3, static=torch.zeros(3, dtype=torch.bool)).all()


def test_real_tokens_are_those_with_a_pixel_of_the_frame() -> None:
    real = real_tokens(Size(370, 672), Size(672, 672), 16)
    assert real.sum() == 24 * 42
    assert real.view(42, 42)[:24].all()
    narrow = real_tokens(Size(17, 15), Size(48, 48), 16).view(3, 3)
    assert narrow.int().tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
