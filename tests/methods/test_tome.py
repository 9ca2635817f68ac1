"""ToMe against a naive reference, with and without windows; schedules, costs, what is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import Block, VisionTransformer
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import ClipView, FrameContext
from maskvd_cli.methods.tome import ToMe, ToMeParams

GRID = Size(5, 7)
INPUT = Size(80, 112)
WINDOWED = ViTArch(
    name="windowed", description="", dim=16, heads=2, depth=4, patch=16, global_blocks=(1, 3),
    window=Size(3, 4), position_table=Size(5, 7), relative_table=GRID, final_norm=True,
)  # fmt: skip
EVERY = tuple(range(4))
PLAIN = replace(
    WINDOWED, name="plain", global_blocks=EVERY, relative_table=None, class_token=True
)  # fmt: skip
RELATIVE = replace(WINDOWED, name="relative", global_blocks=EVERY)
# Windows of 12, 9, 8 and 6 tokens: the grid does not fill them.
ARCHS = [WINDOWED, replace(WINDOWED, window=Size(5, 7)), PLAIN, RELATIVE]
CONTEXT = FrameContext(0, INPUT, INPUT, 16)


def backbone_of(arch: ViTArch, seed: int = 0) -> VisionTransformer:
    torch.manual_seed(seed)
    backbone = VisionTransformer(arch).double().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return backbone


def embedded(batch: int = 1, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, GRID.area, 16, generator=generator, dtype=torch.float64)


@dataclass
class One:
    """A token on its way: its vector, where it lies (None: nowhere), and which it stands for."""

    vector: Tensor
    place: int | None
    stands_for: list[int]


def window_of(place: int, arch: ViTArch) -> int:
    row, col = divmod(place, GRID.cols)
    return row // arch.window.rows * 100 + col // arch.window.cols


def attended(block: Block, ones: list[One], padding: list[int], proportional: bool) -> Tensor:
    """Return attention outputs pair by pair; `padding`: places in the window that hold none."""
    heads, table = block.heads, block.window or GRID
    q, k, v = (
        part.reshape(len(ones), heads, -1)
        for part in block.qkv(block.norm1(torch.stack([one.vector for one in ones]))).chunk(3, -1)
    )
    empty = block.qkv.bias.reshape(3, heads, -1)
    k = torch.cat([k, empty[1].expand(len(padding), -1, -1)])
    v = torch.cat([v, empty[2].expand(len(padding), -1, -1)])
    logits = torch.einsum("ihc,jhc->hij", q, k) / q.shape[-1] ** 0.5

    def inside(place: int) -> tuple[int, int]:
        row, col = divmod(place, GRID.cols)
        return (row % table.rows, col % table.cols) if block.window else (row, col)

    places = [None if one.place is None else inside(one.place) for one in ones]
    places += [divmod(place, table.cols) for place in padding]
    if block.relative is not None:
        down, across = block.relative.tables(table)
        for i, here in enumerate(places[: len(ones)]):
            for j, there in enumerate(places):
                assert here is not None and there is not None
                logits[:, i, j] += q[i] @ (down[here[0], there[0]] + across[here[1], there[1]])
    if proportional:
        logits[:, :, : len(ones)] += torch.tensor([math.log(len(one.stands_for)) for one in ones])
    return torch.einsum("hij,jhc->ihc", logits.softmax(-1), v).flatten(1)


def merged(block: Block, ones: list[One], keys: Tensor, count: int, lead: int) -> list[One]:
    unit = keys / keys.norm(dim=-1, keepdim=True)
    even = [i for i in range(lead, len(ones)) if i % 2 == 0]
    odd = [i for i in range(lead, len(ones)) if i % 2 == 1]
    count = min(count, (len(ones) - lead) // 2)
    best = {i: max(odd, key=lambda j: float(unit[i] @ unit[j])) for i in even} if count else {}
    ranked = sorted(even, key=lambda i: -float(unit[i] @ unit[best[i]])) if count else even
    if not count:
        return ones
    for i in ranked[:count]:
        one, into = ones[i], ones[best[i]]
        a, b = len(one.stands_for), len(into.stands_for)
        into.vector = (one.vector * a + into.vector * b) / (a + b)
        into.stands_for = into.stands_for + one.stands_for
    kept = sorted(ranked[count:]) if lead else ranked[count:]
    return [ones[i] for i in [*range(lead), *kept, *odd]]


def naive(backbone: VisionTransformer, tokens: Tensor, params: ToMeParams) -> Tensor:
    """Run one clip (N, D), window by window and pair by pair."""
    arch = backbone.arch
    sequence = tokens + backbone.positions_on(GRID)[0]
    ones = [One(vector, place, [place]) for place, vector in enumerate(sequence)]
    groups: dict[int, list[One]] = {}
    for one in ones:
        assert one.place is not None
        key = window_of(one.place, arch) if arch.windowed_depth else 0
        groups.setdefault(key, []).append(one)
    if backbone.class_token is not None:
        groups[0].insert(0, One(backbone.class_token[0, 0], None, [-1]))
    missing = {key: empty_places(key, arch) for key in groups}
    for block, count in zip(backbone.blocks, params.schedule(arch.depth), strict=True):
        every = [one for group in groups.values() for one in group]
        keys = block.qkv(block.norm1(torch.stack([one.vector for one in every])))
        keys = keys.chunk(3, -1)[1].unflatten(-1, (arch.heads, -1)).mean(1)
        key_of = {id(one): key for one, key in zip(every, keys, strict=True)}
        if block.window is None:
            outputs = dict(zip(map(id, every), attended(
                block, every, [], params.proportional), strict=True))  # fmt: skip
        else:
            outputs = {}
            for key, group in groups.items():
                out = attended(block, group, missing[key], params.proportional)
                outputs |= dict(zip(map(id, group), out, strict=True))
        for one in every:
            one.vector = one.vector + block.projection(outputs[id(one)])
        groups = {
            key: merged(
                block, group, torch.stack([key_of[id(one)] for one in group]), count, arch.lead
            )
            for key, group in groups.items()
        }
        for group in groups.values():
            for one in group:
                one.vector = one.vector + block.mlp(block.norm2(one.vector))
    features = torch.zeros_like(tokens)
    for one in (one for group in groups.values() for one in group):
        if one.place is not None:
            final = one.vector[None, None]
            norm = backbone.final_norm
            features[one.stands_for] = (final if norm is None else norm(final))[0, 0]
    return features


def empty_places(key: int, arch: ViTArch) -> list[int]:
    """Return the places of a window, counted in it, that lie outside the grid."""
    down, across = key // 100 * arch.window.rows, key % 100 * arch.window.cols
    return [
        place
        for place in range(arch.window.area)
        if down + place // arch.window.cols >= GRID.rows
        or across + place % arch.window.cols >= GRID.cols
    ]


@pytest.mark.parametrize("proportional", [True, False])
@pytest.mark.parametrize("arch", ARCHS, ids=["windowed", "one window", "plain", "relative"])
def test_features_equal_a_naive_reference(arch: ViTArch, proportional: bool) -> None:
    params = ToMeParams(r=2, inflection=-0.5, proportional=proportional)
    backbone, tokens = backbone_of(arch), embedded(batch=2)
    found = ToMe(params, backbone).step(tokens, CONTEXT)
    for clip in range(2):
        expected = naive(backbone, tokens[clip], params)
        torch.testing.assert_close(found[clip], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("r", "inflection", "expected"),
    [
        (6, -1.0, [12, 8, 4, 0]),
        (6, 1.0, [0, 4, 8, 12]),
        (5, 0.0, [5, 5, 5, 5]),
        (5, 0.5, [2, 4, 6, 8]),
        (0, 0.0, [0, 0, 0, 0]),
    ],
)
def test_schedules_are_the_published_ones(r: int, inflection: float, expected: list[int]) -> None:
    assert ToMeParams(r=r, inflection=inflection).schedule(4) == expected


def test_windows_stay_equally_large() -> None:
    """Of 12, 9, 8 and 6 tokens each window loses 2 a block, or as many as can merge."""
    method = ToMe(ToMeParams(r=2), backbone_of(WINDOWED))
    method.step(embedded(), CONTEXT)
    assert method.trace is not None
    left = [len(method.trace.selected[f"blocks.{block}.kept"]) for block in EVERY]
    # 12, 10, 8, 6, 4; 9, 7, 5, 3, 2; 8, 6, 4, 2, 1; 6, 4, 2, 1, 1.
    assert left == [27, 19, 12, 8]
    assert method.trace.tokens == sum(left) / 4
    places = method.trace.selected["survivors"].tolist()
    assert len({window_of(place, WINDOWED) for place in places}) == 4
    assert sum(method.trace.shares.values()) == 1.0


@pytest.mark.parametrize("name", ["vitdet-b", "vitdet-b-global", "vitdet-ti", "vitdet-ti-global"])
def test_merging_nothing_costs_what_dense_costs(name: str) -> None:
    arch = get_arch(name)
    for size in (Size(672, 672), Size(192, 640)):
        grid = arch.grid(size)
        if arch.windowed_depth and arch.padded(grid) != grid:
            continue
        params = ToMeParams(r=0)
        trace = ToMe.plan(params, arch, ClipView(1, size, 16))
        found, dense = ToMe.macs(arch, grid, params, trace), costs.dense(arch, grid)
        assert np.asarray(found.matrix).tolist() == [dense.matrix]
        assert np.asarray(found.published).tolist() == [dense.published]
        assert trace.full.all()


def test_costs_fall_with_what_merges() -> None:
    arch, view = get_arch("vitdet-ti-global"), ClipView(1, Size(192, 640), 16)
    found = []
    for r in (0, 8, 16, 32):
        trace = ToMe.plan(ToMeParams(r=r), arch, view)
        macs = ToMe.macs(arch, view.grid, ToMeParams(r=r), trace)
        found.append((float(trace.tokens[0]), int(np.asarray(macs.matrix)[0])))
    tokens, macs = zip(*found, strict=True)
    # 480 tokens lose r in each block, and the mean is over what leaves.
    assert list(tokens) == [480, 428, 376, pytest.approx(272.0, abs=1)]
    assert list(macs) == sorted(macs, reverse=True)
    assert macs[3] < 0.6 * macs[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"r": -1}, "greater than or equal to 0"),
        ({"r": 2.5}, "valid integer"),
        ({"inflection": 1.5}, "less than or equal to 1"),
        ({"proportional": "yes"}, "valid boolean"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ToMeParams.model_validate(given)
