"""LW-DETR: its parity with the library, its costs in closed form, and what methods do on it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.base import EMBED, HEAD, cost_of
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.checkpoints import load_into
from maskvd_cli.families.library_cases import library_model, redraw
from maskvd_cli.families.lwdetr.archs import ARCHS, lwdetr
from maskvd_cli.families.lwdetr.detector import LWDETR
from maskvd_cli.families.lwdetr.family import LWDETRFamily
from maskvd_cli.families.lwdetr.library import LW_DETR, to_our_names
from maskvd_cli.families.preprocess import to_input
from maskvd_cli.families.rfdetr.backbone import TappedTransformer
from maskvd_cli.families.rfdetr.library import whole_detector
from maskvd_cli.families.rfdetr.shape import QueryShape
from maskvd_cli.families.vitdet.renaming import CheckpointError
from maskvd_cli.families.zoo import entry
from maskvd_cli.methods.fit import unfit, unlike
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
from maskvd_cli.methods.registry import methods

from .query_models import Sections, images

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the extra hf (transformers)"
)
# Positions of a 3 x 3 table, as in published models no grid of the windows'.
SMALL = lwdetr(
    "small", "", dim=24, heads=3, taps=(1, 2, 4), global_blocks=(1, 2), patch=4, side=8,
    table=Size(3, 3), windows_a_side=2, decoder_layers=2, channels=32, hidden=40, queries=12,
)  # fmt: skip
SHAPE = QueryShape(classes=5, queries=12)
SQUARE, WIDE = Size(32, 32), Size(24, 56)


def library_and_ours(size: Size, dtype: torch.dtype) -> tuple[Any, LWDETR]:
    # Without a norm behind the blocks, wide weights would cost float32 its digits.
    theirs: Any = library_model(
        lambda: whole_detector(SMALL, SHAPE, groups=3, library=LW_DETR), 0.15
    ).to(dtype)
    ours = LWDETR(SMALL, SHAPE, size).requires_grad_(False).eval().to(dtype)
    load_into(ours, to_our_names(theirs.state_dict(), SMALL), "library")
    return theirs, ours


@needs_library
@pytest.mark.parametrize("size", [SQUARE, WIDE])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_the_library_computes_the_same(size: Size, dtype: torch.dtype, close: float) -> None:
    theirs, ours = library_and_ours(size, dtype)
    given = images(2, size)
    pixels = to_input(given, size, torch.device("cpu")).to(dtype)
    with torch.inference_mode():
        maps = theirs.model.backbone.backbone(pixels).feature_maps
        expected = theirs(pixel_values=pixels)
        features = ours.backbone(ours.embed(given), ours.grid)
        logits, boxes = ours.predicted(features)
        found = ours.finish(features)
    taps = features.view(2, *ours.grid, len(SMALL.taps), SMALL.dim)
    assert len(maps) == len(SMALL.taps)
    for index, map_of_one in enumerate(maps):
        tap = taps[..., index, :].permute(0, 3, 1, 2)
        torch.testing.assert_close(tap, map_of_one, rtol=0, atol=close)
    assert expected.logits.std() > 0.1 and expected.pred_boxes.std() > 0.01
    torch.testing.assert_close(logits.sigmoid(), expected.logits.sigmoid(), rtol=0, atol=close)
    torch.testing.assert_close(boxes, expected.pred_boxes, rtol=0, atol=close)
    best = expected.logits.sigmoid().flatten(1).topk(SHAPE.queries).values
    for one, scores in zip(found, best, strict=True):
        torch.testing.assert_close(one.scores, scores.float(), rtol=0, atol=1e-4)


@needs_library
def test_names_of_published_files_are_read_and_strange_ones_refused() -> None:
    theirs = whole_detector(SMALL, SHAPE, groups=1, library=LW_DETR).state_dict()
    earlier = {"q_proj": "attention.query", "k_proj": "attention.key",
               "v_proj": "attention.value", "o_proj": "output"}  # fmt: skip
    published = dict(theirs)
    for name in theirs:
        layer, _, word = name.rpartition(".attention.")
        part, _, kind = word.partition(".")
        if part in earlier:
            published[f"{layer}.attention.{earlier[part]}.{kind}"] = published.pop(name)
    assert any(".attention.attention.query." in name for name in published)
    found, expected = to_our_names(published, SMALL), to_our_names(theirs, SMALL)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not expected["backbone.blocks.0.qkv.bias"][24:48].any()
    deeper = replace(SMALL, name="deep", depth=5, read_after=(1, 2, 5))
    with pytest.raises(CheckpointError, match=r"is no deep of transformers: no .*layer\.4\."):
        to_our_names(theirs, deeper)
    strange = {**theirs, "model.backbone.backbone.layernorm.weight": torch.ones(24)}
    with pytest.raises(CheckpointError, match=r"is no small of transformers: 1 unknown"):
        to_our_names(strange, SMALL)


@needs_library
@pytest.mark.parametrize(("name", "millions"), [("tiny", 12.1), ("small", 14.6), ("medium", 28.2)])
def test_the_library_has_as_many_parameters_as_published(name: str, millions: float) -> None:
    with torch.device("meta"):
        theirs = whole_detector(
            ARCHS[f"lwdetr-{name}"], QueryShape(91, ARCHS[f"lwdetr-{name}"].queries),
            library=LW_DETR,
        )  # fmt: skip
    count = sum(parameter.numel() for parameter in theirs.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


@needs_library
@pytest.mark.parametrize("size", [SQUARE, WIDE])
def test_closed_forms_are_what_is_counted(size: Size) -> None:
    model = LWDETR(SMALL, SHAPE, size).requires_grad_(False).eval()
    parts = {stage.name: cost_of([stage], None, {stage.part}) for stage in model.stages}
    detr: Any = model.queries.detr
    inside = {
        detr.model.backbone.projector: "projector",
        detr.model.decoder: "decoder",
        detr.class_embed: "heads",
        detr.bbox_embed: "heads",
    }
    with torch.inference_mode(), MacCounter() as counter:
        with counter.section("embedding"):
            tokens = model.embed(images(1, size))
        with counter.section("backbone"):
            features = model.backbone(tokens, model.grid)
        with Sections(counter, inside), counter.section("behind"):
            model.finish(features)
    assert not counter.uncounted
    counted = dict(counter.sections)
    behind = counted.pop("behind")
    counted["proposals"] = behind - sum(counted[name] for name in ("projector", "decoder", "heads"))
    assert counted.pop("backbone") == costs.dense(SMALL, model.grid).matrix
    assert counted == parts
    assert behind == cost_of(model.stages, None, {HEAD})


@pytest.mark.parametrize(
    ("name", "total", "backbone"),
    [
        ("lwdetr-tiny", 10.6710, 7.6161),
        ("lwdetr-small", 15.7865, 11.6146),
        ("lwdetr-medium", 41.8715, 37.3850),
    ],
)
def test_costs_are_those_that_were_counted_on_the_library(
    name: str, total: float, backbone: float
) -> None:
    arch = ARCHS[name]
    grid = arch.grid(Size(640, 640))
    stages = LWDETRFamily.stages(arch, LWDETRFamily.random_shape(arch, 91), grid)
    # What the library calls its backbone embeds the patches, too.
    before, behind = cost_of(stages, None, {EMBED}), cost_of(stages, None, {HEAD})
    assert before is not None and behind is not None
    own = float(costs.dense(arch, grid).matrix) + before
    assert own / 1e9 == pytest.approx(backbone, rel=1e-4)
    assert (own + behind) / 1e9 == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("grid", [Size(8, 8), Size(6, 14)])
def test_the_steps_of_blocks_are_the_dense_path(grid: Size) -> None:
    backbone = TappedTransformer(SMALL)
    redraw(backbone, 3)
    backbone = backbone.requires_grad_(False).double()
    tokens = torch.randn(2, grid.area, SMALL.dim, dtype=torch.float64)
    for pool in (1, 2):
        sequence = tokens + backbone.positions_on(grid)
        readings: list[Tensor] = []
        for number, block in enumerate(backbone.blocks):
            sequence = block(sequence, grid, pool)
            backbone.read(number, sequence, readings)
        expected = backbone.side_by_side(readings)
        found = backbone(tokens, grid, pool)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_models_are_as_published() -> None:
    tiny, small, medium = (entry(f"lwdetr-{word}").arch for word in ("tiny", "small", "medium"))
    assert (tiny.depth, tiny.dim, tiny.queries) == (6, 192, 100)
    assert (small.depth, small.dim, small.queries) == (10, 192, 300)
    assert (medium.depth, medium.dim, medium.queries) == (10, 384, 300)
    assert LWDETRFamily.random_shape(tiny, 7) == QueryShape(7, 100)
    for arch in (tiny, small, medium):
        grid = arch.grid(Size(640, 640))
        assert (grid, arch.window, arch.window_on(grid)) == (Size(40, 40), *[Size(10, 10)] * 2)
        assert arch.lead == arch.window_lead == 0
        assert arch.has == {"tokens", "windows", "taps"}
    with pytest.raises(UsageError, match=r"use for example 384x1280"):
        medium.grid(Size(375, 1242))


def test_methods_run_as_on_windows_without_class_tokens() -> None:
    medium = ARCHS["lwdetr-medium"]
    willing = {name for name in methods.names() if unlike(methods.load(name), medium) is None}
    assert willing >= {
        "dense", "maskvd", "oracle", "random", "eventful", "stgt", "rgtp", "boxes-k",
    }  # fmt: skip
    for version in ("C", "T", "H"):
        assert unfit(MaskVD, MaskVDParams(version=version), medium) is None
