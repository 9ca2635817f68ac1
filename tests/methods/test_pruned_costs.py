"""Closed forms of pruned execution and rollout against what the authors counted and printed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks import costs
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import ClipView, Macs
from maskvd_cli.methods.pruned_costs import executed, pruned_trace
from maskvd_cli.methods.rgtp import RGTP, RGTPParams

WINDOWED, GLOBAL = get_arch("vitdet-b"), get_arch("vitdet-b-global")
SIZES = {672: Size(672, 672), 1024: Size(1024, 1024)}
# Full frames and the first of a clip, as their counter counted, in 1e9.
FULL = {
    (672, "matrix"): 196.451571,
    (672, "matvec"): 174.507891,
    (672, "pooled"): 174.838509,
    (1024, "matvec"): 467.507049,
    (1024, "pooled"): 471.734908,
}
# Pruned frames at r = 1, and the mean at a full-frame share of 0.126536, which is that of the
# published tables.
COUNTED = [
    (672, "matrix", 196, 49.838654, 68.390),
    (672, "matvec", 64, 15.551534, 35.665),
    (672, "matvec", 196, 27.894974, 46.447),
    (672, "matvec", 384, 45.475025, 61.802),
    (672, "matvec", 512, 57.444422, 72.257),
    (672, "matvec", 768, 81.383216, 93.167),
    (672, "pooled", 64, 15.882151, 35.996),
    (672, "pooled", 196, 28.225592, 46.777),
    (672, "pooled", 384, 45.805643, 62.133),
    (672, "pooled", 512, 57.775040, 72.588),
    (672, "pooled", 767, 81.620322, 93.416),
    (672, "pooled", 768, 81.713833, 93.497),
    (1024, "matvec", 75, 33.915868, 88.781),
    (1024, "matvec", 397, 68.639936, 119.111),
    (1024, "matvec", 400, 68.963452, 119.394),
    (1024, "matvec", 750, 106.707004, 152.361),
    (1024, "matvec", 1400, 176.802172, 213.587),
    (1024, "matvec", 1401, 176.910011, 213.681),
    (1024, "matvec", 2200, 263.073148, 288.941),
    (1024, "pooled", 75, 38.143726, 93.009),
    (1024, "pooled", 397, 72.867794, 123.339),
    (1024, "pooled", 400, 73.191310, 123.621),
    (1024, "pooled", 750, 110.934862, 156.589),
    (1024, "pooled", 1400, 181.030030, 217.815),
    (1024, "pooled", 2200, 267.301006, 293.169),
]
SHARE = 0.126536
# README's tables: keep ratio of the configuration, K, and GFLOPs; supplement's Table 3: r, GFLOPs.
README = [
    (672, "pooled", 0.435, 767, 93.4),
    (672, "pooled", 0.29, 512, 72.6),
    (672, "pooled", 0.2177, 384, 62.1),
    (672, "pooled", 0.111, 196, 46.8),
    (672, "pooled", 0.0363, 64, 36.0),
    (1024, "matvec", 0.537, 2200, 288.9),
    (1024, "matvec", 0.342, 1401, 213.7),
    (1024, "matvec", 0.183, 750, 152.4),
    (1024, "matvec", 0.097, 397, 119.1),
    (1024, "matvec", 0.0183, 75, 88.8),
]
TABLE_3 = [(0, 46.44), (1, 46.45), (2, 46.47), (3, 46.49)]


def frames(size: int, arch: ViTArch = WINDOWED, **params: Any) -> tuple[Macs, int]:
    """Return the MACs of a full frame and a pruned one, and K."""
    given = RGTP.resolve(RGTPParams.model_validate(params), arch)
    view = ClipView(2, SIZES[size], arch.patch)
    macs = RGTP.macs(arch, view.grid, given, RGTP.plan(given, arch, view))
    return macs, given.count(view.tokens)


def published(size: int, **params: Any) -> list[int]:
    return np.asarray(frames(size, **params)[0].published).tolist()


@pytest.mark.parametrize(("size", "rollout", "k", "pruned", "mean"), COUNTED)
def test_frames_cost_what_the_authors_counted(
    size: int, rollout: str, k: int, pruned: float, mean: float
) -> None:
    full, later = (macs / 1e9 for macs in published(size, rollout=rollout, k=k))
    assert round(full, 6) == FULL[size, rollout]
    assert round(later, 6) == pruned
    assert round(SHARE * full + (1 - SHARE) * later, 3) == mean


@pytest.mark.parametrize(
    ("size", "rollout", "constant", "slope"),
    [
        (672, "pooled", 9_897_452_964, 93_510_912),
        (672, "matvec", 9_566_835_264, 93_510_912),
        (1024, "matvec", 25_827_963_904, 107_838_720),
        (1024, "pooled", 30_055_822_336, 107_838_720),
    ],
)
def test_pruned_frames_are_linear_in_k(size: int, rollout: str, constant: int, slope: int) -> None:
    for k in (1, 196, 1764):
        assert published(size, rollout=rollout, k=k)[1] == constant + slope * k
        grid = WINDOWED.grid(SIZES[size])
        params = RGTPParams.model_validate({"rollout": rollout, "k": k})
        assert RGTP.published_at(WINDOWED, grid, params, k) == constant + slope * k


@pytest.mark.parametrize(
    ("radius", "pruned"), [(0, 28.213399), (1, 28.225592), (2, 28.247268), (3, 28.279782)]
)
def test_tracking_costs_its_window(radius: int, pruned: float) -> None:
    found = published(672, rollout="pooled", k=196, radius=radius)[1]
    assert round(found / 1e9, 6) == pruned


@pytest.mark.parametrize(("size", "rollout", "ratio", "k", "gflops"), README)
def test_the_readme_to_the_last_digit(
    size: int, rollout: str, ratio: float, k: int, gflops: float
) -> None:
    macs, count = frames(size, rollout=rollout, keep_rate=ratio)
    full, later = np.asarray(macs.published).tolist()
    assert count == k
    assert round((SHARE * full + (1 - SHARE) * later) / 1e9, 1) == gflops


@pytest.mark.parametrize(("radius", "gflops"), TABLE_3)
def test_table_3_to_the_last_digit(radius: int, gflops: float) -> None:
    full, later = published(672, rollout="matvec", k=196, radius=radius)
    assert round((SHARE * full + (1 - SHARE) * later) / 1e9, 2) == gflops


@pytest.mark.parametrize("arch", [WINDOWED, GLOBAL], ids=lambda arch: arch.backbone)
def test_keeping_everything_costs_what_dense_costs(arch: ViTArch) -> None:
    grid = arch.grid(SIZES[672])
    assert executed(arch, grid, grid.area) == costs.dense(arch, grid)


def test_what_is_executed_here_is_less() -> None:
    """Relative terms of K queries, rollouts of vectors, none before full frames."""
    macs, k = frames(672, rollout="pooled", k=196)
    full, later = np.asarray(macs.matrix).tolist()
    dim, tokens = 768, 1764
    layers = 4 * tokens * dim**2 + 8 * k * dim**2 + 11 * 12 * k * dim**2
    windows = 8 * (2 * tokens * 196 * dim + 2 * tokens * 14 * dim)
    global_blocks = 4 * (2 * k * tokens * dim + k * 2 * 42 * dim)
    choice = 9 * tokens * dim + 4 * 441**2
    assert later == layers + windows + global_blocks + choice
    assert full == costs.dense(WINDOWED, WINDOWED.grid(SIZES[672])).matrix


def test_state_at_full_size() -> None:
    """The published 192.8 and 708.8 MB; unpooled, five bytes per token come on top."""

    def state(size: int, rollout: str) -> int:
        params = RGTPParams.model_validate({"k": 64, "rollout": rollout})
        return RGTP.planned_state_bytes(WINDOWED, WINDOWED.grid(SIZES[size]), params)

    assert round(state(672, "pooled") / 1e6, 1) == 192.8
    assert round((state(1024, "matvec") - 5 * 4096) / 1e6, 1) == 708.8


def test_the_trace_of_a_clip() -> None:
    trace = pruned_trace(ClipView(7, Size(64, 64), 16), 3, 5)
    assert trace.tokens.tolist() == [16, 5, 5, 16, 5, 5, 16]
    assert trace.full.tolist() == [True, False, False] * 2 + [True]
    assert trace.counts["pruned"].tolist() == [0, 1, 1] * 2 + [0]
