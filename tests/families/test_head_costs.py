"""Closed forms of the heads against published counts and against counted operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from maskvd_cli.core.size import Size
from maskvd_cli.families.blocks.arch import ViTArch
from maskvd_cli.families.blocks.counting import count_macs
from maskvd_cli.families.vitdet import head_costs
from maskvd_cli.families.vitdet.detector import Detector
from maskvd_cli.families.vitdet.head_arch import HeadArch
from maskvd_cli.families.zoo import get_arch

ARCH = ViTArch(
    name="small",
    description="",
    dim=24,
    heads=2,
    depth=1,
    patch=16,
    global_blocks=(0,),
    window=Size(4, 4),
    position_table=Size(4, 4),
    relative_table=None,
)
HEADS = HeadArch(classes=5, channels=12, hidden=20)


def counted(function: Any, *arguments: Any) -> int:
    with torch.inference_mode():
        return count_macs(lambda: function(*arguments))


def test_full_size_heads_cost_what_was_counted() -> None:
    arch, heads, grid = get_arch("vitdet-b"), HeadArch(), Size(42, 42)
    assert head_costs.pyramid_macs(arch, heads, grid) == 30_866_669_568
    assert head_costs.rpn_macs(heads, grid) == 44_506_249_728
    assert head_costs.box_head_macs(heads, 300) == 38_581_555_200
    assert head_costs.head_macs(arch, heads, grid, 300) == 113_954_474_496


def test_the_embedding_costs_what_the_published_formula_says() -> None:
    assert head_costs.embedding_macs(get_arch("vitdet-b"), Size(42, 42)) == 1_040_449_536


@pytest.mark.parametrize("grid", [Size(8, 8), Size(10, 11), Size(5, 3), Size(2, 2)])
@pytest.mark.parametrize("proposals", [0, 7])
def test_small_heads_cost_what_is_counted(grid: Size, proposals: int) -> None:
    detector = Detector(ARCH, HEADS, Size(grid.rows * 16, grid.cols * 16))
    images = [torch.zeros(3, 20, 20, dtype=torch.uint8)]
    with torch.inference_mode():
        levels = detector.pyramid(torch.zeros(1, ARCH.dim, *grid))
    boxes = [torch.tensor([[0.0, 0.0, 20.0, 20.0]]).repeat(proposals, 1)]
    embedding = counted(detector.embed, images)
    pyramid = counted(detector.pyramid, torch.zeros(1, ARCH.dim, *grid))
    rpn, box_head = counted(detector.rpn, levels), counted(detector.box_head, levels, boxes)
    assert embedding == head_costs.embedding_macs(ARCH, grid)
    assert pyramid == head_costs.pyramid_macs(ARCH, HEADS, grid)
    assert rpn == head_costs.rpn_macs(HEADS, grid)
    assert box_head == head_costs.box_head_macs(HEADS, proposals)
    together = head_costs.head_macs(ARCH, HEADS, grid, proposals)
    assert together == pyramid + rpn + box_head
    assert type(together) is int
