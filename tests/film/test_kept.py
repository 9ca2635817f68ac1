"""How bright a token is: the share of the backbone that recomputes it, for every kind of method."""

from __future__ import annotations

import numpy as np
import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.film.kept import kept_tokens
from maskvd_cli.methods.base import FrameContext, FrameTrace
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.evit import EViT, EViTParams

GRID = Size(4, 8)
ARCH = get_arch("vitdet-ti")
PLAIN = get_arch("vitdet-ti-global")


def test_one_mask_is_all_or_nothing() -> None:
    kept = kept_tokens(FrameTrace(2, False, {}, {"mask": torch.tensor([1, 9])}), GRID)
    assert kept.share.shape == (4, 8)
    assert np.flatnonzero(kept.share).tolist() == [1, 9]
    assert set(kept.share.flat) == {0.0, 1.0}


def test_full_frames_are_bright_and_untold_tokens_are_named() -> None:
    assert kept_tokens(FrameTrace(32, True), GRID).share.min() == 1
    untold = kept_tokens(FrameTrace(7, False), GRID)
    assert not untold.known
    assert "no tokens" in untold.legend


def test_other_index_sets_are_united() -> None:
    sets = {"a": torch.tensor([0]), "b": torch.tensor([0, 5])}
    kept = kept_tokens(FrameTrace(2, False, {}, sets), GRID)
    assert np.flatnonzero(kept.share == 1).tolist() == [0, 5]
    assert "2 choices" in kept.legend


def step(method: EViT | Eventful, tokens: torch.Tensor, index: int) -> FrameTrace:
    with torch.inference_mode():
        method.step(tokens, FrameContext(index, Size(64, 128), Size(64, 128), 16))
    assert method.trace is not None
    return method.trace


def test_gates_give_the_share_of_gates() -> None:
    torch.manual_seed(0)
    backbone = VisionTransformer(ARCH).eval()
    method = Eventful(EventfulParams(r=8), backbone)
    tokens = torch.randn(1, 32, ARCH.dim)
    assert kept_tokens(step(method, tokens, 0), GRID).share.min() == 1
    tokens[:, 3] += 5
    kept = kept_tokens(step(method, tokens, 1), GRID)
    assert "36 gates" in kept.legend
    # Eight of 32 tokens at every gate, and the one that moved at nearly all.
    np.testing.assert_allclose(kept.share.mean(), 8 / 32)
    assert kept.share.flat[3] == kept.share.max() > 0.9


def test_a_class_token_has_no_place() -> None:
    sets = {"blocks.0.qkv": torch.tensor([[0, 1, 32]])}
    kept = kept_tokens(FrameTrace(3, False, {}, sets, lead=1), GRID)
    assert PLAIN.lead == 1
    assert np.flatnonzero(kept.share).tolist() == [0, 31]


def test_dropping_gives_the_share_of_blocks() -> None:
    torch.manual_seed(0)
    backbone = VisionTransformer(PLAIN).eval()
    method = EViT(EViTParams(keep_rate=0.5, drop_blocks=(3, 6)), backbone)
    trace = step(method, torch.randn(1, 32, PLAIN.dim), 0)
    kept = kept_tokens(trace, GRID)
    survivors = trace.selected["survivors"]
    assert (kept.share.flat[survivors.numpy()] == 1).all()
    # 16 tokens leave 3 of 12 blocks, 8 leave 6, and 8 all.
    values, counts = np.unique(kept.share, return_counts=True)
    np.testing.assert_allclose(values, [3 / 12, 6 / 12, 1])
    assert counts.tolist() == [16, 8, 8]
