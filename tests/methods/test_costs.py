"""Closed forms against numbers that the authors' own counters print."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams
from maskvd_cli.models.arch import ViTArch
from maskvd_cli.models.costs import global_attention, plain_vit, windowed_attention
from maskvd_cli.models.zoo import get_arch

WINDOWED = get_arch("vitdet-b")
GLOBAL = get_arch("vitdet-b-global")
AT_672 = WINDOWED.grid(Size(672, 672))
AT_1024 = WINDOWED.grid(Size(1024, 1024))


def published(version: str, grid: Size, tokens: int) -> int:
    params = MaskVDParams.model_validate({"version": version})
    return int(MaskVD.macs(WINDOWED, grid, params, tokens).published)


@pytest.mark.parametrize(("grid", "macs"), [(AT_672, 174_495_444_480), (AT_1024, 467_439_940_608)])
def test_dense_windowed_equals_the_published_counter(grid: Size, macs: int) -> None:
    assert Dense.macs(WINDOWED, grid, DenseParams(), grid.area).published == macs


@pytest.mark.parametrize(
    ("grid", "constant"), [(AT_672, 24_491_884_032), (AT_1024, 119_132_353_536)]
)
@pytest.mark.parametrize("tokens", [0, 1, 370, 1005, 1764])
def test_version_c_is_linear_in_kept_tokens(grid: Size, constant: int, tokens: int) -> None:
    assert published("C", grid, tokens) == constant + 85_036_032 * tokens


@pytest.mark.parametrize(
    ("tokens", "c", "t", "h"),
    [
        (1005, 109.95, 107.40, 96.64),
        (723, 85.97, 84.30, 69.55),
        (459, 63.52, 63.58, 45.08),
        (635, 78.49, 77.30, 61.30),
        (370, 55.96, 56.79, 37.03),
        (829, 94.99, 92.87, 79.62),
        (352, 54.42, 55.43, 35.42),
    ],
)
def test_the_three_versions_at_the_papers_token_counts(
    tokens: int, c: float, t: float, h: float
) -> None:
    found = [round(published(version, AT_672, tokens) / 1e9, 2) for version in "CTH"]
    assert found == [c, t, h]


@pytest.mark.parametrize("version", ["C", "T", "H"])
@pytest.mark.parametrize("grid", [AT_672, AT_1024])
def test_keeping_everything_costs_what_dense_costs(version: str, grid: Size) -> None:
    params = MaskVDParams.model_validate({"version": version})
    dense = Dense.macs(WINDOWED, grid, DenseParams(), grid.area)
    assert MaskVD.macs(WINDOWED, grid, params, grid.area) == dense


@pytest.mark.parametrize(
    ("tokens", "macs"),
    [
        (1764, 208.852425),
        (1005, 105.303609),
        (723, 72.284135),
        (952, 98.872365),
        (635, 62.585020),
        (1164, 125.223503),
        (1076, 114.082594),
    ],
)
def test_non_windowed_equals_table_1_at_the_papers_mean_tokens(tokens: int, macs: float) -> None:
    found = MaskVD.macs(GLOBAL, AT_672, MaskVDParams(), tokens).published
    assert round(int(found) / 1e9, 6) == macs


def test_matrix_products_of_dense() -> None:
    # Linear layers 149.82, attention products 23.37 and relative terms 0.76 GMAC at 672.
    assert Dense.macs(WINDOWED, AT_672, DenseParams(), 1764).matrix == 173_950_156_800
    assert round(int(plain_vit(GLOBAL, AT_672, 1764).matrix) / 1e9, 3) == 207.329


def test_arrays_of_tokens_cost_the_same_as_single_counts() -> None:
    tokens = np.array([0, 370, 1764])
    for version in ("C", "T", "H"):
        params = MaskVDParams.model_validate({"version": version})
        many = MaskVD.macs(WINDOWED, AT_672, params, tokens)
        single = [MaskVD.macs(WINDOWED, AT_672, params, int(n)) for n in tokens]
        assert np.asarray(many.published).tolist() == [one.published for one in single]
        assert np.asarray(many.matrix).tolist() == [one.matrix for one in single]


def test_padding_value_is_counted_only_where_windows_need_padding() -> None:
    exact = windowed_attention(WINDOWED, AT_672)
    assert exact.published == exact.matrix + 2 * 12 * 1764 * 196
    padded = windowed_attention(WINDOWED, AT_1024)
    assert padded.published == padded.matrix + 2 * 12 * 4900 * 196 + 3 * 768


def test_relative_terms_follow_rows_and_columns_of_the_grid() -> None:
    found = global_attention(WINDOWED, Size(3, 5), 4, 15)
    assert found.matrix == 2 * 4 * 15 * 768 + 4 * (3 + 5) * 768
    assert found.published == int(found.matrix) + 2 * 12 * 4 * 15


def test_plain_vit_equals_counted_operations() -> None:
    """Run the matrix products of a small ViT and compare with torch's own counter (2 per MAC)."""
    arch = ViTArch(
        name="small", description="", dim=32, heads=4, depth=3, patch=16, window=7,
        global_blocks=(0, 1, 2), relative_positions=False, class_token=True, final_norm=True,
    )  # fmt: skip
    tokens, dim, heads = 20, arch.dim, arch.heads
    layer = torch.nn.TransformerEncoderLayer(
        dim, heads, dim_feedforward=4 * dim, batch_first=True, norm_first=True
    )
    counter = FlopCounterMode(display=False)
    x = torch.randn(1, tokens + 1, dim)
    with counter, torch.no_grad():
        for _ in range(arch.depth):
            q, k, v = (x @ layer.self_attn.in_proj_weight.T).chunk(3, -1)
            split = [part.view(1, -1, heads, dim // heads).transpose(1, 2) for part in (q, k, v)]
            mixed = (split[0] @ split[1].mT).softmax(-1) @ split[2]
            x = x + layer.self_attn.out_proj(mixed.transpose(1, 2).reshape(1, -1, dim))
            x = x + layer.linear2(layer.linear1(x).relu())
    grid = Size(5, 5)
    assert plain_vit(arch, grid, tokens).matrix == counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ("arch", "grid", "version", "megabytes"),
    [
        (WINDOWED, AT_672, "C", 200.503296),
        (WINDOWED, AT_1024, "C", 465.567744),
        (WINDOWED, AT_672, "T", 48.771072),
        (WINDOWED, AT_672, "H", 135.4752),
        (GLOBAL, AT_672, None, 5.419008),
    ],
)
def test_state_between_frames(
    arch: ViTArch, grid: Size, version: str | None, megabytes: float
) -> None:
    params = MaskVDParams.model_validate({"version": version})
    assert MaskVD.state_bytes(arch, grid, params) == round(megabytes * 1e6)
    assert Dense.state_bytes(arch, grid, DenseParams()) == 0


def test_an_input_that_the_patch_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match=r"670x672 is no multiple .* use for example 672x672"):
        WINDOWED.grid(Size(670, 672))


def test_an_unknown_model_is_refused_with_the_near_miss() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'vitdet-bb' \(did you mean 'vitdet-b'"):
        get_arch("vitdet-bb")
