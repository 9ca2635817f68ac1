"""A second family beside ViTDet, of another kind: it plans, runs, counts and refuses by itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from maskvd_cli.core.errors import MaskvdError, UsageError
from maskvd_cli.core.registry import Registry
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import Family, Model, check_trainable
from maskvd_cli.families.registry import families
from maskvd_cli.families.zoo import entry, get_arch, models
from maskvd_cli.machine.stopwatch import ClockStopwatch
from maskvd_cli.methods.base import ClipView, Method
from maskvd_cli.methods.clips import ClipInput, FrameResult, run_clip
from maskvd_cli.methods.counting import MacWatch, around_macs, backbone_macs, watch_of
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.fit import unfit, unlike, unplanned
from maskvd_cli.methods.legend import legend
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
from maskvd_cli.methods.registry import methods
from maskvd_cli.scenes.loaded import Held
from maskvd_cli.scenes.revisions import revisions_of
from maskvd_cli.tasks.registry import tasks

from .second_family import ConvArch, ConvDetector, ConvFamily, ConvShape, Skip, SkipParams

INPUT = Size(64, 128)
GRID = Size(8, 16)
MODULE = "tests.families.second_family"
# Of conv-4: two 3 x 3 convolutions on every cell; an 8 x 8 stem; a point-wise head of 3 classes.
BACKBONE = GRID.area * 2 * 9 * 4 * 4
AROUND = GRID.area * (3 * 64 * 4 + 4 * 3)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the family and its method for the length of a test."""
    for registry in (families, methods):
        registry.names()
        monkeypatch.setattr(registry, "_targets", dict(registry._targets))
    families.register("conv", f"{MODULE}:ConvFamily")
    methods.register("skip", f"{MODULE}:Skip")
    yield


@pytest.fixture
def model() -> ConvDetector:
    made = ConvFamily.build(ConvArch("conv-4", 4), ConvShape(3), INPUT, seed=1)
    return made.requires_grad_(False).eval()


def clip(frames: int = 5) -> ClipInput:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (frames, 3, 48, 128), dtype=torch.uint8, generator=generator)
    return ClipInput("c", list(images), ClipView(frames, INPUT, 8), Size(48, 128), False)


def run(model: Model, method: Method[Any], watch: Any = None) -> list[FrameResult]:
    return list(run_clip(model, method, clip(), watch=watch))


def test_registered_families_offer_their_models(second: None) -> None:
    assert list(models()) == [
        "conv-4", "conv-8", "lwdetr-tiny", "lwdetr-small", "lwdetr-medium", "owlv2-base",
        "rfdetr-nano", "rfdetr-small", "rfdetr-medium", "rfdetr-large", "rfdetr-ti", "vitdet-b",
        "vitdet-b-global", "vitdet-ti", "vitdet-ti-global", "vitdet-ti-global-mask",
        "vivit-b-epic", "vivit-b-kinetics", "vivit-ti", "yolos-tiny", "yolos-small", "yolos-base",
    ]  # fmt: skip
    assert entry("conv-8").family is ConvFamily
    assert get_arch("conv-8").width == 8
    assert entry("vitdet-b").family.name == "vitdet"
    with pytest.raises(UsageError, match=r"unknown model 'conv-5' \(did you mean 'conv-"):
        entry("conv-5")


def test_a_broken_family_does_not_hide_the_others(
    second: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Registry, "on_broken", lambda error: told.append(str(error)))
    families.register("broken", "no.such.module:Family")
    assert entry("vitdet-b").arch.dim == 768
    assert {"conv-4", "vitdet-b"} <= set(models())
    assert [line[:34] for line in told] == ["family 'broken' cannot be imported"]
    with pytest.raises(MaskvdError, match="family 'broken' cannot be imported"):
        entry("conv-5")


def test_a_model_belongs_to_one_family(second: None) -> None:
    families.register("twin", f"{MODULE}:ConvFamily")
    with pytest.raises(MaskvdError, match="model 'conv-4' belongs to two families"):
        models()


def test_dense_runs_any_family(model: ConvDetector) -> None:
    results = run(model, Dense(DenseParams(), model.backbone))
    with torch.inference_mode():
        expected = model.finish(model.backbone(model.embed([clip().images[2]]), GRID))[0]
    assert torch.equal(results[2].output.xyxy, expected.xyxy)
    assert torch.equal(results[2].output.scores, expected.scores)
    assert all(result.trace.full and result.trace.tokens == GRID.area for result in results)
    with pytest.raises(UsageError, match="pool 2 is for backbones on tokens; conv-4 is none"):
        Dense(DenseParams(pool=2), model.backbone)


def test_a_method_may_skip_frames(model: ConvDetector) -> None:
    results = run(model, Skip(SkipParams(every=2), model.backbone))
    assert [result.trace.full for result in results] == [True, False, True, False, True]
    assert results[1].output is results[0].output
    assert [sorted(result.ran) for result in results[:2]] == [["embed", "head"], []]


def test_operations_are_counted_where_there_is_no_closed_form(model: ConvDetector) -> None:
    method = Skip(SkipParams(every=2), model.backbone)
    watch = watch_of(Skip, model)
    assert isinstance(watch, MacWatch)
    results = run(model, method, watch)
    assert [backbone_macs(result) for result in results] == [BACKBONE, 0, BACKBONE, 0, BACKBONE]
    assert [around_macs(result, model) for result in results] == [AROUND, 0, AROUND, 0, AROUND]
    plain = run(model, method)
    assert all(
        torch.equal(a.output.scores, b.output.scores) for a, b in zip(results, plain, strict=True)
    )


def test_what_a_skipped_frame_takes_is_timed(model: ConvDetector) -> None:
    results = run(model, Skip(SkipParams(every=2), model.backbone), ClockStopwatch())
    for result in results:
        parts = [result.times[f"{part}_ms"] for part in ("mask", "embed", "backbone", "head")]
        np.testing.assert_allclose(sum(parts), result.times["total_ms"])
    assert results[1].times["embed_ms"] == results[1].times["head_ms"] == 0
    assert results[1].times["backbone_ms"] > 0


def test_methods_say_what_they_need_and_do_not_know() -> None:
    conv, windowed, plain = ConvArch("conv-4", 4), get_arch("vitdet-b"), get_arch("vitdet-b-global")
    params = MaskVDParams()
    assert unfit(MaskVD, params, conv) == "maskvd needs tokens, which conv-4 has not"
    assert unfit(MaskVD, params, windowed) is None
    evit = methods.load("evit")
    assert unlike(evit, plain) is None
    reason = unfit(evit, evit.params_type(), windowed)
    assert reason == "evit drops tokens, and the windows of vitdet-b need all of them"
    assert unfit(MaskVD, MaskVDParams(version="T"), plain) is not None
    for name in methods.names():
        assert unlike(methods.load(name), WithRegisters()) == (
            None if name == "dense" else f"{name} does not know the lead-tokens of later"
        )


class WithRegisters:
    """A backbone of a later time, which today's methods must not run on unasked."""

    name = "later"
    has = frozenset(("tokens", "lead-tokens"))


def test_planning_without_closed_forms_is_refused_with_the_reason() -> None:
    conv = ConvArch("conv-4", 4)
    assert unplanned(Dense, get_arch("vitdet-b")) is None
    for method in (Dense, Skip):
        assert unplanned(method, conv) == (
            f"{method.name} has no closed form of its cost on conv-4, so it must run to be counted"
        )


def test_a_family_says_that_it_cannot_be_trained() -> None:
    check_trainable(entry("vitdet-ti").family, "vitdet-ti")
    with pytest.raises(UsageError, match="conv-4 belongs to the family conv, which cannot be"):
        check_trainable(ConvFamily, "conv-4")


def test_another_family_stands_in_the_setting() -> None:
    setting = ConvFamily.setting(ConvArch("conv-4", 4))
    assert setting == {
        "family": "conv", "name": "conv-4", "width": 4, "patch": 8, "backbone": "convolutional",
    }  # fmt: skip
    assert "family" not in entry("vitdet-ti").family.setting(get_arch("vitdet-ti"))


def test_revisions_enter_above_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from maskvd_cli.data import resize

    assert revisions_of(ConvFamily) == {}
    monkeypatch.setattr(resize, "REVISION", 3)
    monkeypatch.setattr(ConvFamily, "revision", 2)
    assert revisions_of(ConvFamily) == {"revisions": {"family": 2, "resize": 3}}
    monkeypatch.setattr(tasks.load(ConvFamily.task), "revision", 2)
    assert revisions_of(ConvFamily) == {"revisions": {"family": 2, "resize": 3, "task": 2}}


def test_one_model_is_held_and_the_one_before_freed() -> None:
    held, alive = Held(), list[int]()

    def make(key: int) -> Any:
        gc.collect()
        alive.append(sum(ref() is not None for ref in made))
        model = nn.Linear(2, 2)
        made.append(weakref.ref(model))
        return model

    made: list[weakref.ref[Any]] = []
    first = held.get(1, lambda: make(1))
    assert held.get(1, lambda: make(1)) is first
    del first
    held.get(2, lambda: make(2))
    held.get(1, lambda: make(1))
    assert alive == [0, 0, 0]


def test_a_plan_can_say_what_a_method_is(second: None) -> None:
    stored = legend("skip")
    assert (stored.role, stored.columns, stored.colour) == ("control", {"every": "every"}, None)
    assert legend("dense").role == "baseline"
    assert {name for name in methods.names() if legend(name).role == "control"} == {
        "boxes-k", "dense-unpadded", "oracle", "random", "skip",
    }  # fmt: skip


def test_every_family_says_what_it_is(second: None) -> None:
    for name in families.names():
        family: type[Family[Any, Any]] = families.load(name)
        assert family.name == name
        assert family.description
        Size.parse(family.default_input)
        assert family.archs()
