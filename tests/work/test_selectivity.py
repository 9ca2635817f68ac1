"""Foreground selectivity: the area under the ROC curve, of tokens under annotated boxes."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.vit import VisionTransformer
from maskvd_cli.families.yolos.archs import yolos
from maskvd_cli.families.yolos.transformer import DetectionTransformer
from maskvd_cli.methods.base import ClipView, FrameTrace
from maskvd_cli.work.selectivity import (
    FeatureScores,
    Foreground,
    area_under_curve,
    selectivity_arrays,
    unlikeness,
)

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_the_area_is_the_share_of_pairs(positive: list[int], negative: list[int]) -> None:
    pairs = list(product(positive, negative))
    expected = sum(1.0 if p > n else 0.5 * (p == n) for p, n in pairs) / len(pairs)
    found = area_under_curve(np.array(positive, float), np.array(negative, float))
    assert found == pytest.approx(expected)


def test_without_pairs_there_is_no_area() -> None:
    assert math.isnan(area_under_curve(np.array([]), np.array([1.0])))
    assert math.isnan(area_under_curve(np.array([1.0]), np.array([])))


def view(real: torch.Tensor | None = None) -> ClipView:
    """Two frames of 2 x 3 tokens; an object lies on tokens 1 and 4 of the second one."""
    box = torch.tensor([[4.0, 0.0, 8.0, 8.0]], dtype=torch.float64)
    return ClipView(2, Size(8, 12), 4, box, torch.tensor([1]), None, real)


def trace(scores: list[float]) -> FrameTrace:
    return FrameTrace(3.0, False, layers=(6, 4), scores={1: torch.tensor(scores)})


def test_tokens_under_boxes_are_told_from_others() -> None:
    foreground = Foreground(view())
    found = foreground.of(1, trace([0.1, 0.9, 0.2, 0.1, 0.15, 0.0]))
    # Of eight pairs only (4, 2) is the wrong way round.
    assert found[1] == pytest.approx(7 / 8)
    assert math.isnan(found[0])
    assert math.isnan(foreground.of(0, trace([0.1] * 6))[1]), "a frame without objects"


def test_padding_and_tokens_without_a_score_are_left_out() -> None:
    real = torch.tensor([True, True, False, True, True, True])
    found = Foreground(view(real)).of(1, trace([0.1, 0.9, 0.95, math.nan, 0.15, 0.2]))
    assert found[1] == pytest.approx(3 / 4)


def test_methods_that_do_not_tell_have_none() -> None:
    assert Foreground(view()).of(1, FrameTrace(3.0, False)) == {}
    bare = ClipView(2, Size(8, 12), 4)
    assert Foreground(bare).of(1, trace([0.1] * 6)) == {}
    assert selectivity_arrays([{}, {}]) == {}


def test_arrays_have_an_entry_for_each_frame() -> None:
    arrays = selectivity_arrays([{0: 0.5, 1: math.nan}, {0: 0.75, 1: 1.0}])
    assert set(arrays) == {"selectivity_block_00", "selectivity_block_01"}
    assert arrays["selectivity_block_00"].tolist() == [0.5, 0.75]


def test_features_score_by_their_mean_cosine() -> None:
    tokens = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    real = torch.tensor([True] * 5 + [False] * 2)
    pairs = torch.nn.functional.cosine_similarity(tokens[:, None], tokens[None], dim=2)
    assert torch.allclose(unlikeness(tokens), 1 - pairs.mean(1), atol=1e-6)
    assert torch.allclose(unlikeness(tokens, real), 1 - pairs[:, :5].mean(1), atol=1e-6)


def test_scores_are_those_of_the_tokens_after_each_block() -> None:
    arch = ViTArch(
        name="tiny", description="", dim=8, heads=2, depth=2, patch=4, global_blocks=(0, 1),
        window=Size(2, 3), position_table=Size(2, 3), relative_table=None, class_token=True,
    )  # fmt: skip
    backbone, grid = VisionTransformer(arch).eval(), Size(2, 3)
    tokens = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        sequence = backbone.with_class_token(tokens + backbone.positions_on(grid))
        expected: list[torch.Tensor] = []
        for block in backbone.blocks:
            sequence = block(sequence, grid)
            expected.append(unlikeness(sequence[0, 1:]))
        with FeatureScores(backbone, None) as scored:
            backbone(tokens, grid)
            found = scored.taken()
            assert scored.taken() == {}
        backbone(tokens, grid)
    assert scored.taken() == {}, "nothing listens any more"
    assert all(torch.equal(found[number], expected[number]) for number in (0, 1))


def test_detection_tokens_lie_on_no_grid() -> None:
    arch = yolos(
        "tiny", "", dim=8, heads=2, depth=2, patch=4, table=Size(2, 3), detections=5,
        mid_positions=True,
    )  # fmt: skip
    backbone, tokens = DetectionTransformer(arch).eval(), torch.randn(1, 6, 8)
    real = torch.tensor([True] * 5 + [False])
    with torch.inference_mode():
        sequence = backbone.with_class_token(tokens + backbone.positions_on(Size(2, 3)))
        expected = unlikeness(backbone.blocks[0](sequence, Size(2, 3))[0, 1:7], real)
        with FeatureScores(backbone, real) as scored:
            backbone(tokens, Size(2, 3))
    assert torch.equal(scored.taken()[0], expected)


def test_features_are_told_where_blocks_choose_nothing() -> None:
    foreground, scores = Foreground(view()), torch.tensor([0.1, 0.9, 0.2, 0.1, 0.15, 0.0])
    full = FrameTrace(6.0, True)
    assert foreground.of(1, full, {0: scores, 1: -scores}) == pytest.approx({0: 7 / 8, 1: 1 / 8})
    # What a block chose by is told before what its features are.
    found = foreground.of(1, trace([0.1, 0.9, 0.2, 0.1, 0.15, 0.0]), {0: scores, 1: -scores})
    assert found[1] == pytest.approx(7 / 8)
    assert math.isnan(found[0])
