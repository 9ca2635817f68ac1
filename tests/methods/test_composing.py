"""Combinations: what each half does in them, what their parameters are, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from torch import Tensor

from maskvd_cli.core.errors import MaskvdError, RecipeError, UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import Macs
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.methods.base import (
    ClipView,
    FrameContext,
    FrameTrace,
    Method,
    Params,
    Selection,
    TokenTrace,
)
from maskvd_cli.methods.composing import combined, why_not
from maskvd_cli.methods.evit import EViT
from maskvd_cli.methods.legend import legend
from maskvd_cli.methods.registry import methods
from maskvd_cli.methods.selecting import SelectingMethod
from maskvd_cli.methods.tome import ToMe
from maskvd_cli.recipe.load import load_recipe
from maskvd_cli.work.catalog import catalog
from maskvd_cli.work.plan import tasks_of

GRID, FRAMES = Size(5, 7), 5
INPUT, N = Size(80, 112), 35
PLAIN = ViTArch(
    name="plain", description="", dim=32, heads=4, depth=4, patch=16, global_blocks=(0, 1, 2, 3),
    window=Size(4, 4), position_table=Size(5, 7), relative_table=None, class_token=True,
    final_norm=True,
)  # fmt: skip
WINDOWED = replace(
    PLAIN, name="windowed", global_blocks=(1, 3), relative_table=GRID, class_token=False
)
SCORES = torch.arange(N, dtype=torch.float64)
RECIPE = """\
schema: 1
name: pairs
dataset: {{name: kitti}}
model: {{name: {model}, input: 672x672}}
methods:
  - name: dense
  - {entry}
"""


def backbone_of(arch: ViTArch = PLAIN) -> VisionTransformer:
    torch.manual_seed(0)
    backbone = VisionTransformer(arch).double().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    return backbone


def clip(seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scene = torch.randn(1, N, 32, generator=generator, dtype=torch.float64)
    return [
        scene + 0.3 * torch.randn(1, N, 32, generator=generator, dtype=torch.float64)
        for _ in range(FRAMES)
    ]


def at(index: int) -> FrameContext:
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0]]) if index else None
    return FrameContext(index, INPUT, INPUT, 16, boxes, region_scores=SCORES)


def method_of(name: str, backbone: VisionTransformer, **params: Any) -> Any:
    kind = methods.load(name)
    return kind(kind.params_type.model_validate(params), backbone)


CHOSEN = {"period": 4, "static_keep_rate": 0.4}


@pytest.mark.parametrize(
    ("second", "params"),
    [("tome", {"r": 2}), ("ats", {"fraction": 0.8}), ("evit", {"drop_blocks": [1]})],
)
def test_chosen_tokens_run_and_others_keep_what_they_had(
    second: str, params: dict[str, Any]
) -> None:
    backbone, frames = backbone_of(), clip()
    whole = method_of(f"maskvd+{second}", backbone, **CHOSEN, **params)
    choosing = method_of("maskvd", backbone, **CHOSEN)
    running = method_of(second, backbone, **params)
    before = None
    for index, frame in enumerate(frames):
        kept = choosing.select(at(index)).kept
        found = whole.step(frame, at(index))
        if kept.all():
            expected = backbone(frame, GRID)
        else:
            assert before is not None
            mask = kept.nonzero().squeeze(1)
            expected = running.reduced(frame, GRID, mask).onto(before)
            assert torch.equal(expected[:, ~kept], before[:, ~kept])
            changed = (expected != before).any(-1)[0]
            # Of dropped tokens the last value stays; merged ones have a new one.
            assert int(changed.sum()) == int(kept.sum()) or second != "tome"
            assert bool(changed.any())
            assert torch.equal(whole.trace.selected["mask"], mask)
            assert sum(whole.trace.shares.values()) == pytest.approx(1.0)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
        before = found.clone()


@pytest.mark.parametrize("arch", [PLAIN, WINDOWED])
def test_gates_ask_chosen_tokens_alone(arch: ViTArch) -> None:
    backbone, frames = backbone_of(arch), clip()
    whole = method_of("maskvd+eventful", backbone, **CHOSEN, r=9)
    choosing = method_of("maskvd", backbone, **CHOSEN)
    for index, frame in enumerate(frames):
        found, kept = whole.step(frame, at(index)), choosing.select(at(index)).kept
        if kept.all():
            torch.testing.assert_close(found, backbone(frame, GRID), rtol=0, atol=1e-9)
            continue
        allowed = {*range(arch.lead), *(kept.nonzero().squeeze(1) + arch.lead).tolist()}
        for chosen in whole.trace.selected.values():
            assert set(chosen[0].tolist()) <= allowed
            assert chosen.shape[1] == 9
    # With all of them through every gate, it is gates that wait for the mask: r is no bound.
    free = method_of("maskvd+eventful", backbone, **CHOSEN, r=N)
    for index, frame in enumerate(frames):
        free.step(frame, at(index))
        kept = choosing.select(at(index)).kept
        assert free.trace.selected["blocks.0.qkv"].shape[1] == int(kept.sum()) + arch.lead


def test_what_gates_left_out_comes_through_once_it_is_chosen() -> None:
    """A token that moved outside the mask still differs from its reference two frames later."""
    backbone, scene = backbone_of(), clip()[0]
    moved = scene.clone()
    moved[:, 20] = clip(seed=9)[0][:, 20]
    running: Any = method_of("eventful", backbone, policy="threshold", threshold=0.01)
    everything = torch.ones(N, dtype=torch.bool)
    some = everything.clone()
    some[20] = False
    running.compute_chosen(scene, at(0), everything)
    still, trace = running.compute_chosen(moved, at(1), some)
    assert trace.selected["blocks.0.qkv"].numel() == 0
    # What moved is added to the outputs that gates kept, and reaches no other token.
    dense = backbone(scene, GRID)
    torch.testing.assert_close(still[:, some], dense[:, some], rtol=0, atol=1e-9)
    assert not torch.allclose(still[:, 20], dense[:, 20])
    # Any mask but the full one, which would begin anew.
    other = everything.clone()
    other[0] = False
    _, trace = running.compute_chosen(moved, at(2), other)
    assert trace.selected["blocks.0.qkv"][0].tolist() == [21]


def test_gates_with_everything_through_are_the_sampling_method_alone() -> None:
    """Rows of slots are updated whole then, whoever stood there before."""
    backbone, frames = backbone_of(), clip()
    whole = method_of("eventful+ats", backbone, r=N + 1, ats_fraction=0.7)
    alone = method_of("ats", backbone, fraction=0.7)
    lists = []
    for index, frame in enumerate(frames):
        found = whole.step(frame, at(index))
        torch.testing.assert_close(found, alone.step(frame, at(index)), rtol=0, atol=1e-9)
        lists.append(whole.trace.selected["blocks.3.mlp"].tolist())
    # Other tokens stay from frame to frame, so that slots change hands.
    assert len({tuple(one[0]) for one in lists}) > 1


def test_few_tokens_through_slots_differ_and_stay_finite() -> None:
    backbone, frames = backbone_of(), clip()
    whole = method_of("eventful+ats", backbone, r=5, ats_fraction=0.7)
    alone = method_of("ats", backbone, fraction=0.7)
    found = [whole.step(frame, at(index)) for index, frame in enumerate(frames)]
    exact = [alone.step(frame, at(index)) for index, frame in enumerate(frames)]
    assert torch.equal(found[0], exact[0]) or torch.allclose(found[0], exact[0])
    assert not torch.allclose(found[2], exact[2])
    assert all(bool(frame.isfinite().all()) for frame in found)


class KeenParams(Params):
    """How many tokens."""

    k: int = Field(default=6, ge=1, description="tokens of a masked frame")
    # EViT's is another one.
    keep_rate: float = Field(default=0.5, description="told, and unused")


class Keen(SelectingMethod[KeenParams]):
    """The tokens that got most attention in the frame before: what a selection may need, at once.

    It sees patches, watches attention, learns from a frame that ran, and keeps something.
    """

    name, description, paper = "keen", "", ""
    params_type = KeenParams
    naming = ("k",)
    watches = True
    seen: ClassVar[list[tuple[int, tuple[int, ...], list[int]]]] = []

    def __init__(self, params: KeenParams, backbone: VisionTransformer) -> None:
        super().__init__(params, backbone)
        self.votes: Tensor | None = None
        self.ran: list[float] = []

    def chosen(self, tokens: Tensor, frame: FrameContext) -> Tensor:
        assert tokens.shape == (1, N, 32)
        if self.votes is None:
            return torch.ones(N, dtype=torch.bool)
        kept = torch.zeros(N, dtype=torch.bool)
        kept[self.votes.argsort(descending=True)[: self.params.k]] = True
        return kept

    def watch(self, number: int, weights: Tensor, index: Tensor) -> None:
        self.seen.append((number, tuple(weights.shape), index.tolist()))
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]).double())
        if self.votes is None:
            self.votes = torch.zeros(N, dtype=weights.dtype)
        # Fused tokens have no place.
        got, placed = weights.mean((0, 1, 2))[self.backbone.arch.lead :], index < N
        self.votes[index[placed]] = got[placed]

    def passed(self, tokens: Tensor, frame: FrameContext, trace: FrameTrace) -> None:
        self.ran.append(trace.tokens)

    def remembered(self) -> Iterable[Tensor]:
        if self.votes is not None:
            yield self.votes

    @classmethod
    def remembered_bytes(cls, params: KeenParams, arch: ViTArch, grid: Size) -> int:
        return 4 * grid.area

    @classmethod
    def choosing_macs(
        cls, arch: ViTArch, grid: Size, params: KeenParams, trace: TokenTrace
    ) -> Macs:
        return Macs(7, 9)

    @classmethod
    def entering(cls, params: KeenParams, view: ClipView) -> NDArray[np.int64]:
        return np.array([view.tokens, *[params.k] * (view.frames - 1)], dtype=np.int64)

    def forget(self) -> None:
        self.votes = None

    def compute(
        self, tokens: Tensor, frame: FrameContext, selection: Selection
    ) -> tuple[Tensor, FrameTrace]:
        raise NotImplementedError

    def state(self) -> Iterable[Tensor]:
        return ()


@pytest.mark.parametrize(
    ("second", "params"),
    [
        ("evit", {"drop_blocks": [1, 2], "evit_keep_rate": 0.5}),
        ("evit", {"drop_blocks": [1], "fuse": True}),
        ("ats", {"fraction": 0.7}),
        ("ats", {"fraction": 0.7, "score": "row", "blocks": [2]}),
    ],
)
def test_a_selection_sees_patches_attention_and_frames_that_ran(
    second: str, params: dict[str, Any]
) -> None:
    kind: type[Method[Any]] = combined(Keen, methods.load(second))
    backbone, frames = backbone_of(), clip()
    method: Any = kind(kind.params_type.model_validate({"k": 11, **params}), backbone)
    unwatched: Any = method_of(
        second, backbone, **{name.removeprefix("evit_"): value for name, value in params.items()}
    )
    Keen.seen.clear()
    before, traces, counted = torch.zeros(()), [], []
    for index, frame in enumerate(frames):
        kept = method.selecting.chosen(frame, at(index))
        with MacCounter() as counter:
            found = method.step(frame, at(index))
        counted.append(counter.macs + 7)
        traces.append(method.trace)
        if index:
            mask = kept.nonzero().squeeze(1)
            expected = unwatched.reduced(frame, GRID, mask).onto(before)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
        before = found.clone()
    assert [number for number, _, _ in Keen.seen] == [0, 1, 2, 3] * FRAMES
    assert {len(index) for number, _, index in Keen.seen if number == 0} == {N, 11}
    assert all(shape == (1, 4, len(at_) + 1, len(at_) + 1) for _, shape, at_ in Keen.seen)
    assert method.selecting.ran == [trace.tokens for trace in traces]
    trace = TokenTrace.of(traces)
    macs = kind.macs(PLAIN, GRID, method.params, trace)
    assert macs is not None
    assert np.asarray(macs.matrix).tolist() == counted
    planned = kind.plan(method.params, PLAIN, ClipView(FRAMES, INPUT, 16))
    assert planned is not None
    assert planned.tokens.tolist() == pytest.approx(trace.tokens.tolist())
    # In double precision here, in single where it is planned.
    assert method.state_bytes() == 8 * (N * 32 + N)
    assert kind.planned_state_bytes(PLAIN, GRID, method.params) == 4 * (N * 32 + N)
    method.reset()
    assert method.state_bytes() == 0


def test_who_shows_no_attention_is_no_second_half_of_who_watches() -> None:
    assert why_not(Keen, ToMe) == (
        "keen watches the attention of whole blocks, and tome shows none"
    )
    assert why_not(Keen, methods.load("eventful")) is not None
    assert why_not(Keen, EViT) is None


def test_parameters_of_both_are_checked_by_their_own_halves() -> None:
    kind = methods.load("random+evit").params_type
    made: Any = kind.model_validate(
        {"keep_rate": 0.5, "evit_keep_rate": 0.9, "drop_blocks": [3, 1]}
    )
    assert (made.keep_rate, made.evit_keep_rate, made.drop_blocks) == (0.5, 0.9, (1, 3))
    for given, message in (
        ({"evit_keep_rate": 1.5}, "evit_keep_rate"),
        ({"drop_blocks": [3, 3]}, "stands there twice"),
        ({"version": "C"}, "version"),
        ({"fraction": 0.5}, "fraction"),
    ):
        with pytest.raises(ValidationError, match=message):
            kind.model_validate(given)
    kind = methods.load("maskvd+eventful").params_type
    with pytest.raises(ValidationError, match="policy top_r takes r alone, which is missing"):
        kind.model_validate({})
    made = kind.model_validate({"mask": "dynamic", "r": 3})
    assert (made.static_keep_rate, made.r) == (0.0, 3)
    with pytest.raises(ValidationError, match="mask: dynamic has no static mask"):
        kind.model_validate({"mask": "dynamic", "static_keep_rate": 0.5, "r": 3})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dense+evit", "dense does not choose tokens before a frame runs; use one of "),
        (
            "maskvd+dense",
            "dense cannot run tokens that another method chose; use one of maskvd+ats",
        ),
        ("eventful+tome", "tome keeps no tokens in slots; use one of boxes-k+eventful"),
        ("stgt+ats", "stgt updates no attention weights"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        methods.load(name)
    assert f"{name} is no method: " in str(caught.value)
    assert reason in str(caught.value)


def test_names_of_unknown_halves_are_unknown() -> None:
    for name in ("maskvd+evti", "maskvd+evit+tome", "+", "maskvd+"):
        assert not methods.knows(name)
        with pytest.raises(MaskvdError, match="unknown method"):
            methods.load(name)
    assert methods.knows("maskvd+tome")
    assert methods.load("maskvd+tome") is methods.load("maskvd+tome")


def loaded(folder: Path, entry: str, model: str = "vitdet-b-global") -> list[Any]:
    file = folder / "pairs.yaml"
    file.write_text(RECIPE.format(entry=entry, model=model))
    return tasks_of(load_recipe(file, catalog()))


def test_recipes_name_them(tmp_path: Path) -> None:
    entry = "{name: random+evit, keep_rate: [0.5, 0.3], evit_keep_rate: 0.9}"
    tasks = loaded(tmp_path, entry)
    assert [task.label for task in tasks[1:]] == [
        "random+evit period=8 keep_rate=0.5 evit_keep_rate=0.9",
        "random+evit period=8 keep_rate=0.3 evit_keep_rate=0.9",
    ]
    told = legend("random+evit")
    assert (told.role, told.columns) == ("control", {"period": "P"})
    assert legend("maskvd+tome").role == "method"
    (_, gates) = loaded(tmp_path, "{name: maskvd+eventful, r: 256}", "vitdet-b")
    assert gates.label == "maskvd+eventful period=8 static_keep_rate=0.1 r=256"


@pytest.mark.parametrize(
    ("entry", "model", "problem"),
    [
        ("{name: dense+evit}", "vitdet-b", ":7:6 methods.1.name: dense+evit is no method: dense"),
        ("{name: maskvd+evti}", "vitdet-b", ":7:6 methods.1.name: unknown method 'maskvd+evti'"),
        ("{name: maskvd+tome, q: 1}", "vitdet-b", ":7:25 methods.1.q: unknown key"),
        ("{name: maskvd+tome, r: [1, 1]}", "vitdet-b-global", "the grid names a point twice"),
        ("{name: maskvd+tome}", "vitdet-b", "merges equally many tokens in every window, and "
         "those of vitdet-b would hold different numbers of chosen ones; use vitdet-b-global"),
        ("{name: maskvd+ats}", "vitdet-b", "drops tokens, and the windows of vitdet-b need all"),
        ("{name: eventful+ats, r: 9}", "vitdet-b", "each window of vitdet-b would need its own"),
        ("{name: eventful+ats, r: 9, score: row}", "vitdet-b-global", "choose score column"),
        ("{name: eventful+ats, r: 9, update: tokenwise}", "vitdet-b-global", "update full or qk"),
    ],
)  # fmt: skip
def test_mistakes_in_recipes_have_their_place(
    entry: str, model: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path, entry, model)
    assert problem in str(caught.value)


def test_revisions_of_both_halves_count() -> None:
    maskvd, tome = methods.load("maskvd"), methods.load("tome")
    assert methods.load("maskvd+tome").revision == maskvd.revision + tome.revision - 1
    # The published pair is its own method, and keeps the keys that it has.
    assert methods.load("maskvd+evit").revision == 1
    assert list(methods.load("maskvd+evit").params_type.model_fields) == [
        "version", "period", "mask", "static_keep_rate", "score_threshold", "margin", "keep_rate",
        "drop_blocks",
    ]  # fmt: skip
