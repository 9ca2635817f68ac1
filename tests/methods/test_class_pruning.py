"""RGTP on a transformer that is read at its class token, against its definition; what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.looks import Looks
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.vivit.archs import ARCHS, vivit
from maskvd_cli.families.vivit.transformer import ClassTransformer
from maskvd_cli.methods.base import ClipView, FrameContext, TokenTrace
from maskvd_cli.methods.class_pruning import reset_tokens, sampled
from maskvd_cli.methods.fit import unfit, unlike
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.rgtp import RGTP, RGTPParams
from maskvd_cli.methods.tracking import best, tracked

GRID, PATCH, DIM, STEPS = Size(5, 6), 4, 16, 9
INPUT = Size(GRID.rows * PATCH, GRID.cols * PATCH)
N = GRID.area
ARCH = vivit(
    "steps", "", dim=DIM, heads=2, depth=4, temporal_depth=1, patch=PATCH, table=Size(4, 4),
    looks=Looks(STEPS),
)  # fmt: skip
VIEW = ClipView(STEPS, INPUT, PATCH)
CASES: list[dict[str, Any]] = [
    {"k": 7, "period": 4},
    {"k": 12, "period": 4, "foreground": 0.5, "background": 0.25, "reset": "1in4"},
    {"keep_rate": 0.3, "period": 8, "radius": 2, "fusion": "mean", "background": 0.09},
    {"k": 9, "period": 3, "radius": 0, "reset": "full", "foreground": 0.3},
    {"k": 1, "period": 2},
    {"k": 4, "period": 1},
    {"k": N, "period": 5},
]


def backbone(seed: int = 3) -> ClassTransformer:
    generator = torch.Generator().manual_seed(seed)
    made = ClassTransformer(ARCH).double().eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator).double())
    return made


def look(seed: int = 0, steps: int = STEPS) -> Tensor:
    """Return the embedded patches of a scene that moves to the right, (steps, N, D)."""
    generator = torch.Generator().manual_seed(seed)
    scene = torch.randn(*GRID, DIM, generator=generator, dtype=torch.float64)
    noise = torch.randn(steps, N, DIM, generator=generator, dtype=torch.float64)
    return torch.stack([scene.roll(at, 1).flatten(0, 1) for at in range(steps)]) + 0.1 * noise


def at(index: int) -> FrameContext:
    return FrameContext(index, INPUT, INPUT, PATCH)


def make(on: VisionTransformer | None = None, **params: Any) -> RGTP:
    return RGTP(RGTPParams.model_validate(params), on or backbone())


def run(method: RGTP, tokens: Tensor) -> list[Tensor]:
    method.reset()
    return [method.step(step[None], at(index)) for index, step in enumerate(tokens)]


class Literally:
    """The definition with whole matrices, multiplied from the first block on, as published."""

    def __init__(self, method: RGTP) -> None:
        self.backbone, self.params = method.backbone, method.params
        self.importance = self.before = torch.empty(0)

    def step(self, index: int, tokens: Tensor) -> tuple[Tensor, list[int]]:
        """Return the class token's features (D,), and the tokens that stayed, sorted."""
        kept = self._kept(index, tokens)
        rows = [0, *(token + 1 for token in kept)]
        x = self.backbone.with_class_token(tokens[None] + self.backbone.positions_on(GRID))[0]
        rolled = torch.eye(N + 1, dtype=torch.float64)
        alike = torch.empty(0)
        for number, block in enumerate(self.backbone.blocks):
            query, key, value = (part[0] for part in block.split(block.qkv(block.norm1(x))[None]))
            weights = (query * query.shape[-1] ** -0.5 @ key.mT).softmax(-1)
            x = x + block.projection(block.merge((weights @ value)[None])[0])
            fused = weights.square().mean(0).sqrt()
            if self.params.fusion == "mean":
                fused = weights.mean(0)
            mixed = (fused + torch.eye(len(x), dtype=torch.float64)) / 2
            rolled = mixed / mixed.sum(1, keepdim=True) @ rolled
            if number == 0:
                alike = key.mean(0)[1:] @ key.mean(0)[1:].mT
                x, rolled = x[rows], rolled[rows][:, rows]
            x = x + block.mlp(block.norm2(x))
        found = torch.zeros(N, dtype=torch.float64)
        found[kept] = rolled[0, 1:]
        for token in set(range(N)) - set(kept):
            found[token] = found[max(kept, key=lambda other: float(alike[token, other]))]
        self.importance, self.before = found / found.sum(), tokens
        return self.backbone.finish(x[None])[0, 0], kept

    def _kept(self, index: int, tokens: Tensor) -> list[int]:
        if index == 0:
            return list(range(N))
        if index % self.params.period == 0:
            every = [(place // GRID.cols, place % GRID.cols, place) for place in range(N)]
            there = {
                "full": lambda row, col: True,
                "1in2": lambda row, col: row % 2 == col % 2,
                "1in4": lambda row, col: row % 2 == col % 2 == 0,
            }[str(self.params.reset)]
            return [place for row, col, place in every if there(row, col)]
        scores = tracked(self.importance, tokens, self.before, GRID, self.params.radius)
        order, count = best(scores, N).tolist(), self.params.count(N)
        chosen = order[:count][:: round(1 / self.params.foreground)]
        if self.params.background:
            chosen += sorted(order[count:])[:: round(1 / self.params.background)]
        return sorted(chosen)


@pytest.mark.parametrize("params", CASES, ids=str)
def test_every_step_is_what_the_definition_says(params: dict[str, Any]) -> None:
    method = make(**params)
    literally = Literally(method)
    for index, tokens in enumerate(look()):
        found = method.step(tokens[None], at(index))
        features, kept = literally.step(index, tokens)
        assert found.shape == (1, 1, DIM)
        assert torch.allclose(found[0, 0], features, atol=1e-10)
        assert method.trace is not None
        assert method.trace.selected["mask"].tolist() == kept
        assert (method.trace.tokens, method.trace.full) == (len(kept), len(kept) == N)
        if (index + 1) % method.params.period:
            importance = list(method.state())[1]
            assert torch.allclose(importance, literally.importance, atol=1e-12)


@pytest.mark.parametrize("params", CASES, ids=str)
def test_steps_cost_and_keep_what_the_closed_forms_say(params: dict[str, Any]) -> None:
    method = make(**params)
    traces, counted = [], []
    for index, step in enumerate(look()):
        with MacCounter() as counter:
            method.step(step[None], at(index))
        traces.append(method.trace)
        counted.append(counter.macs)
    done = TokenTrace.of(traces)
    planned = method.plan(method.params, ARCH, VIEW)
    assert planned.tokens.tolist() == done.tokens.tolist()
    assert planned.full.tolist() == done.full.tolist()
    for trace in (done, planned):
        macs = method.macs(ARCH, GRID, method.params, trace)
        assert np.asarray(macs.matrix).tolist() == counted
        assert np.asarray(macs.published).tolist() == by_the_authors(method.params, done)
    assert method.state_bytes() == 2 * method.planned_state_bytes(ARCH, GRID, method.params)
    assert method.published_at(ARCH, GRID, method.params, 7) is None
    method.reset()
    assert not list(method.state())


def by_the_authors(params: RGTPParams, trace: TokenTrace) -> list[int]:
    """Return what each step costs in the published code, added up product by product."""
    found = []
    for index, kept in enumerate(trace.whole_tokens.tolist()):
        every, among = N + 1, kept + 1
        total = every * DIM + every**3
        for number in range(ARCH.depth):
            a = among if number else every
            total += 4 * a * DIM**2 + 4 * a * DIM + a * DIM + 2 * a * a * DIM
            total += 8 * among * DIM**2 + 5 * among * DIM + among * DIM
            total += among**3 if number else 0
        total += (N - kept) * kept * (DIM // 2)
        if index % params.period and params.radius:
            total += (2 * params.radius + 1) ** 2 * N * DIM
        found.append(total)
    return found


def test_all_tokens_equal_dense() -> None:
    weights, tokens = backbone(), look()
    method = make(weights, k=N, period=4, reset="full")
    for step, found in zip(tokens, run(method, tokens), strict=True):
        assert torch.allclose(found, weights(step[None], GRID), atol=1e-10)
    macs = method.macs(ARCH, GRID, method.params, method.plan(method.params, ARCH, VIEW))
    dense = costs.dense(ARCH, GRID)
    rolled = np.array([index % 4 != 3 for index in range(STEPS)])
    followed = np.array([index % 4 != 0 for index in range(STEPS)])
    more = rolled * ARCH.depth * (N + 1) ** 2 + followed * 9 * N * DIM
    assert (np.asarray(macs.matrix) - more).tolist() == [dense.matrix] * STEPS


@pytest.mark.parametrize("period", [1, 4])
def test_every_look_begins_anew(period: int) -> None:
    method = make(k=7, period=period)
    run(method, look(1))
    again, alone = run(method, look(2)), run(make(k=7, period=period), look(2))
    assert all(torch.equal(one, other) for one, other in zip(again, alone, strict=True))


def test_nothing_is_shared_with_the_caller() -> None:
    method, expected = make(k=7, period=4), run(make(k=7, period=4), look())
    for index, step in enumerate(look()):
        given = step[None].clone()
        features = method.step(given, at(index))
        assert torch.allclose(features[0], expected[index][0], atol=1e-12)
        assert torch.equal(given[0], step)
        features.fill_(torch.nan)
        given.fill_(torch.nan)
    assert not method.constant_on_repeats(method.params)
    assert RGTP.constant_on_repeats(RGTPParams(k=3))


def test_equal_scores_go_by_place() -> None:
    equal = torch.zeros(10)
    assert sampled(equal, 4, 1, 0).tolist() == [0, 1, 2, 3]
    assert sampled(equal, 5, 2, 3).tolist() == [0, 2, 4, 5, 8]
    rising = torch.arange(10.0)
    assert sampled(rising, 3, 2, 0).tolist() == [7, 9]
    assert sampled(rising, 3, 1, 3).tolist() == [0, 3, 6, 7, 8, 9]


def test_patterns_of_resets() -> None:
    assert reset_tokens("1in2", Size(3, 4)).tolist() == [0, 2, 5, 7, 8, 10]
    assert reset_tokens("1in4", Size(3, 4)).tolist() == [0, 2, 8, 10]
    assert reset_tokens("full", Size(2, 2)).tolist() == [0, 1, 2, 3]
    for grid in (Size(20, 20), Size(14, 14), Size(5, 7), Size(1, 3)):
        for pattern in ("full", "1in2", "1in4"):
            params = RGTPParams(k=1, period=2, reset=pattern)
            assert params.on_step(2, grid) == len(reset_tokens(pattern, grid))


# Keep ratios, sampling and reset of the published configurations, and the tokens they leave.
PUBLISHED: list[tuple[str, dict[str, Any], int]] = [
    ("vivit-b-epic", {"keep_rate": 0.75, "background": 0.25}, 325),
    ("vivit-b-epic", {"keep_rate": 0.45, "background": 0.16666}, 217),
    ("vivit-b-epic", {"keep_rate": 0.3, "background": 0.05}, 134),
    ("vivit-b-epic", {"keep_rate": 0.4, "foreground": 0.5, "background": 0.09}, 102),
    ("vivit-b-epic", {"keep_rate": 0.24, "foreground": 0.5, "background": 0.03}, 58),
    ("vivit-b-epic", {"keep_rate": 0.14, "foreground": 0.5, "background": 0.0}, 28),
    ("vivit-b-kinetics", {"keep_rate": 0.49}, 96),
    ("vivit-b-kinetics", {"keep_rate": 0.215}, 42),
    ("vivit-b-kinetics", {"keep_rate": 0.066}, 13),
]


@pytest.mark.parametrize(("name", "params", "kept"), PUBLISHED, ids=str)
def test_tokens_of_the_published_configurations(
    name: str, params: dict[str, Any], kept: int
) -> None:
    arch = ARCHS[name]
    assert RGTPParams.model_validate(params).on_step(1, arch.position_table) == kept


def test_what_does_not_fit_is_refused() -> None:
    detector = ViTArch(
        name="detector", description="", dim=DIM, heads=2, depth=2, patch=PATCH,
        global_blocks=(0, 1), window=GRID, position_table=GRID, relative_table=GRID,
    )  # fmt: skip
    refused = [
        (ARCH, {"rollout": "pooled"}, "rollout pooled is for detectors"),
        (ARCH, {"rollout": "matrix"}, "rollout matrix is for detectors"),
        (ARCH, {"score_threshold": 0.2}, "score_threshold is for boxes, and steps detects none"),
        (detector, {"foreground": 0.5}, "foreground is for models that are read at their class"),
        (detector, {"background": 0.1}, "background is for models that are read at their class"),
        (detector, {"reset": "full"}, "reset is for models that are read at their class"),
    ]
    for arch, given, reason in refused:
        found = unfit(RGTP, RGTPParams.model_validate({"k": 3, **given}), arch)
        assert found is not None and reason in found
    assert unfit(RGTP, RGTPParams(k=3), ARCH) is None
    for name in ("boxes-k", "rgtp+evit", "rgtp+ats"):
        assert "does not know the class-features of steps" in str(unlike(methods.load(name), ARCH))
    with pytest.raises(UsageError, match="k 31 is more than the frame's 30 tokens"):
        make(k=N + 1).plan(RGTPParams(k=N + 1), ARCH, VIEW)
    with pytest.raises(UsageError, match="came before any full one"):
        make(k=3).step(look()[1][None], at(1))
    with pytest.raises(UsageError, match="run one clip at a time"):
        make(k=3).step(look(steps=2), at(0))


def test_results_of_detectors_tell_nothing_of_what_is_dropped() -> None:
    """So that they keep their keys."""
    assert not {"foreground", "background", "reset"} & set(RGTPParams(k=3).told())
    told = make(k=3).params.told()
    assert (told["foreground"], told["background"], told["reset"]) == (1.0, 0.0, "1in2")
    kind: Any = methods.load("rgtp+evit")
    assert not {"foreground", "background", "reset"} & set(kind.params_type.model_fields)
