"""What every registered method promises, run for each on small backbones with random weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.lwdetr.archs import lwdetr
from maskvd_cli.families.owlv2.archs import Owlv2Arch, owlv2
from maskvd_cli.families.owlv2.transformer import ProductTransformer
from maskvd_cli.families.rfdetr.archs import QueryArch
from maskvd_cli.families.rfdetr.backbone import TappedTransformer
from maskvd_cli.families.yolos.archs import YolosArch, yolos
from maskvd_cli.families.yolos.transformer import DetectionTransformer
from maskvd_cli.masks.padding import real_tokens
from maskvd_cli.methods.base import ClipView, FrameContext, Method, Params, TokenTrace
from maskvd_cli.methods.registry import methods

PATCH, DIM, FRAMES = 4, 16, 5
WINDOWED = ViTArch(
    name="windowed", description="", dim=DIM, heads=2, depth=4, patch=PATCH, global_blocks=(1, 3),
    window=Size(4, 3), position_table=Size(5, 5), relative_table=Size(6, 8),
)  # fmt: skip
PLAIN = replace(
    WINDOWED, name="plain", global_blocks=(0, 1, 2, 3), relative_table=None, class_token=True,
    final_norm=True,
)  # fmt: skip
RELATIVE = replace(PLAIN, name="relative", relative_table=Size(6, 8), class_token=False)
DETECTING = yolos(
    "detecting", "", dim=DIM, heads=2, depth=4, patch=PATCH, table=Size(5, 5), detections=3,
    mid_positions=True,
)  # fmt: skip
OPEN = owlv2(
    "open", "", dim=DIM, heads=2, depth=4, patch=PATCH, table=Size(5, 5), query_dim=8,
)  # fmt: skip
GRID = Size(6, 8)
INPUT = Size(GRID.rows * PATCH, GRID.cols * PATCH)
CONTENT = Size(18, 30)
N = GRID.area


@dataclass(frozen=True)
class Case:
    """A method with parameters that skip something, and with ones that keep everything."""

    method: str
    some: dict[str, Any]
    everything: dict[str, Any] | None
    archs: tuple[ViTArch, ...] = (WINDOWED,)
    fixed_counts: bool = True

    def __str__(self) -> str:
        told = "-".join(f"{key}={value}" for key, value in self.some.items())
        return f"{self.method}-{told}" if told else self.method


# Equal windows of the grid, each with its class token, and features of three depths.
TAPPED = QueryArch(
    name="tapped", description="", dim=DIM, heads=2, depth=4, patch=PATCH, global_blocks=(1, 3),
    window=Size(2, 3), position_table=Size(4, 6), relative_table=None, final_norm=True,
    read_after=(1, 3, 4),
)  # fmt: skip
# The same without class tokens and without a norm before features are read.
PARTED = lwdetr(
    "parted", "", dim=DIM, heads=2, taps=(1, 3, 4), global_blocks=(1, 3), patch=PATCH, side=4,
    table=Size(5, 5), windows_a_side=2,
)  # fmt: skip
BOTH = (WINDOWED, PLAIN)
MASKABLE = (*BOTH, TAPPED)
GLOBAL = (PLAIN, RELATIVE)
SELECTING = {"selector": "random", "blocks": [1, 2, 3], "seed": 3}
# Seed 3 keeps some tokens and leaves some out, and cuts through no tie.
MAPPING = {"selector": "random", "blocks": [2, 3], "deep_block": 2, "seed": 3}
KEEP_ALL, NOISE = {"bias": 1e6}, {"noise": True, "seed": 5}
MASKED = {"period": 3}
ALL_TOKENS = {"period": 3, "static_keep_rate": 1.0}
CASES = (
    Case("dense", {}, {}, MASKABLE),
    Case("dense", {"pool": 2}, None),
    Case("dense-unpadded", {}, None, BOTH),
    Case("maskvd", MASKED | {"static_keep_rate": 0.2}, ALL_TOKENS, MASKABLE),
    Case("maskvd", MASKED | {"version": "T", "static_keep_rate": 0.2}, ALL_TOKENS),
    Case("maskvd", MASKED | {"version": "H", "static_keep_rate": 0.2}, ALL_TOKENS),
    Case("maskvd", MASKED | {"mask": "static", "static_keep_rate": 0.3}, ALL_TOKENS),
    Case("maskvd", MASKED | {"mask": "dynamic", "margin": 2}, {"period": 1}, MASKABLE),
    Case("random", MASKED | {"keep_rate": 0.3}, {"keep_rate": 1.0, "period": 3}, MASKABLE),
    Case("random", MASKED | {"keep_rate": 0.01, "version": "T"}, None),
    # int(0.02 N) is no token at all: masked frames change nothing and cost nothing.
    Case("maskvd", MASKED | {"mask": "static", "static_keep_rate": 0.02}, ALL_TOKENS, MASKABLE),
    Case("oracle", MASKED, {"period": 3, "margin": 16384}, MASKABLE),
    Case("eventful", {"r": 11}, {"r": N}),
    Case("eventful", {"r": 11}, {"r": N + 1}, (PLAIN,)),
    Case("eventful", {"r": 11}, {"r": N + 4}, (TAPPED,)),
    Case(
        "eventful",
        {"policy": "top_fraction", "fraction": 0.3, "gate": "before_ln"},
        {"policy": "top_fraction", "fraction": 1.0, "gate": "before_ln"},
        MASKABLE,
    ),
    # A threshold of 0 lets nothing through that has not moved, so it is not everything.
    Case("eventful", {"policy": "threshold", "threshold": 1.0}, None, BOTH, fixed_counts=False),
    Case("eventful", {"r": 11, "update": "qk"}, {"r": N, "update": "qk"}),
    Case("eventful", {"r": 11, "update": "qk"}, {"r": N + 4, "update": "qk"}, (TAPPED,)),
    Case("eventful", {"r": 11, "update": "tokenwise"}, None, (TAPPED,)),
    Case("eventful", {"r": 11, "update": "tokenwise"}, {"r": N, "update": "tokenwise"}),
    Case("eventful", {"r": 11, "pool": 2}, None, fixed_counts=False),
    Case("eventful", {"r": 11, "av_precision": "half"}, None),
    Case("stgt", {"r": 11}, {"r": N}),
    Case("stgt", {"r": 11, "pool": 2}, None),
    Case("stgt", {"r": 11}, {"r": N + 1}, (PLAIN,)),
    Case("stgt", {"r": 11}, {"r": N + 4}, (TAPPED,)),
    Case(
        "evit",
        {"keep_rate": 0.6, "drop_blocks": [1, 3]},
        {"keep_rate": 1.0, "drop_blocks": [1, 3]},
        (PLAIN,),
    ),
    Case(
        "evit",
        {"keep_rate": 0.6, "drop_blocks": [0, 2], "fuse": True},
        {"keep_rate": 1.0, "drop_blocks": [0, 2], "fuse": True},
        (PLAIN, RELATIVE),
    ),
    Case(
        "evit",
        {"keep_rate": 0.5, "drop_blocks": [2]},
        {"keep_rate": 1.0, "drop_blocks": [2]},
        (RELATIVE,),
    ),
    Case("ats", {"fraction": 0.7}, {"fraction": 1.0}, (PLAIN, RELATIVE)),
    Case("ats", {"fraction": 0.6, "blocks": [1, 3], "score": "row"}, None, (PLAIN, RELATIVE)),
    Case("tome", {"r": 5}, {"r": 0}, (WINDOWED, PLAIN, RELATIVE)),
    Case(
        "tome",
        {"r": 4, "inflection": -0.5, "proportional": False},
        {"r": 0, "proportional": False},
        (WINDOWED, PLAIN, RELATIVE),
    ),
    # More than half of a window cannot merge, so that windows of one token are left.
    Case("tome", {"r": 1000}, None, (WINDOWED, PLAIN)),
    Case(
        "maskvd+evit",
        MASKED | {"static_keep_rate": 0.3, "drop_blocks": [1, 2]},
        ALL_TOKENS | {"drop_blocks": [1, 2]},
        (PLAIN,),
    ),
    Case("rgtp", MASKED | {"k": 11}, MASKED | {"k": N}, (WINDOWED, PLAIN, RELATIVE, TAPPED)),
    Case(
        "rgtp",
        MASKED | {"keep_rate": 0.3, "rollout": "pooled", "radius": 0, "fusion": "mean"},
        MASKED | {"keep_rate": 1.0, "rollout": "pooled"},
        (WINDOWED, RELATIVE),
    ),
    Case(
        "rgtp",
        MASKED | {"k": 5, "rollout": "matrix", "radius": 2},
        MASKED | {"k": N, "rollout": "matrix"},
        BOTH,
    ),
    Case("boxes-k", MASKED | {"k": 11}, MASKED | {"k": N}, (WINDOWED, PLAIN, RELATIVE, TAPPED)),
    Case("svit", SELECTING, SELECTING | KEEP_ALL, GLOBAL, fixed_counts=False),
    Case("svit", SELECTING | NOISE, SELECTING | KEEP_ALL | NOISE, GLOBAL, fixed_counts=False),
    # Nothing is kept: blocks leave all tokens as they are.
    Case("svit", SELECTING | {"bias": -1e6}, None, GLOBAL, fixed_counts=False),
    Case(
        "vpp",
        MAPPING | {"keep_rate": 0.6},
        MAPPING | KEEP_ALL | {"keep_rate": 1.0},
        GLOBAL,
        fixed_counts=False,
    ),
    Case(
        "vpp",
        MAPPING | NOISE | {"keep_rate": 0.3, "map_block": 0, "hidden": 3, "map_hidden": 5},
        MAPPING | NOISE | KEEP_ALL | {"keep_rate": 1.0},
        GLOBAL,
        fixed_counts=False,
    ),
)
# What chooses, with something left out and with nothing; what runs it, where it is not gates.
CHOOSING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "maskvd": (MASKED | {"static_keep_rate": 0.2}, ALL_TOKENS),
    "boxes-k": (MASKED | {"k": 17}, MASKED | {"k": N}),
    "oracle": (MASKED, {"period": 3, "margin": 16384}),
    "random": (MASKED | {"keep_rate": 0.4}, {"keep_rate": 1.0, "period": 3}),
}
# Who also watches attention, which gates and merging do not show.
WATCHING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rgtp": (MASKED | {"k": 17}, MASKED | {"k": N}),
}
REDUCING: dict[str, dict[str, Any]] = {
    "ats": {"fraction": 0.8},
    "evit": {"drop_blocks": [1, 2]},
    "tome": {"r": 2},
}
CASES += tuple(
    Case(f"{first}+{second}", some | params, everything | params, (PLAIN, RELATIVE))
    for second, params in REDUCING.items()
    for first, (some, everything) in (CHOOSING | WATCHING).items()
    if (first, second) not in (("maskvd", "evit"), ("rgtp", "tome"))
)
CASES += tuple(
    Case(f"{first}+{second}", some | {"r": 7}, everything | {"r": N + lead}, (arch,))
    for second in ("eventful", "stgt")
    for first, (some, everything) in CHOOSING.items()
    for arch, lead in ((WINDOWED, 0), (PLAIN, 1))
)
CASES += (
    Case("rgtp+evit", MASKED | {"keep_rate": 0.4, "evit_keep_rate": 0.5, "drop_blocks": [1],
         "fuse": True, "rollout": "pooled", "fusion": "mean"}, None, (RELATIVE,)),
    # Of 11 tokens and the class token, 8, 5, 3 and 2 stay.
    Case("rgtp+ats", MASKED | {"k": 11, "fraction": 0.7, "score": "row", "rollout": "matrix"},
         None, (PLAIN,)),
    Case("random+evit", CHOOSING["random"][0] | {"evit_keep_rate": 0.5, "drop_blocks": [0, 3],
         "fuse": True}, None, (PLAIN, RELATIVE)),
    Case("maskvd+eventful", MASKED | {"static_keep_rate": 0.2, "r": 7}, None, (TAPPED,)),
    Case("maskvd+eventful", ALL_TOKENS | {"policy": "threshold", "threshold": 1.0}, None, BOTH,
         fixed_counts=False),
    Case("maskvd+eventful", MASKED | {"static_keep_rate": 0.2, "policy": "top_fraction",
         "fraction": 0.5, "gate": "before_ln", "update": "qk"}, None, BOTH),
    Case("eventful+ats", {"r": 9, "ats_fraction": 0.7}, {"r": N + 1, "ats_fraction": 1.0},
         (PLAIN,)),
    Case("eventful+ats", {"policy": "top_fraction", "fraction": 0.5, "blocks": [1, 2],
         "update": "qk", "gate": "before_ln"}, None, (PLAIN,)),
    Case("eventful+ats", {"policy": "threshold", "threshold": 1.0, "av_precision": "half"}, None,
         (PLAIN,), fixed_counts=False),
)  # fmt: skip
# Detection tokens always go through gates, beside r of the N + 1 others.
ON_DETECTING: tuple[tuple[str, dict[str, Any], dict[str, Any] | None], ...] = (
    ("dense", {}, {}),
    ("maskvd", MASKED | {"static_keep_rate": 0.2}, ALL_TOKENS),
    ("maskvd", MASKED | {"version": "C", "mask": "dynamic"}, {"period": 1}),
    ("maskvd", MASKED | {"mask": "static", "static_keep_rate": 0.02}, ALL_TOKENS),
    ("random", MASKED | {"keep_rate": 0.3}, {"keep_rate": 1.0, "period": 3}),
    ("oracle", MASKED, {"period": 3, "margin": 16384}),
    ("eventful", {"r": 11}, {"r": N + 1}),
    ("eventful", {"r": 11, "update": "qk"}, {"r": N + 1, "update": "qk"}),
    ("eventful", {"r": 11, "update": "tokenwise"}, {"r": N + 1, "update": "tokenwise"}),
    ("eventful", {"policy": "top_fraction", "fraction": 0.3, "gate": "before_ln"},
     {"policy": "top_fraction", "fraction": 1.0, "gate": "before_ln"}),
    ("eventful", {"policy": "threshold", "threshold": 1.0}, None),
    ("stgt", {"r": 11}, {"r": N + 1}),
    ("rgtp", MASKED | {"k": 11}, MASKED | {"k": N}),
    ("rgtp", MASKED | {"k": 5, "rollout": "matrix", "radius": 2}, None),
    ("boxes-k", MASKED | {"k": 11}, MASKED | {"k": N}),
    *((f"{first}+{second}", some | {"r": 7}, everything | {"r": N + 1})
      for second in ("eventful", "stgt") for first, (some, everything) in CHOOSING.items()),
)  # fmt: skip
CASES += (
    Case("svit", SELECTING, SELECTING | KEEP_ALL, (DETECTING,), fixed_counts=False),
    Case("svit", SELECTING | {"bias": -1e6}, None, (DETECTING,), fixed_counts=False),
    Case("vpp", MAPPING | {"keep_rate": 0.6}, MAPPING | KEEP_ALL | {"keep_rate": 1.0},
         (DETECTING,), fixed_counts=False),
)  # fmt: skip
CASES += tuple(
    Case(method, some, everything, (DETECTING,), fixed_counts=some.get("policy") != "threshold")
    for method, some, everything in ON_DETECTING
)
# Each window loses equally many tokens of its own; detection tokens are never lost.
GROUPED = (TAPPED, DETECTING)
CASES += (
    Case("evit", {"keep_rate": 0.6, "drop_blocks": [1, 2]}, {"keep_rate": 1.0, "drop_blocks": [1]},
         GROUPED),
    Case("evit", {"keep_rate": 0.5, "drop_blocks": [0, 1], "fuse": True}, None, GROUPED),
    Case("ats", {"fraction": 0.7}, {"fraction": 1.0}, GROUPED),
    Case("ats", {"fraction": 0.6, "blocks": [1, 2], "score": "row"}, None, GROUPED),
    Case("tome", {"r": 2}, {"r": 0}, GROUPED),
    Case("tome", {"r": 1000, "proportional": False}, None, (TAPPED,)),
)  # fmt: skip
# Features are products with a class token: one case of each method that knows class tokens.
CASES += tuple(
    replace(case, archs=(OPEN,))
    for number, case in enumerate(CASES)
    if PLAIN in case.archs
    and all(PLAIN not in other.archs or other.method != case.method for other in CASES[:number])
)
# One case of each way to run windows.
CASES += tuple(
    Case(method, some, everything, (PARTED,), fixed_counts=some.get("pool") is None)
    for method, some, everything in (
        ("dense", {}, {}),
        ("maskvd", MASKED | {"static_keep_rate": 0.2}, ALL_TOKENS),
        ("maskvd", MASKED | {"version": "T", "static_keep_rate": 0.2}, ALL_TOKENS),
        ("maskvd", MASKED | {"version": "H", "static_keep_rate": 0.2}, ALL_TOKENS),
        ("maskvd", MASKED | {"mask": "static", "static_keep_rate": 0.02}, ALL_TOKENS),
        ("eventful", {"r": 11, "gate": "before_ln"}, {"r": N, "gate": "before_ln"}),
        ("eventful", {"r": 11, "pool": 2}, None),
        ("stgt", {"r": 11}, {"r": N}),
        ("rgtp", MASKED | {"k": 11}, MASKED | {"k": N}),
        ("boxes-k", MASKED | {"k": 11}, MASKED | {"k": N}),
        ("maskvd+eventful", MASKED | {"static_keep_rate": 0.2, "r": 7}, None),
        ("evit", {"keep_rate": 0.6, "drop_blocks": [1, 2]},
         {"keep_rate": 1.0, "drop_blocks": [1, 2]}),
        ("ats", {"fraction": 0.7}, {"fraction": 1.0}),
        ("tome", {"r": 5}, {"r": 0}),
    )
)  # fmt: skip
PAIRS = [
    pytest.param(case, arch, id=f"{case}-{arch.name}") for case in CASES for arch in case.archs
]


def backbone(arch: ViTArch) -> VisionTransformer:
    torch.manual_seed(3)
    made = _of_its_kind(arch).double().eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.2 * noise)
    return made


def _of_its_kind(arch: ViTArch) -> VisionTransformer:
    if isinstance(arch, YolosArch):
        return DetectionTransformer(arch)
    if isinstance(arch, QueryArch):
        return TappedTransformer(arch)
    return ProductTransformer(arch) if isinstance(arch, Owlv2Arch) else VisionTransformer(arch)


def clip(seed: int = 0, frames: int = FRAMES) -> Tensor:
    """Return the embedded patches of a clip, (frames, N, D): small changes on a fixed scene."""
    generator = torch.Generator().manual_seed(seed)
    scene = torch.randn(1, N, DIM, generator=generator, dtype=torch.float64)
    change = torch.randn(frames, N, DIM, generator=generator, dtype=torch.float64)
    return scene + 0.3 * change * (torch.rand(frames, N, 1, generator=generator) < 0.5)


BOXES = [
    torch.tensor([[0, 0, 5, 9], [12, 8, 20, 15]], dtype=torch.float64),
    torch.tensor([[1, 1, 6, 10]], dtype=torch.float64),
    torch.tensor([[8, 2, 11, 7], [3, 9, 21, 16]], dtype=torch.float64),
    torch.tensor([[2, 2, 4, 3]], dtype=torch.float64),
    torch.tensor([[16, 0, 30, 4]], dtype=torch.float64),
]
SCORES = torch.rand(N, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def context(index: int, content: Size = CONTENT) -> FrameContext:
    before = BOXES[index - 1] if index else None
    return FrameContext(
        index=index, input=INPUT, content=content, patch=PATCH, boxes=before,
        scores=None if before is None else torch.ones(len(before)), region_scores=SCORES,
        truth=BOXES[index],
    )  # fmt: skip


def view() -> ClipView:
    return ClipView(
        frames=FRAMES, input=INPUT, patch=PATCH, boxes=torch.cat(BOXES),
        frame_of=torch.repeat_interleave(
            torch.arange(FRAMES), torch.tensor([len(boxes) for boxes in BOXES])
        ),
        region_scores=SCORES, real=real_tokens(CONTENT, INPUT, PATCH),
    )  # fmt: skip


def make(case: Case, arch: ViTArch, *, everything: bool = False, low: torch.dtype | None = None,
         on: VisionTransformer | None = None) -> Method[Any]:  # fmt: skip
    kind = methods.load(case.method)
    given = case.everything if everything else case.some
    assert given is not None
    weights = on or backbone(arch)
    return kind(params_of(kind, given), weights.to(low) if low else weights)


def params_of(kind: type[Method[Params]], given: dict[str, Any]) -> Params:
    return kind.params_type.model_validate(given)


def run(method: Method[Any], frames: Iterable[Tensor], content: Size = CONTENT) -> list[Tensor]:
    """Run a clip from its start; frames are (B, N, D) or (N, D)."""
    method.reset()
    with torch.inference_mode():
        return [
            method.step(frame if frame.dim() == 3 else frame[None], context(index, content))
            for index, frame in enumerate(frames)
        ]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.allclose(a, b, atol=1e-9) for a, b in zip(one, other, strict=True))


def test_every_method_and_every_combination_is_here() -> None:
    assert {case.method for case in CASES} == {*methods.names(), *methods.pairs()}


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_keeping_everything_equals_dense_on_every_frame(case: Case, arch: ViTArch) -> None:
    if case.method == "dense-unpadded":
        case = replace(case, everything={})
    if case.everything is None:
        pytest.skip("these parameters always leave something out")
    weights, frames = backbone(arch), clip()
    found = run(make(case, arch, everything=True, on=weights), frames, INPUT)
    with torch.inference_mode():
        dense = [weights(frame[None], GRID) for frame in frames]
    assert same(found, dense)


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_repeating_a_frame_changes_nothing_where_promised(case: Case, arch: ViTArch) -> None:
    method = make(case, arch)
    repeated = [clip()[0]] * FRAMES
    found = run(method, repeated)
    if method.constant_on_repeats(method.params):
        assert same(found, [found[0]] * FRAMES)
    elif method.trace is not None and method.trace.tokens > 0:
        assert not same(found, [found[0]] * FRAMES)


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_reset_forgets_the_clip(case: Case, arch: ViTArch) -> None:
    method = make(case, arch)
    run(method, clip(seed=1))
    assert same(run(method, clip(seed=2)), run(make(case, arch), clip(seed=2)))


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_clips_do_not_leak_into_each_other(case: Case, arch: ViTArch) -> None:
    """Two methods on one backbone, their clips interleaved, against each alone."""
    weights = backbone(arch)
    pair = [make(case, arch, on=weights), make(case, arch, on=weights)]
    clips = [clip(seed=1), clip(seed=2)]
    found: list[list[Tensor]] = [[], []]
    with torch.inference_mode():
        for index in range(FRAMES):
            for which in (0, 1):
                one = clips[which][index][None]
                found[which].append(pair[which].step(one, context(index)))
    assert same(found[0], run(make(case, arch), clips[0]))
    assert same(found[1], run(make(case, arch), clips[1]))


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_nothing_is_shared_with_the_caller(case: Case, arch: ViTArch) -> None:
    method, expected = make(case, arch), run(make(case, arch), clip())
    for index, frame in enumerate(clip()):
        given = frame[None].clone()
        with torch.no_grad():
            features = method.step(given, context(index))
            assert torch.allclose(features, expected[index], atol=1e-9)
            assert torch.equal(given, frame[None]), "the caller's tokens were changed"
            features.fill_(torch.nan)
            given.fill_(torch.nan)


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_state_has_the_planned_bytes_and_shares_no_storage(case: Case, arch: ViTArch) -> None:
    method = make(case, arch, low=torch.float32)
    run(method, clip().float())
    planned = method.planned_state_bytes(arch, GRID, method.params)
    assert method.state_bytes() == planned
    pointers = [tensor.untyped_storage().data_ptr() for tensor in method.state()]
    assert len(pointers) == len(set(pointers))
    method.reset()
    assert method.state_bytes() == 0


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_closed_form_equals_counted_operations(case: Case, arch: ViTArch) -> None:
    method = make(case, arch)
    traces, counted = [], []
    for index, frame in enumerate(clip()):
        counter = MacCounter()
        with counter, torch.no_grad():
            method.step(frame[None], context(index))
        assert method.trace is not None
        traces.append(method.trace)
        counted.append(counter.macs)
    macs = method.macs(arch, GRID, method.params, TokenTrace.of(traces))
    assert macs is not None
    assert np.asarray(macs.matrix).tolist() == counted
    assert (np.asarray(macs.published) >= np.asarray(macs.matrix)).all()


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_the_plan_foretells_the_steps(case: Case, arch: ViTArch) -> None:
    method = make(case, arch)
    if not case.fixed_counts:
        with pytest.raises(UsageError, match="depends on"):
            method.plan(method.params, arch, view())
        return
    planned = method.plan(method.params, arch, view())
    assert planned is not None
    traces = []
    for index, frame in enumerate(clip()):
        with torch.inference_mode():
            method.step(frame[None], context(index))
        assert method.trace is not None
        traces.append(method.trace)
    done = TokenTrace.of(traces)
    assert planned.tokens.tolist() == pytest.approx(done.tokens.tolist())
    assert planned.full.tolist() == done.full.tolist()
    foretold = method.macs(arch, GRID, method.params, planned)
    executed = method.macs(arch, GRID, method.params, done)
    assert foretold is not None and executed is not None
    assert np.asarray(foretold.matrix).tolist() == np.asarray(executed.matrix).tolist()
    assert np.asarray(foretold.published).tolist() == np.asarray(executed.published).tolist()
    if planned.kept is not None and "mask" in traces[1].selected:
        kept = [row.nonzero().flatten().tolist() for row in planned.kept]
        assert kept == [trace.selected["mask"].tolist() for trace in traces]


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_a_batch_of_clips_is_run_exactly_or_refused(case: Case, arch: ViTArch) -> None:
    method, clips = make(case, arch), (clip(seed=1), clip(seed=2))
    together = torch.stack(clips, dim=1)
    if not method.batched or not case.fixed_counts:
        with pytest.raises(UsageError, match="run one clip at a time"):
            method.step(together[0], context(0))
        return
    found = run(method, list(together))
    for which, alone in enumerate(clips):
        expected = run(make(case, arch), alone)
        assert same([features[which : which + 1] for features in found], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_lower_precisions_run(case: Case, arch: ViTArch, dtype: torch.dtype) -> None:
    found = run(make(case, arch, low=dtype), clip().to(dtype))
    assert all(features.dtype == dtype and features.isfinite().all() for features in found)
    if dtype == torch.float32:
        exact = run(make(case, arch), clip())
        assert max((a - b).abs().max() for a, b in zip(found, exact, strict=True)) < 1e-3


@pytest.mark.parametrize(("case", "arch"), PAIRS)
def test_another_grid_within_a_clip_is_refused(case: Case, arch: ViTArch) -> None:
    """6 x 8 tokens, then 8 x 6: as many, elsewhere; after a reset they begin another clip."""
    method, frames = make(case, arch), clip()
    turned = [
        replace(context(index), input=Size(INPUT.cols, INPUT.rows), content=Size(30, 18))
        for index in (0, 1)
    ]
    with torch.inference_mode():
        method.step(frames[0][None], context(0))
        with pytest.raises(UsageError, match="a grid of 8x6 came in a clip of 6x8"):
            method.step(frames[1][None], turned[1])
        method.reset()
        assert method.step(frames[0][None], turned[0]).isfinite().all()


@pytest.mark.parametrize("name", ["maskvd", "eventful", "maskvd+evit", "rgtp", "boxes-k"])
def test_a_step_that_fails_leaves_no_half_state(name: str) -> None:
    case = next(case for case in CASES if case.method == name)
    method = make(case, case.archs[0])
    frames = clip()
    with torch.inference_mode():
        method.step(frames[0][None], context(0))
        with pytest.raises(RuntimeError):
            method.step(frames[1][None, :, :-1], context(1))
        assert method.state_bytes() == 0


def test_a_frame_must_lie_in_its_input() -> None:
    for content in (Size(0, 5), Size(INPUT.rows + 1, 5)):
        with pytest.raises(UsageError, match="does not lie in input"):
            FrameContext(0, INPUT, content, PATCH)


def test_tokens_of_another_grid_are_refused() -> None:
    method = make(CASES[0], WINDOWED)
    with pytest.raises(UsageError, match=r"47 tokens came for a grid of 6x8"):
        method.step(torch.zeros(1, 47, DIM, dtype=torch.float64), context(0))
