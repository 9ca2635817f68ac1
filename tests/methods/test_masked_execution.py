"""Masked execution against the order of the paper and its code: everything first, then the choice.

The reference computes attention for all tokens and throws most of it away. Windows do not divide
the grid, tables are resized, masks are random, single tokens and whole windows among them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.families.blocks.windows import window_places
from maskvd_cli.methods.masked_costs import Version, mask_trace
from maskvd_cli.methods.masked_execution import Chosen, MaskedExecution

GRID = Size(7, 6)
N = GRID.area
WINDOWED = ViTArch(
    name="small", description="", dim=12, heads=3, depth=4, patch=4, global_blocks=(1, 2),
    window=Size(3, 4), position_table=Size(4, 5), relative_table=Size(5, 9),
)  # fmt: skip
PLAIN = replace(
    WINDOWED, global_blocks=(0, 1, 2, 3), relative_table=None, class_token=True, final_norm=True
)


def backbone(arch: ViTArch) -> VisionTransformer:
    torch.manual_seed(1)
    made = VisionTransformer(arch).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=parameter.dtype))
    return made


def masks(seed: int) -> list[Tensor]:
    """A full frame, then random masks of ever other sizes, and one full frame among them."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.rand(N, generator=generator) < share for share in (0.3, 0.05, 1.0, 0.7, 0.02)]
    for mask in drawn:
        mask[7] = True
    return [torch.ones(N, dtype=torch.bool), *drawn]


def clip(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, N, 12, generator=generator, dtype=torch.float64) for _ in masks(0)]


def global_among(block: Block, qkv: Tensor, index: Tensor) -> Tensor:
    """Attention of all pairs, of which those among `index` count."""
    scattered = qkv.new_zeros(1, N, qkv.shape[-1]).index_copy(1, index, qkv)
    query, key, value = block.split(scattered)
    logits = query @ key.mT / query.shape[-1] ** 0.5
    if block.relative is not None:
        logits = logits + block.relative(query, GRID).bias(slice(None), None)
    outside = torch.ones(N, dtype=torch.bool)
    outside[index] = False
    return block.merge(logits.masked_fill(outside, -torch.inf).softmax(-1) @ value)[:, index]


class Reference:
    """Versions C, T and H as the text tells them, nothing left out."""

    def __init__(self, weights: VisionTransformer, version: Version) -> None:
        self.weights, self.version = weights, version
        self.caches: dict[int, Tensor] = {}
        self.output = torch.empty(0)

    def run(self, tokens: Tensor, kept: Tensor) -> Tensor:
        index = kept.nonzero().squeeze(1)
        x = (tokens + self.weights.positions_on(GRID))[:, index]
        for number, block in enumerate(self.weights.blocks):
            x = x + block.projection(self.attended(number, block, x, index))
            x = x + block.mlp(block.norm2(x))
        base = self.output if len(self.output) else torch.empty_like(tokens)
        self.output = base.index_copy(1, index, x)
        return self.output

    def attended(self, number: int, block: Block, x: Tensor, index: Tensor) -> Tensor:
        cached = "qkv" if self.version != "T" else "input"
        if block.window is None and self.version != "C":
            return global_among(block, block.qkv(block.norm1(x)), index)
        news = block.qkv(block.norm1(x)) if cached == "qkv" else x
        cache = self.caches.get(number, news)
        self.caches[number] = cache.index_copy(1, index, news)
        qkv = self.caches[number]
        if cached == "input":
            qkv = block.qkv(block.norm1(qkv))
        return block.attend(qkv, GRID)[:, index]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("version", ["C", "T", "H"])
def test_versions_equal_their_text(version: Version, seed: int) -> None:
    weights = backbone(WINDOWED)
    ours, theirs = MaskedExecution(weights, version), Reference(weights, version)
    with torch.inference_mode():
        for tokens, kept in zip(clip(seed), masks(seed), strict=True):
            found, trace = ours.run(tokens, GRID, kept)
            assert torch.allclose(found, theirs.run(tokens, kept), atol=1e-10)
            assert trace.selected["mask"].tolist() == kept.nonzero().flatten().tolist()


@pytest.mark.parametrize("fill", ["reference", "zeros"])
def test_non_windowed_runs_on_the_chosen_alone(fill: str) -> None:
    weights = backbone(PLAIN)
    ours = MaskedExecution(weights, None, fill)  # type: ignore[arg-type]
    last = torch.zeros(1, N, 12, dtype=torch.float64)
    with torch.inference_mode():
        for tokens, kept in zip(clip(0), masks(0), strict=True):
            index = kept.nonzero().squeeze(1)
            sequence = weights.with_class_token((tokens + weights.positions_on(GRID))[:, index])
            for block in weights.blocks:
                qkv = block.split(block.qkv(block.norm1(sequence)))
                attended = (qkv[0] @ qkv[1].mT / 2).softmax(-1) @ qkv[2]
                sequence = sequence + block.projection(block.merge(attended))
                sequence = sequence + block.mlp(block.norm2(sequence))
            base = last if fill == "reference" else torch.zeros_like(last)
            last = base.index_copy(1, index, weights.finish(sequence))
            assert torch.allclose(ours.run(tokens, GRID, kept)[0], last, atol=1e-10)


def test_a_repeated_frame_is_exact_in_version_c_alone() -> None:
    weights, tokens = backbone(WINDOWED), clip(0)[0]
    for version in ("C", "T", "H"):
        execution = MaskedExecution(weights, version)
        with torch.inference_mode():
            dense = weights(tokens, GRID)
            found = [execution.run(tokens, GRID, kept)[0] for kept in masks(0)]
        exact = all(torch.allclose(features, dense, atol=1e-10) for features in found)
        assert exact == (version == "C")


def test_a_mask_before_any_full_frame_is_refused() -> None:
    execution = MaskedExecution(backbone(WINDOWED), "C")
    for _ in range(2):
        with pytest.raises(UsageError, match="begin the clip with a full one"):
            execution.run(clip(0)[0], GRID, masks(0)[1])
        execution.run(clip(0)[0], GRID, masks(0)[0])
        execution.reset()


@given(st.lists(st.integers(0, N - 1), min_size=0, max_size=N, unique=True))
@settings(max_examples=60)
def test_chosen_tokens_lie_where_their_windows_say(tokens: list[int]) -> None:
    kept = torch.zeros(N, dtype=torch.bool)
    kept[tokens] = True
    chosen = Chosen.of(kept, GRID, WINDOWED, torch.device("cpu"))
    places = window_places(GRID, WINDOWED.window)
    assert chosen.index.tolist() == sorted(tokens)
    used = sorted({int(places[token, 0]) for token in tokens})
    near = [token for token in range(N) if int(places[token, 0]) in used]
    assert chosen.near.tolist() == near
    for number, token in enumerate(chosen.index.tolist()):
        row = int(chosen.window[number])
        assert used[row] == int(places[token, 0])
        place = int(chosen.places[row, chosen.slot[number]])
        assert place == int(places[token, 1])
        assert near[int(chosen.layout[row, place])] == token == int(chosen.laid[row, place])
        assert chosen.outside is None or not chosen.outside[row, place]
    padded = [WINDOWED.window.area != int((places[:, 0] == window).sum()) for window in used]
    assert (chosen.outside is not None) == any(padded)
    trace = mask_trace(kept[None], WINDOWED, GRID)
    if len(tokens) < N:
        assert trace.counts["window_queries"].tolist() == [chosen.places.numel()]
        assert trace.counts["window_keys"].tolist() == [len(near)]
