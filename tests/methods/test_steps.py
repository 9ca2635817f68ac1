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
from maskvd_cli.families.vivit.archs import ARCHS, vivit
from maskvd_cli.families.vivit.transformer import ClassTransformer
from maskvd_cli.methods.base import ClipView, FrameContext, TokenTrace
from maskvd_cli.methods.eventful import Eventful, EventfulParams
from maskvd_cli.methods.fit import unlike
from maskvd_cli.methods.registry import methods

GRID, INPUT, N, FRAMES = Size(4, 6), Size(64, 96), 24, 4
ARCH = vivit(
    "steps", "", dim=32, heads=4, depth=3, temporal_depth=1, patch=16, table=GRID, looks=Looks(2)
)
SOME: list[tuple[str, dict[str, Any]]] = [
    ("evit", {"keep_rate": 0.6, "drop_blocks": [1]}),
    ("ats", {"fraction": 0.7}),
    ("ats", {"fraction": 0.7, "score": "row", "blocks": [0, 2]}),
    ("tome", {"r": 3}),
    ("eventful+ats", {"r": 9, "ats_fraction": 0.7}),
    # The configuration of Eventful Transformers for its two halves together.
    ("eventful+ats", {"policy": "top_fraction", "fraction": 0.5, "ats_fraction": 0.9}),
    ("eventful+ats", {"r": 9, "update": "qk", "gate": "before_ln", "ats_fraction": 0.7}),
]
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


def clip(seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scene = torch.randn(1, N, 32, generator=generator, dtype=torch.float64)
    noise = torch.randn(FRAMES, 1, N, 32, generator=generator, dtype=torch.float64)
    return [scene + 0.3 * part for part in noise]


def at(index: int) -> FrameContext:
    return FrameContext(index, INPUT, INPUT, 16)


def made(name: str, params: dict[str, Any]) -> Any:
    kind = methods.load(name)
    return kind(kind.params_type.model_validate(params), backbone())


@pytest.mark.parametrize(("name", "params"), SOME, ids=str)
def test_class_tokens_come_out_and_costs_are_those_that_are_counted(
    name: str, params: dict[str, Any]
) -> None:
    method = made(name, params)
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
    # In float64, indices of 8 bytes apart.
    slots = sum(part.numel() * 8 for part in method.state() if part.dtype == torch.int64)
    bytes_ = method.planned_state_bytes(ARCH, GRID, method.params)
    assert method.state_bytes() - slots == 2 * (bytes_ - slots)


@pytest.mark.parametrize("name", EVERYTHING)
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


class Literally:
    """ATS with or without gates, as the specification words both, on lists of token numbers."""

    def __init__(self, method: Any, *, top: float | None) -> None:
        self.backbone, self.top = method.backbone, top
        self.share = 0.7
        self.kept: dict[str, Tensor] = {}
        self.lists: dict[int, list[int]] = {}

    def step(self, tokens: Tensor) -> tuple[Tensor, list[list[int]]]:
        """Return the class token's features (D,), and which tokens stand in each block's slots."""
        x = self.backbone.with_class_token(tokens + self.backbone.positions_on(GRID))[0]
        standing, left = list(range(N + 1)), list[list[int]]()
        for number, block in enumerate(self.backbone.blocks):
            qkv, moved = self.gate(f"{number}.qkv", block.norm1(x), block.qkv)
            query, key, value = (part[0] for part in block.split(qkv[None]))
            logits = self.logits(number, query * query.shape[-1] ** -0.5, key, moved)
            weights = logits.softmax(-1)
            chosen = self.chosen(number, weights[:, :, 0], value)
            output = self.product(number, weights[:, chosen], value, moved)
            merged = block.merge(output[None])[0]
            x = x[chosen] + self.gate(f"{number}.projection", merged, block.projection)[0]
            x = x + self.gate(f"{number}.mlp", block.norm2(x), block.mlp)[0]
            standing = [standing[place] for place in chosen]
            left.append(standing)
        return self.backbone.finish(x[None])[0, 0], left

    def gate(self, name: str, rows: Tensor, layer: Any) -> tuple[Tensor, list[int]]:
        every = list(range(len(rows)))
        if self.top is None or f"{name}.p" not in self.kept:
            self.kept |= {f"{name}.p": rows.clone(), f"{name}.b": layer(rows)}
            return self.kept[f"{name}.b"].clone(), every
        error = (rows - self.kept[f"{name}.p"]).norm(dim=-1).tolist()
        index = sorted(every, key=lambda place: -error[place])[: int(self.top * len(every))]
        self.kept[f"{name}.p"][index] = rows[index]
        self.kept[f"{name}.b"][index] = layer(rows[index])
        return self.kept[f"{name}.b"].clone(), sorted(index)

    def logits(self, number: int, query: Tensor, key: Tensor, moved: list[int]) -> Tensor:
        fresh = query @ key.mT
        kept = self.kept.setdefault(f"{number}.S", fresh.clone())
        kept[:, moved], kept[:, :, moved] = fresh[:, moved], fresh[:, :, moved]
        return kept

    def chosen(self, number: int, to_class: Tensor, value: Tensor) -> list[int]:
        """Return which places of a block stay, slot by slot, the class token first."""
        scores = torch.zeros(to_class.shape[1] - 1, dtype=torch.float64)
        for attention, values in zip(to_class[:, 1:], value[:, 1:], strict=True):
            weighted = attention * values.norm(dim=-1)
            scores += weighted / weighted.sum()
        count = int(self.share * len(scores))
        best = sorted(sorted(range(len(scores)), key=lambda place: -float(scores[place]))[:count])
        before = self.lists.get(number, best)
        newcomers = [place for place in best if place not in before]
        self.lists[number] = [p if p in best else newcomers.pop(0) for p in before]
        return [0, *(place + 1 for place in self.lists[number])]

    def product(self, number: int, rows: Tensor, value: Tensor, moved: list[int]) -> Tensor:
        if self.top is None or f"{number}.O" not in self.kept:
            self.kept |= {f"{number}.A": rows.clone(), f"{number}.v": value.clone()}
            self.kept[f"{number}.O"] = rows @ value
        for place in moved:
            before = self.kept[f"{number}.v"][:, place].clone()
            column = self.kept[f"{number}.A"][:, :, place].clone()
            change = value[:, place] - before
            self.kept[f"{number}.O"] += rows[:, :, place, None] * change[:, None]
            self.kept[f"{number}.O"] += (rows[:, :, place] - column)[..., None] * before[:, None]
            self.kept[f"{number}.A"][:, :, place] = rows[:, :, place]
            self.kept[f"{number}.v"][:, place] = value[:, place]
        return self.kept[f"{number}.O"]


@pytest.mark.parametrize("top", [None, 0.5])
def test_slots_and_gates_on_steps_are_what_the_definition_says(top: float | None) -> None:
    """Alone, and with the 50 % of the tokens through gates that moved most."""
    if top is None:
        method = made("ats", {"fraction": 0.7})
    else:
        method = made(
            "eventful+ats", {"policy": "top_fraction", "fraction": top, "ats_fraction": 0.7}
        )
    standing: list[list[int]] = []
    for look in range(2):
        literally = Literally(method, top=top)
        method.reset()
        for index, step in enumerate(clip(seed=1 + look)):
            found = method.step(step, at(index))
            features, standing = literally.step(step)
            torch.testing.assert_close(found[0, 0], features, rtol=0, atol=1e-10)
            assert method.trace is not None
            name = "blocks.2.kept" if top is None else "blocks.1.mlp"
            chosen = method.trace.selected[name].flatten().tolist()
            if top is None:
                assert chosen == sorted(place - 1 for place in standing[2] if place)
            else:
                assert set(chosen) <= set(standing[1])
    assert [len(places) for places in standing] == [17, 12, 8]


def test_so_many_tokens_stay_in_each_block_of_the_published_model() -> None:
    """k = int(f (N - 1)) + 1 of N tokens, class token counted, from block to block."""
    kind: Any = methods.load("ats")
    arch = ARCHS["vivit-b-epic"]
    params = kind.resolve(kind.params_type(), arch)
    assert (params.fraction, params.score) == (0.9, "column")
    expected, tokens = [], 401
    for _ in range(12):
        tokens = int(0.9 * (tokens - 1)) + 1
        expected.append(tokens - 1)
    assert expected[:3] == [360, 324, 291]
    trace = kind.plan(params, arch, ClipView(16, Size(320, 320), 16))
    assert trace.tokens.tolist() == pytest.approx([sum(expected) / 12] * 16)
    both: Any = methods.load("eventful+ats")
    given = {"policy": "top_fraction", "fraction": 0.5, "ats_fraction": 0.9}
    params = both.resolve(both.params_type.model_validate(given), arch)
    planned = both.plan(params, arch, ClipView(16, Size(320, 320), 16))
    entering = [401, *(tokens + 1 for tokens in expected[:-1])]
    assert planned.counts["qkv"][0] == sum(entering)
    assert planned.counts["qkv"][1] == sum(tokens // 2 for tokens in entering)
    assert planned.counts["mlp"][1] == sum((tokens + 1) // 2 for tokens in expected)
