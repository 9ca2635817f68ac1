from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskvd_cli.core.size import Size
from maskvd_cli.masks.static import kept_tokens, normalised, on_input, region_scores, static_mask

INPUT = Size(672, 672)
FRAME = Size(370, 672)


@pytest.mark.parametrize(
    ("keep_rate", "kept"), [(0.5, 882), (0.3, 529), (0.1, 176), (0, 0), (1, 1764)]
)
def test_the_papers_static_keep_rates(keep_rate: float, kept: int) -> None:
    assert kept_tokens(keep_rate, 1764) == kept
    assert static_mask(torch.rand(1764), keep_rate).sum() == kept


def test_equal_scores_keep_the_lower_index() -> None:
    mask = static_mask(torch.tensor([1.0, 2, 1, 2, 1, 0]), 0.67)
    assert mask.tolist() == [True, True, True, True, False, False]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0, 1))
def test_every_kept_score_ranks_before_every_dropped_one(
    values: list[int], keep_rate: float
) -> None:
    mask = static_mask(torch.tensor(values, dtype=torch.float64), keep_rate)
    ranked = sorted(range(len(values)), key=lambda index: (-values[index], index))
    kept = set(mask.nonzero().flatten().tolist())
    assert kept == set(ranked[: int(keep_rate * len(values))])


def test_the_whole_canvas_is_resized_onto_the_frame_and_padded() -> None:
    made = on_input(torch.ones(384, 1280, dtype=torch.float64), FRAME, INPUT)
    assert made.shape == tuple(INPUT)
    assert torch.allclose(made[:370], torch.ones(370, 672, dtype=torch.float64))
    assert made[370:].sum() == 0


def test_canvas_and_image_alignment_differ_as_documented() -> None:
    heatmap = torch.zeros(384, 1280, dtype=torch.float64)
    heatmap[:, 1237:1242] = 1
    canvas = on_input(heatmap, FRAME, INPUT)[0]
    image = on_input(heatmap, FRAME, INPUT, image=Size(375, 1242))[0]
    # The last column of a 1242 px image: at 651 of 672 when all 1280 columns are squeezed in.
    assert canvas.nonzero().max() == 651
    assert image.nonzero().max() == 671


def test_resizing_is_bilinear_without_antialiasing() -> None:
    heatmap = torch.tensor([[0.0, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.float64)
    made = on_input(heatmap, Size(2, 2), Size(2, 2))
    # Pixel centres of the target fall between source columns 0|1 and 2|3.
    assert made.tolist() == [[0.5, 0], [0, 0]]


def test_scores_sum_regions_of_the_normalised_heatmap() -> None:
    heatmap = torch.zeros(32, 48, dtype=torch.float64)
    heatmap[0:16, 16:32] = 2
    heatmap[31, 47] = 4
    assert region_scores(normalised(heatmap), 16).tolist() == [0, 128, 0, 0, 0, 1]


def test_an_empty_heatmap_stays_zero() -> None:
    assert normalised(torch.zeros(32, 32, dtype=torch.float64)).sum() == 0
