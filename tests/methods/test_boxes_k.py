"""The control with exactly K tokens in and around the boxes of the frame before."""

from __future__ import annotations

import pytest
import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.zoo import get_arch
from maskvd_cli.methods.base import ClipView
from maskvd_cli.methods.boxes_k import BoxesK, BoxesKParams, evened
from maskvd_cli.methods.rgtp import RGTP, RGTPParams

ARCH = get_arch("vitdet-ti")
INPUT = Size(64, 96)


def marked(*tokens: int, total: int = 12) -> torch.Tensor:
    return torch.zeros(total, dtype=torch.bool).index_fill(
        0, torch.tensor(tokens, dtype=torch.int64), True
    )


@pytest.mark.parametrize(
    ("touched", "count", "expected"),
    [
        ([3, 4, 5], 3, [3, 4, 5]),
        ([2, 3, 4, 5, 6, 7], 3, [2, 4, 6]),
        ([3, 4, 5], 2, [3, 4]),
        ([3, 4, 5], 6, [3, 4, 5, 0, 6, 9]),
        ([3, 4, 5], 12, [3, 4, 5, 0, 1, 2, 6, 7, 8, 9, 10, 11]),
        (list(range(12)), 4, [0, 3, 6, 9]),
        (list(range(12)), 5, [0, 2, 4, 7, 9]),
    ],
)
def test_too_many_or_too_few_are_evened_out(
    touched: list[int], count: int, expected: list[int]
) -> None:
    assert evened(marked(*touched), count).tolist() == expected


def test_every_count_is_met_without_doubles() -> None:
    for touched in (0, 1, 5, 11, 12):
        for count in range(1, 13):
            found = evened(marked(*range(touched)), count).tolist()
            assert len(set(found)) == len(found) == count


def test_the_plan_says_which_tokens() -> None:
    boxes = torch.tensor([[16, 16, 48, 32], [0, 0, 96, 64]], dtype=torch.float64)
    view = ClipView(4, INPUT, 16, boxes, torch.tensor([0, 1]))
    trace = BoxesK.plan(BoxesKParams(k=3, period=8), ARCH, view)
    assert trace.kept is not None
    kept = [row.nonzero().flatten().tolist() for row in trace.kept]
    # The box of frame 0 touches two tokens; that of frame 1 all; frame 2 has none.
    assert kept == [list(range(24)), [0, 7, 8], [0, 8, 16], [0, 8, 16]]


def test_it_costs_what_rollouts_do_not() -> None:
    """The same tokens through the same blocks, without tracking and rollout."""

    def pruned(arch: ViTArch, k: int) -> tuple[int, int]:
        grid = arch.grid(Size(672, 672))
        ours = BoxesK.published_at(arch, grid, BoxesKParams(k=k), k)
        theirs = RGTP.published_at(arch, grid, RGTPParams(k=k), k)
        assert ours is not None and theirs is not None
        return ours, theirs - 9 * 1764 * 768 - 4 * 1764**2

    ours, theirs = pruned(get_arch("vitdet-b"), 196)
    assert ours == theirs
