"""Dropping and merging in equal windows and beside detection tokens, against naive references.

The references keep every token as an object with its vector, its window and the patches that it
stands for, and compute attention as whole matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.backbone import TappedTransformer
from maskvd_cli.families.yolos.archs import yolos
from maskvd_cli.families.yolos.transformer import DetectionTransformer
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.ats import ATS, ATSParams
from maskvd_cli.methods.base import ClipView, FrameContext, Params
from maskvd_cli.methods.evit import EViT, EViTParams
from maskvd_cli.methods.fit import unlike
from maskvd_cli.methods.reducing import ReducingMethod
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.tome import ToMe, ToMeParams

GRID, PATCH, DIM = Size(4, 6), 4, 16
TAPPED = QueryArch(
    name="tapped", description="", dim=DIM, heads=2, depth=4, patch=PATCH, global_blocks=(1, 3),
    window=Size(2, 3), position_table=Size(4, 6), relative_table=None, final_norm=True,
    read_after=(1, 3, 4),
)  # fmt: skip
DETECTING = yolos(
    "detecting", "", dim=DIM, heads=2, depth=4, patch=PATCH, table=Size(3, 5), detections=3,
    mid_positions=True,
)  # fmt: skip
ARCHS = [pytest.param(arch, id=arch.name) for arch in (TAPPED, DETECTING)]
PIXELS = Size(GRID.rows * PATCH, GRID.cols * PATCH)
FRAME = FrameContext(0, PIXELS, PIXELS, PATCH)


def backbone_of(arch: ViTArch) -> VisionTransformer:
    kind = TappedTransformer if isinstance(arch, QueryArch) else DetectionTransformer
    generator = torch.Generator().manual_seed(7)
    made = kind(arch).double().eval().requires_grad_(False)  # pyright: ignore[reportArgumentType]
    for parameter in made.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.add_(0.3 * noise)
    return made


def embedded(batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(8)
    return torch.randn(batch, GRID.area, DIM, generator=generator, dtype=torch.float64)


@dataclass
class One:
    """A token: its window, where it is in the whole sequence (None: fused), what it stands for."""

    vector: Tensor
    window: int
    row: int | None
    stands_for: list[int] = field(default_factory=list[int])

    @property
    def size(self) -> int:
        return max(len(self.stands_for), 1)


class Naive:
    """One clip on its way, every token for itself."""

    def __init__(self, backbone: VisionTransformer, tokens: Tensor) -> None:
        self.backbone, self.arch = backbone, backbone.arch
        placed = (tokens + backbone.positions_on(GRID)[0])[None]
        sequence, lead = backbone.with_class_token(placed)[0], self.arch.lead
        self.ones: list[One] = []
        for row, vector in enumerate(sequence):
            place = row - lead
            if place < 0:
                one = One(vector, row if self.arch.windowed_depth else 0, row)
            elif place < GRID.area:
                one = One(vector, self.window_of(place), row, [place])
            else:
                one = One(vector, 0, row)
            self.ones.append(one)
        shape = (GRID.area, len(self.arch.taps) * DIM)
        self.features = torch.zeros(shape, dtype=torch.float64)

    def window_of(self, place: int) -> int:
        if not self.arch.windowed_depth:
            return 0
        return place // GRID.cols // 2 * 2 + place % GRID.cols // 3

    def attention(self, block: Block, *, sized: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights (H, n, n), keys and values (H, n, c) of all tokens."""
        rows = torch.stack([one.vector for one in self.ones])
        parts = block.qkv(block.norm1(rows)).unflatten(-1, (3, block.heads, -1))
        q, k, v = parts.permute(1, 2, 0, 3)
        logits = q @ k.mT / q.shape[-1] ** 0.5
        if sized:
            logits = logits + torch.tensor([one.size for one in self.ones]).double().log()
        if block.window is not None:
            which = torch.tensor([one.window for one in self.ones])
            logits = logits.masked_fill(which[:, None] != which, -math.inf)
        return logits.softmax(-1), k, v

    def add_attention(self, block: Block, weights: Tensor, value: Tensor) -> None:
        attended = block.projection((weights @ value).permute(1, 0, 2).flatten(1))
        for one, more in zip(self.ones, attended, strict=True):
            one.vector = one.vector + more

    def members(self) -> dict[int, list[int]]:
        """Return by window the numbers of its tokens of the grid; fused ones too."""
        found: dict[int, list[int]] = {}
        for number, one in enumerate(self.ones):
            if one.row is None or one.stands_for:
                found.setdefault(one.window, []).append(number)
        return found

    def classes(self) -> dict[int, int]:
        """Return by window the number of its class token."""
        return {one.window: n for n, one in enumerate(self.ones[: self.arch.lead])}

    def finish_block(self, number: int, block: Block) -> None:
        for one in self.ones:
            one.vector = one.vector + block.mlp(block.norm2(one.vector))
        if self.arch.trail and number < self.arch.depth - 1:
            assert isinstance(self.backbone, DetectionTransformer)
            assert self.backbone.mid_positions is not None
            table = self.backbone.mid_positions.on(GRID)[number]
            for one in self.ones:
                if one.row is not None:
                    one.vector = one.vector + table[one.row]
        if number + 1 in self.arch.taps:
            tap, norm = self.arch.taps.index(number + 1), self.backbone.final_norm
            assert norm is not None
            part = self.features[:, tap * DIM : (tap + 1) * DIM]
            for one in self.ones:
                if one.row is not None and one.stands_for:
                    part[one.stands_for] = norm(one.vector)

    def outcome(self) -> Tensor:
        if not self.arch.trail:
            return self.features
        assert self.backbone.final_norm is not None
        own = [one.vector for one in self.ones if one.row is not None and not one.stands_for]
        return self.backbone.final_norm(torch.stack(own[1:]))


def naive_evit(backbone: VisionTransformer, tokens: Tensor, params: EViTParams) -> Tensor:
    clip = Naive(backbone, tokens)
    for number, block in enumerate(backbone.blocks):
        weights, _, value = clip.attention(block)
        clip.add_attention(block, weights, value)
        gone, fused = set[int](), list[One]()
        for window, those in clip.members().items():
            kept = math.ceil(params.keep_rates(clip.arch)[number] * len(those))
            score = weights[:, clip.classes()[window]].mean(0)
            lost = sorted(those, key=lambda n: -float(score[n]))[kept:]
            gone |= set(lost)
            if lost and params.fuse:
                total = torch.stack([score[n] * clip.ones[n].vector for n in lost]).sum(0)
                fused.append(One(total, window, None))
        clip.ones = [one for n, one in enumerate(clip.ones) if n not in gone] + fused
        clip.finish_block(number, block)
    return clip.outcome()


def naive_ats(backbone: VisionTransformer, tokens: Tensor, params: ATSParams) -> Tensor:
    clip = Naive(backbone, tokens)
    for number, block in enumerate(backbone.blocks):
        weights, _, value = clip.attention(block)
        clip.add_attention(block, weights, value)
        gone = set[int]()
        for window, those in clip.members().items():
            own = clip.classes()[window]
            paid = weights[:, those, own] if params.score != "row" else weights[:, own, those]
            votes = paid * value[:, those].norm(dim=-1)
            score = (votes / votes.sum(-1, keepdim=True)).sum(0).tolist()
            kept = int(params.fraction * len(those))
            order = sorted(range(len(those)), key=lambda j: -score[j])
            gone |= {those[j] for j in order[kept:]}
        clip.ones = [one for n, one in enumerate(clip.ones) if n not in gone]
        clip.finish_block(number, block)
    return clip.outcome()


def naive_tome(backbone: VisionTransformer, tokens: Tensor, params: ToMeParams) -> Tensor:
    clip = Naive(backbone, tokens)
    arch = clip.arch
    always = arch.window_lead if arch.windowed_depth else arch.lead + arch.trail
    orders = clip.members()
    kept_order = {window: [clip.ones[n] for n in those] for window, those in orders.items()}
    for number, block in enumerate(backbone.blocks):
        weights, key, value = clip.attention(block, sized=True)
        clip.add_attention(block, weights, value)
        where = {id(one): n for n, one in enumerate(clip.ones)}
        metric = key.mean(0)
        for window, those in kept_order.items():
            unit = [metric[where[id(one)]] for one in those]
            unit = [row / row.norm() for row in unit]
            sides = [(always + j) % 2 for j in range(len(those))]
            even, odd = ([j for j, side in enumerate(sides) if side == s] for s in (0, 1))
            count = min(params.r, len(those) // 2)
            best = (
                {i: max(odd, key=lambda j: float(unit[i] @ unit[j])) for i in even} if odd else {}
            )
            ranked = sorted(even, key=lambda i: -float(unit[i] @ unit[best[i]])) if best else even
            merging = ranked[:count]
            for i in merging:
                one, into = those[i], those[best[i]]
                total = one.size + into.size
                into.vector = (one.vector * one.size + into.vector * into.size) / total
                into.stands_for = into.stands_for + one.stands_for
            rest = sorted(ranked[count:]) if count else None
            if rest is not None:
                kept_order[window] = [those[j] for j in (*rest, *odd)]
            alive = {id(one) for one in kept_order[window]}
            clip.ones = [one for one in clip.ones if one.window != window or id(one) in alive
                         or not one.stands_for]  # fmt: skip
        clip.finish_block(number, block)
    return clip.outcome()


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("arch", ARCHS)
def test_each_window_drops_for_its_own_class_token(arch: ViTArch, fuse: bool) -> None:
    params = EViTParams(keep_rate=0.6, drop_blocks=(0, 1, 2), fuse=fuse)
    on = backbone_of(arch)
    check(EViT(params, on), lambda one: naive_evit(on, one, params))


@pytest.mark.parametrize("score", ["column", "row"])
@pytest.mark.parametrize("arch", ARCHS)
def test_each_window_samples_for_its_own_class_token(arch: ViTArch, score: str) -> None:
    params = ATSParams.model_validate({"fraction": 0.7, "score": score})
    on = backbone_of(arch)
    check(ATS(params, on), lambda one: naive_ats(on, one, params))


@pytest.mark.parametrize("arch", ARCHS)
def test_each_window_merges_its_own_tokens(arch: ViTArch) -> None:
    params = ToMeParams(r=2)
    on = backbone_of(arch)
    check(ToMe(params, on), lambda one: naive_tome(on, one, params))


def check(method: ReducingMethod[Any], reference: Callable[[Tensor], Tensor]) -> None:
    tokens = embedded(batch=2)
    found = method.step(tokens, FRAME)
    for clip in range(2):
        torch.testing.assert_close(found[clip], reference(tokens[clip]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", ["rfdetr-nano", "yolos-small"])
@pytest.mark.parametrize(
    ("kind", "params"),
    [
        (EViT, EViTParams(keep_rate=1.0)),
        (ATS, ATSParams(fraction=1.0)),
        (ATS, ATSParams(fraction=1.0, score="row")),
        (ToMe, ToMeParams(r=0)),
    ],
)
def test_losing_nothing_costs_what_dense_costs(
    kind: type[ReducingMethod[Any]], params: Params, model: str
) -> None:
    arch = get_arch(model)
    view = ClipView(1, Size(384, 512), arch.patch)
    resolved = kind.resolve(params, arch)
    trace = kind.plan(resolved, arch, view)
    found, dense = kind.macs(arch, view.grid, resolved, trace), costs.dense(arch, view.grid)
    assert np.asarray(found.matrix).tolist() == [dense.matrix]
    assert np.asarray(found.published).tolist() == [dense.published]
    assert trace.full.all() and trace.tokens.tolist() == [view.tokens]


def test_every_window_of_rfdetr_loses_as_many() -> None:
    """Of 144 tokens each of 4 windows keeps 101 (0.7, rounded up), then 71, then 50."""
    arch = get_arch("rfdetr-nano")
    params = EViT.resolve(EViTParams(), arch)
    view = ClipView(1, Size(384, 384), arch.patch)
    mean = (3 * 144 + 3 * 101 + 3 * 71 + 3 * 50) / 12
    assert EViT.plan(params, arch, view).tokens.tolist() == [4 * mean]


@pytest.mark.parametrize("second", ["evit", "ats", "tome"])
def test_chosen_tokens_alone_are_refused_with_the_reason(second: str) -> None:
    method = methods.load(f"maskvd+{second}")
    windows, detections = (unlike(method, get_arch(name)) for name in ("rfdetr-nano", "yolos-base"))
    assert windows is not None and "rfdetr-nano" in windows and "different numbers" in windows
    assert detections is not None and "detection tokens of yolos-base would see no" in detections


def test_rfdetr_refuses_what_windows_cannot_run() -> None:
    refusing = {name for name in methods.names() if unlike(methods.load(name), TAPPED) is not None}
    assert refusing == {"dense-unpadded", "maskvd+evit", "svit", "vpp"}


def test_groups_that_nobody_can_score_are_refused() -> None:
    relative = replace(TAPPED, relative_table=GRID)
    mute = replace(DETECTING, class_token=False)
    with pytest.raises(UsageError, match="windows without relative positions"):
        EViT.resolve(EViTParams(drop_blocks=(1,)), relative)
    with pytest.raises(UsageError, match="windows without relative positions"):
        ATS.resolve(ATSParams(), relative)
    with pytest.raises(UsageError, match="no class token of detecting votes"):
        EViT.resolve(EViTParams(drop_blocks=(1,)), mute)
    with pytest.raises(UsageError, match="no class token of detecting votes"):
        ATS.resolve(ATSParams(), mute)
