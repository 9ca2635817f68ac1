"""Closed forms against numbers that the authors' own counters print."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskvd_cli.core.errors import UsageError
from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.costs import dense, global_attention, plain_vit, windowed_attention
from maskvd_cli.families.blocks.counting import MacCounter
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import every_token
from maskvd_cli.methods.dense import Dense, DenseParams
from maskvd_cli.methods.masked_costs import mask_trace
from maskvd_cli.methods.maskvd import MaskVD, MaskVDParams

WINDOWED = get_arch("vitdet-b")
GLOBAL = get_arch("vitdet-b-global")
AT_672 = WINDOWED.grid(Size(672, 672))
AT_1024 = WINDOWED.grid(Size(1024, 1024))


def published(version: str, grid: Size, tokens: int) -> int:
    params = MaskVDParams.model_validate({"version": version})
    found = MaskVD.published_at(WINDOWED, grid, MaskVD.resolve(params, WINDOWED), tokens)
    assert found is not None
    return found


def first_tokens(counts: list[int], grid: Size) -> torch.Tensor:
    """Return masks that keep the first so many tokens, (frames, N) bool."""
    return torch.arange(grid.area) < torch.tensor(counts)[:, None]


@pytest.mark.parametrize(("grid", "macs"), [(AT_672, 174_495_444_480), (AT_1024, 467_439_940_608)])
def test_dense_windowed_equals_the_published_counter(grid: Size, macs: int) -> None:
    found = Dense.macs(WINDOWED, grid, DenseParams(), every_token(2, grid))
    assert found is not None
    assert np.asarray(found.published).tolist() == [macs, macs]


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
    everything = mask_trace(torch.ones(1, grid.area, dtype=torch.bool), WINDOWED, grid)
    assert MaskVD.macs(WINDOWED, grid, params, everything) == dense(WINDOWED, grid)


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
    found = MaskVD.published_at(GLOBAL, AT_672, MaskVDParams(), tokens)
    assert found is not None
    assert round(found / 1e9, 6) == macs


def test_matrix_products_of_dense() -> None:
    # Linear layers 149.82, attention products 23.37 and relative terms 0.76 GMAC at 672.
    assert dense(WINDOWED, AT_672).matrix == 173_950_156_800
    assert round(int(plain_vit(GLOBAL, AT_672, 1764).matrix) / 1e9, 3) == 207.329


def test_arrays_of_tokens_cost_the_same_as_single_counts() -> None:
    counts = [0, 370, 1764]
    for version in ("C", "T", "H"):
        params = MaskVDParams.model_validate({"version": version})
        kept = first_tokens(counts, AT_672)
        many = MaskVD.macs(WINDOWED, AT_672, params, mask_trace(kept, WINDOWED, AT_672))
        assert np.asarray(many.published).tolist() == [
            published(version, AT_672, tokens) for tokens in counts
        ]
        for frame in range(len(counts)):
            alone = mask_trace(kept[frame : frame + 1], WINDOWED, AT_672)
            one = MaskVD.macs(WINDOWED, AT_672, params, alone)
            assert np.asarray(many.matrix)[frame] == np.asarray(one.matrix)[0]


@pytest.mark.parametrize("version", ["C", "T", "H"])
def test_less_is_executed_than_the_authors_code_does(version: str) -> None:
    """8 x 6 tokens of one window: 1/9 of all queries, and version T derives 196 keys only."""
    kept = torch.zeros(1, *AT_672, dtype=torch.bool)
    kept[0, 2:10, 3:9] = True
    params = MaskVDParams.model_validate({"version": version})
    found = MaskVD.macs(WINDOWED, AT_672, params, mask_trace(kept.flatten(1), WINDOWED, AT_672))
    tokens, dim = 48, 768
    layers = 12 * 9 * tokens * dim**2 + 4 * 3 * tokens * dim**2
    in_windows = 8 * (2 * tokens * 196 * dim + 2 * tokens * 14 * dim)
    qkv = {"T": tokens + 2 * 196}.get(version, 3 * tokens) * dim**2
    keys = 1764 if version == "C" else tokens
    global_blocks = 4 * (2 * tokens * keys * dim + tokens * (42 + 42) * dim)
    expected = layers + in_windows + 8 * qkv + global_blocks
    assert np.asarray(found.matrix).tolist() == [expected]
    assert expected < published(version, AT_672, tokens) / 2


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
        name="small", description="", dim=32, heads=4, depth=3, patch=16, window=Size(7, 7),
        position_table=Size(5, 5), relative_table=None, global_blocks=(0, 1, 2), class_token=True,
        final_norm=True,
    )  # fmt: skip
    tokens, dim, heads = 20, arch.dim, arch.heads
    layer = torch.nn.TransformerEncoderLayer(
        dim, heads, dim_feedforward=4 * dim, batch_first=True, norm_first=True
    )
    counter = MacCounter()
    x = torch.randn(1, tokens + 1, dim)
    with counter, torch.no_grad():
        for _ in range(arch.depth):
            q, k, v = (x @ layer.self_attn.in_proj_weight.T).chunk(3, -1)
            split = [part.view(1, -1, heads, dim // heads).transpose(1, 2) for part in (q, k, v)]
            mixed = (split[0] @ split[1].mT).softmax(-1) @ split[2]
            x = x + layer.self_attn.out_proj(mixed.transpose(1, 2).reshape(1, -1, dim))
            x = x + layer.linear2(layer.linear1(x).relu())
    grid = Size(5, 5)
    assert plain_vit(arch, grid, tokens).matrix == counter.macs


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
    assert MaskVD.planned_state_bytes(arch, grid, params) == round(megabytes * 1e6)
    assert Dense.planned_state_bytes(arch, grid, DenseParams()) == 0


def test_an_input_that_the_patch_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match=r"670x672 is no multiple .* use for example 672x672"):
        WINDOWED.grid(Size(670, 672))


def test_an_unknown_model_is_refused_with_the_near_miss() -> None:
    with pytest.raises(UsageError, match=r"unknown model 'vitdet-bb' \(did you mean 'vitdet-b'"):
        get_arch("vitdet-bb")
